"""The text stream: from sampled tokens to text that is certain. Torch-free; any TokenEvents can feed it.

A character made of several tokens is given out when it is whole, a possible stop string when it is none.
"""

import codecs
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from engine.events import PrefillProgress, TextDelta, TokenEvent
from engine.thinking import Thinking


class TokenBytes(Protocol):
    """What the detokenizer asks of a tokenizer."""

    def token_bytes(self, token: int) -> bytes: ...


class Detokenizer:
    """Bytes of tokens to text, in linear time: each token is looked at once, half a character waits for its rest.

    skip_space: take away one leading space, which the tokenizer puts before every text that it encodes.
    """

    def __init__(self, tokenizer: TokenBytes, *, skip_space: bool = False) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._skip_space = skip_space

    def add(self, token: int) -> str:
        """The text that this token makes certain; may be empty."""
        return self._begin(self._decoder.decode(self._tokenizer.token_bytes(token)))

    def finish(self) -> str:
        """What is left: U+FFFD for a character that never became whole."""
        return self._begin(self._decoder.decode(b"", final=True))

    def _begin(self, text: str) -> str:
        if self._skip_space and text:
            self._skip_space = False
            return text.removeprefix(" ")
        return text


class StopMatcher:
    """Lets text through until a stop string ends in it. No part of the stop string that matched is ever let through.

    The first stop string to end wins; of those that end together, the longest. So the answer does not depend on
    how the text was cut into pieces.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = sorted(stops, key=len, reverse=True)
        self._held = ""

    def add(self, text: str) -> tuple[str, str | None]:
        """(text that is certain, the stop string that was found or None)."""
        if not self._stops:
            return text, None
        certain = []
        for character in text:
            self._held += character
            for stop in self._stops:
                if self._held.endswith(stop):
                    certain.append(self._held.removesuffix(stop))
                    self._held = ""
                    return "".join(certain), stop
            keep = self._could_begin()
            certain.append(self._held[: len(self._held) - keep])
            self._held = self._held[len(self._held) - keep :]
        return "".join(certain), None

    def _could_begin(self) -> int:
        """Length of the longest end of the held text with which a stop string begins."""
        return max(
            (
                n
                for stop in self._stops
                for n in range(1, min(len(stop), len(self._held) + 1))
                if self._held.endswith(stop[:n])
            ),
            default=0,
        )

    def finish(self) -> str:
        """What was held back and is no stop string after all."""
        held, self._held = self._held, ""
        return held


def stream(
    events: Iterable[PrefillProgress | TokenEvent], detokenizer: Detokenizer, stops: Sequence[str],
    thinking: Thinking | None = None, begun: Iterable[int] = (),
) -> Iterator[PrefillProgress | TextDelta | str]:  # fmt: skip
    """TextDelta for each token, and, when a stop string ended the text, that stop string as the last item.

    thinking: tells thoughts from the answer. A stop string in thoughts ends nothing: who set it meant the answer.
    begun: ids of the same answer that came before. Their text is not given out again, but a character or a stop
    string that begins in them is known when its rest comes.
    """
    matcher = StopMatcher(stops)
    thinking = thinking or Thinking(over=True)
    for token in begun:
        matcher.add(thinking.add(detokenizer.add(token))[1])
    for event in events:
        if isinstance(event, PrefillProgress):
            yield event
            continue
        thoughts, text = thinking.add(detokenizer.add(event.id))
        text, stop = matcher.add(text)
        yield TextDelta(text, (event,), thoughts)
        if stop is not None:
            yield stop
            return
    thoughts, text = thinking.add(detokenizer.finish())
    more, rest = thinking.finish()
    text, stop = matcher.add(text + rest)
    text += "" if stop is not None else matcher.finish()
    if text or thoughts or more:
        yield TextDelta(text, (), thoughts + more)
    if stop is not None:
        yield stop

"""Thinking aloud: which part of an answer's text is the thoughts of a reasoning model. Torch-free.

Such a model begins its answer with <think>, or the template has written that already, and ends its thoughts with
</think>. Only at the beginning: an answer that speaks of <think> later on says just that.
"""

from collections.abc import Iterable

from engine.template import Segment

OPEN, CLOSE = "<think>", "</think>"


class Thinking:
    """Splits a stream of text into thoughts and answer, wherever it was cut. White space around the tags is no part.

    inside: the thoughts have begun in the prompt; over: there are none to come.
    """

    def __init__(self, *, inside: bool = False, over: bool = False) -> None:
        self._state = "thoughts" if inside else "answer" if over else "before"
        self._held = ""
        self._begun = over  # whether the part that is being written has a character yet, so that space is its own

    def add(self, text: str) -> tuple[str, str]:
        """(thoughts, answer) that this text makes certain; either may be empty."""
        thoughts = ""
        self._held += text
        if self._state == "before":
            begin = self._held.lstrip()
            if OPEN.startswith(begin):
                if begin == OPEN:
                    self._state, self._held = "thoughts", ""
                return "", ""
            self._begun = True  # without thoughts the answer's white space is its own
            self._state = "thoughts" if begin.startswith(OPEN) else "answer"
            if self._state == "thoughts":
                self._begun, self._held = False, begin.removeprefix(OPEN)
        if self._state == "thoughts":
            self._held = self._held if self._begun else self._held.lstrip()
            said, close, rest = self._held.partition(CLOSE)
            thoughts = (said if close else said[: len(said) - _could_begin(said)]).rstrip()
            self._begun = self._begun or bool(thoughts)
            if not close:
                self._held = self._held[len(thoughts) :]
                return thoughts, ""
            self._state, self._begun, self._held = "answer", False, rest
        answer = self._held if self._begun else self._held.lstrip()
        self._begun, self._held = self._begun or bool(answer), ""
        return thoughts, answer

    def finish(self) -> tuple[str, str]:
        """What was held back, and where it belongs after all."""
        held, self._held = self._held, ""
        return (held.rstrip(), "") if self._state == "thoughts" else ("", held)


def _could_begin(text: str) -> int:
    """Length of the longest end of the text with which CLOSE begins."""
    return max((n for n in range(1, len(CLOSE)) if text.endswith(CLOSE[:n])), default=0)


def watch(prompt: Iterable[Segment], prefill: str) -> Thinking:
    """The splitter for an answer to this prompt, which the answer's given start may have taken further."""
    last = [segment.text for segment in prompt][-1:]
    begun = "".join(last).rstrip().endswith(OPEN) or prefill.lstrip().startswith(OPEN)
    if begun:
        return Thinking(inside=CLOSE not in prefill, over=CLOSE in prefill)
    return Thinking(over=bool(prefill.strip()))


def with_thoughts(thoughts: str, answer: str) -> str:
    """The two in the form that templates read in an earlier answer, to keep or to drop the thoughts."""
    return f"{OPEN}\n{thoughts}\n{CLOSE}\n\n{answer}" if thoughts else answer

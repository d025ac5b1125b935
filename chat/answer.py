"""One answer: from the engine's events to the screen, and what Ctrl-C, the end and the counts mean to a person."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Self

from chat.render import Renderer, Safe
from chat.screen import Screen
from engine.events import Finish, PrefillProgress, StreamEvent, TextDelta, TokenEvent
from engine.thinking import with_thoughts

LONG_PROMPT = 64  # tokens; fewer are read before a person could read that they are

WAITING = "..."  # until the first token


class Interrupt:
    """Ctrl-C from here on: the first asks the engine to end. A second one raises KeyboardInterrupt, but only while
    tokens are awaited: two quick presses must not fall into the moment in which an answer is put away."""

    def __init__(self) -> None:
        self._pressed = False
        self._raises = False
        self._before: Any = None

    def __call__(self) -> bool:
        """Whether Ctrl-C has been pressed; the engine asks between tokens."""
        return self._pressed

    @contextmanager
    def awaiting(self) -> Iterator[None]:
        """While this is open, a second Ctrl-C raises KeyboardInterrupt."""
        self._raises = True
        try:
            yield
        finally:
            self._raises = False

    def clear(self) -> None:
        """Forget that it was pressed: what it was pressed for is over."""
        self._pressed = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _press(self, _number: int, _frame: FrameType | None) -> None:
        if self._pressed and self._raises:
            raise KeyboardInterrupt
        self._pressed = True


@dataclass
class Answer:
    """An answer as far as it has come. Filled in place, so that what an exception cut short is not lost."""

    text: str = ""
    thoughts: str = ""  # of a reasoning model, which come before the text and are no part of it
    tokens: list[TokenEvent] = field(default_factory=list)
    finish: Finish | None = None

    @property
    def content(self) -> str:
        """What the history keeps: the text with its thoughts, which the template keeps or drops as it was made to."""
        return with_thoughts(self.thoughts, self.text)

    @property
    def has_begun(self) -> bool:
        """Whether anything has come: tokens, or the text of a server, which tells no tokens."""
        return bool(self.ids or self.text or self.thoughts)

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids that were sampled, by the engine's own account where there is one."""
        return self.finish.ids if self.finish else tuple(token.id for token in self.tokens)

    def follow(
        self,
        events: Iterator[StreamEvent],
        screen: Screen,
        interrupt: Interrupt,
        on_delta: Callable[[TextDelta], None],
    ) -> None:
        """Take in the events of one generation to their end."""
        with interrupt.awaiting():
            for event in events:
                if isinstance(event, PrefillProgress):
                    long = event.done < event.total >= LONG_PROMPT
                    screen.wait(f"reading {event.done}/{event.total} tokens" if long else WAITING)
                elif isinstance(event, TextDelta):
                    self.text += event.text
                    self.thoughts += event.thoughts
                    self.tokens += event.tokens
                    on_delta(event)
                else:
                    self.finish = event
        screen.stop_waiting()

    def show(
        self,
        events: Iterator[StreamEvent],
        screen: Screen,
        interrupt: Interrupt,
        renderer: Renderer,
        begun: str = "",
        hide_thinking: bool = False,
    ) -> None:
        """Take in the events and write the answer, after the text it was made to begin with, as one paragraph."""
        screen.write(renderer.feed(begun))
        thoughts = Thoughts(screen, hide_thinking)

        def write(delta: TextDelta) -> None:
            thoughts.feed(delta)
            if delta.text:
                thoughts.finish()
                screen.write(renderer.feed(delta.text))

        try:
            self.follow(events, screen, interrupt, write)
        finally:
            screen.stop_waiting()
            thoughts.finish()
            screen.write(renderer.finish())
            screen.end_answer()
        if not (begun or self.text) and self.finish and self.finish.reason != "interrupted":
            screen.write("\n")  # an empty answer is a line, too


class Thoughts:
    """Thoughts on a terminal: dim, before the answer; or, folded, one line that says how long they were.

    Where the answer goes into a pipe or a file they are not written: what stands there is the answer.
    """

    def __init__(self, screen: Screen, folded: bool) -> None:
        self._screen, self._folded = screen, folded
        self._safe, self._wrap, self._tokens, self._open = Safe(), screen.wrap(), 0, False

    def feed(self, delta: TextDelta) -> None:
        """The next part, if this delta has one."""
        if not delta.thoughts:
            return
        self._open = True
        self._tokens += len(delta.tokens)
        if self._folded:
            self._screen.wait(f"thinking, {self._tokens} tokens")
        elif self._screen.out.isatty():
            self._screen.write(self._screen.dim(self._wrap.feed(self._safe.feed(delta.thoughts))))

    def finish(self) -> None:
        """They are over: what follows is the answer."""
        if not self._open:
            return
        self._open = False
        if self._folded and self._screen.tells_a_person:
            self._screen.aside(f"(thought for {self._tokens} tokens)")
        elif not self._folded and self._screen.out.isatty():
            self._screen.write(self._screen.dim(self._wrap.finish()) + "\n\n")


def why_it_ended(finish: Finish | None, limit: int, context: int) -> str:
    """Why an answer ended, when it was not because it was complete, and what a shift let go; otherwise nothing."""
    shifted = finish.usage.shifted_tokens if finish else 0
    moved = f"the context was full: {shifted} tokens of what came before went, to make room" if shifted else ""
    return "; ".join(filter(None, (_end(finish, limit, context), moved)))


def _end(finish: Finish | None, limit: int, context: int) -> str:
    if finish is None or finish.reason == "interrupted":
        return "(cut)"
    if finish.reason == "length":
        return f"stopped: {limit}-token limit"
    if finish.reason == "stop":
        return f"stopped: at {finish.stop!r}"
    if finish.reason == "context":
        return f"stopped: the context{f' of {context} tokens' if context else ''} is full"
    return ""


def statistics(finish: Finish) -> str:
    """The counts, speeds and seed of one answer, on one line."""
    usage, timings = finish.usage, finish.timings
    if not usage.prompt_tokens:  # every prompt has some
        return (
            f"the server counts no tokens; the answer came in {usage.completion_tokens} pieces, the first after "
            f"{timings.first_token:.2f} s; seed {finish.seed}; {finish.reason}"
        )
    new = usage.prompt_tokens - usage.cached_tokens
    return (
        f"prompt {new} new + {usage.cached_tokens} cached tokens, {rate(new, timings.prefill)}; "
        f"answer {usage.completion_tokens} tokens, {rate(usage.completion_tokens - 1, timings.decode)}; "
        f"first token {timings.first_token:.2f} s; seed {finish.seed}; {finish.reason}"
    )


def rate(tokens: int, seconds: float) -> str:
    """A speed; in words when nothing was measured."""
    return f"{tokens / seconds:.0f} tokens/s" if tokens > 0 and seconds > 0 else "no rate"

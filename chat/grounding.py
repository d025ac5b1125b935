"""Grounding: the command examples that a model carries, what of them a question is given, and how that is told."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chat.screen import Screen
from chat.settings import Rank, Settings
from engine.errors import ModelError
from engine.lookup import FILE, Example, Lookup, context_text, is_shell_turn, look_up
from engine.template import Message

if TYPE_CHECKING:
    from chat.backend import Backend

NO_ROOM = "there is no room for examples in the context"


@dataclass(frozen=True)
class Found:
    """What was looked up for one question; or, when that is nothing, why."""

    examples: tuple[Example, ...] = ()
    why: str = "no question was asked"

    def before(self, message: Message) -> tuple[Message, ...]:
        """The message, after what was looked up for it."""
        if not self.examples:
            return (message,)
        return (Message("context", context_text(self.examples)), message)

    def records(self) -> list[dict[str, Any]]:
        """The examples as plain values."""
        return [asdict(example) for example in self.examples]

    def lines(self) -> list[str]:
        """The examples for a person, each with its source; or why there are none."""
        if not self.examples:
            return [f"Nothing was looked up: {self.why}."]
        return [f"- {e.description}: `{e.command}` ({e.source})" for e in self.examples]


class Grounding:
    """The examples of one model directory (None: a server has it), opened when a question first asks for them.

    Examples that cannot be read are told once and then left alone: the model answers without them, as it can.
    """

    def __init__(self, directory: Path | None, engine: "Backend", screen: Screen) -> None:
        self._path = (directory or Path()) / FILE
        self._screen = screen
        self._lookup: Lookup | None = None
        self.missing = ""  # why nothing can be looked up
        if directory is None:
            self.missing = "the model is on a server, and so would be its examples"
        elif engine.template is None or "context" not in engine.template.roles:
            self.missing = "the model's template has no place for examples"
        elif not self._path.is_file():
            self.missing = "the model has no examples"

    def check(self, settings: Settings) -> None:
        """Raise ModelError when --ground asks, by name, for what this model has not."""
        if self.missing and settings["ground"] and settings.values["ground"].rank == Rank.FLAG:
            raise ModelError(f"--ground can do nothing here: {self.missing}.")

    def find(self, messages: Sequence[Message], wanted: bool) -> Found:
        """What is looked up for the last of the messages, when that is wanted."""
        if not wanted:
            return Found(why="grounding is off")
        try:
            return self._find(messages)
        except ModelError as e:
            self.missing = "the model's examples cannot be read"
            self._screen.report(f"{e.message} The answers go without examples; --no-ground is silent about it.")
            return Found(why=self.missing)

    def _find(self, messages: Sequence[Message]) -> Found:
        if self.missing:
            return Found(why=self.missing)
        if self._lookup is None:
            self._lookup = Lookup(self._path)
        if examples := look_up(messages, self._lookup):
            return Found(examples, "")
        is_shell = is_shell_turn(messages, self._lookup)
        return Found(why="no example is near" if is_shell else "it is not a question at the shell")

    def attribution(self, found: Found) -> list[str]:
        """Whose the examples are, and under which licence: a line for each source."""
        sources = self._lookup.sources if self._lookup and found.examples else {}
        names = dict.fromkeys(example.source for example in found.examples)
        return [f"{s.name}: {s.licence}, {s.attribution}" for s in (sources[n] for n in names if n in sources)]

"""The registry of slash commands. Help, completion and "did you mean" all read it.

A command gets the Chat and its argument and says what comes next. It never reads input and never exits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, auto

from chat.repl.state import Chat
from engine.errors import UsageError


class Next(Enum):
    """What the loop does after a command. COMPARE: what `chat.comparison` holds."""

    PROMPT = auto()
    ANSWER = auto()
    CONTINUE = auto()
    COMPARE = auto()
    QUIT = auto()


@dataclass(frozen=True)
class Command:
    """A command: its docstring's first line is its help."""

    name: str
    usage: str
    run: Callable[[Chat, str], Next]
    aliases: tuple[str, ...]

    @property
    def help(self) -> str:
        """One line of help."""
        return (self.run.__doc__ or "").partition("\n")[0]


COMMANDS: dict[str, Command] = {}


def command(usage: str, *aliases: str) -> Callable[[Callable[[Chat, str], Next]], Callable[[Chat, str], Next]]:
    """Enter a function in the registry, under the first word of its usage."""

    def register(run: Callable[[Chat, str], Next]) -> Callable[[Chat, str], Next]:
        name = usage.partition(" ")[0]
        COMMANDS[name] = Command(name, usage, run, aliases)
        return run

    return register


def find(name: str) -> Command:
    """The command of a name or alias. Raises UsageError with the nearest name."""
    by_name = {n: c for c in COMMANDS.values() for n in (c.name, *c.aliases)}
    if name in by_name:
        return by_name[name]
    near = get_close_matches(
        name.removeprefix("/"), [n.removeprefix("/") for n in by_name], n=1
    )  # a slash is no likeness
    hint = f"Did you mean /{near[0]}?" if near else "/help lists the commands; a space before / sends it as text."
    raise UsageError(f"There is no command {name}.", hint)


def is_command(line: str) -> bool:
    """Whether a line is meant as a command: `/word`. A path such as /etc/hosts is not."""
    return line.startswith("/") and "/" not in line.split(maxsplit=1)[0][1:]


def dispatch(chat: Chat, line: str) -> Next:
    """Run a command line. Raises UsageError for an argument that the command would not look at."""
    name, *rest = line.split(maxsplit=1)
    command = find(name)
    if rest and command.usage == command.name:
        raise UsageError(f"{name} takes no argument.")
    return command.run(chat, rest[0].strip() if rest else "")


def count(number: int, noun: str, plural: str = "") -> str:
    """A number of things: 1 turn, 2 turns."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"

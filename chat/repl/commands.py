"""The slash commands: a registry of small functions. Help, completion and "did you mean" all read it.

A command gets the Chat and its argument and says what comes next. It never reads input and never exits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, auto

from chat.answer import statistics
from chat.repl.state import Chat
from chat.settings import SAMPLING, Rank, Value, read
from engine.errors import UsageError


class Next(Enum):
    """What the loop does after a command."""

    PROMPT = auto()
    ANSWER = auto()
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
SETTABLE = (*SAMPLING, "overflow", "ground", "stats", "show_sources")


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
    near = get_close_matches(name, by_name, n=1)
    hint = f"Did you mean {near[0]}?" if near else "/help lists the commands; a space before / sends it as text."
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


@command("/help", "/?")
def show_help(chat: Chat, argument: str) -> Next:
    """Show the commands and keys."""
    width = max(len(c.usage) for c in COMMANDS.values())
    narrow = chat.screen.width < width + 30
    for item in COMMANDS.values():
        also = f" (also {', '.join(item.aliases)})" if item.aliases else ""
        gap = "\n  " if narrow else " " * (width - len(item.usage) + 2)
        chat.screen.tell(f"{item.usage}{gap}{item.help}{also}")
    chat.screen.tell('Alt-Enter or """ : several lines. Ctrl-C: stop an answer. Ctrl-D: leave.')
    return Next.PROMPT


@command("/exit", "/bye", "/quit")
def leave(chat: Chat, argument: str) -> Next:
    """Leave."""
    return Next.QUIT


@command("/clear")
def clear(chat: Chat, argument: str) -> Next:
    """Forget every turn; the system prompt and the settings stay."""
    turns = len(chat.conversation.turns)
    chat.conversation.clear()
    chat.last = None
    chat.screen.tell(f"Forgot {_count(turns, 'turn')}.")
    return Next.PROMPT


@command("/system [TEXT | none]")
def system(chat: Chat, argument: str) -> Next:
    """Show the system prompt, change it, or take it away."""
    if argument:
        chat.conversation.system = "" if argument == "none" else argument
    text = chat.conversation.system
    chat.screen.tell(f"System prompt: {text}" if text else "There is no system prompt.")
    return Next.PROMPT


@command("/set [NAME [VALUE | default]]")
def set_value(chat: Chat, argument: str) -> Next:
    """Show the settings, or change one."""
    name, _, text = argument.partition(" ")
    name, text = name.lstrip("-").replace("-", "_"), text.strip()
    if not name:
        _tell_settings(chat, SETTABLE)
        return Next.PROMPT
    if name not in SETTABLE:
        near = get_close_matches(name, SETTABLE, n=1)
        raise UsageError(f"There is no setting {name!r} to change here.", f"Did you mean {near[0]}?" if near else "")
    if text == "default":
        changed = chat.settings.without(name, chat.given)
    elif text:
        changed = chat.settings.over({name: Value(read(name, text, name), "/set", Rank.COMMAND)})
    else:
        changed = chat.settings
    if name == "ground" and changed["ground"] and text and (chat.grounding is None or chat.grounding.missing):
        raise UsageError(f"There is nothing to look up: {chat.grounding.missing if chat.grounding else 'no examples'}.")
    changed.sampling(chat.engine)  # refuses what does not go together, before it is in force
    chat.settings = changed
    _tell_settings(chat, [name])
    return Next.PROMPT


@command("/show")
def show(chat: Chat, argument: str) -> Next:
    """Show the model, the system prompt and the settings that are not at their default."""
    info = chat.engine.info
    chat.screen.tell(
        f"model {info.name}: {info.parameters / 1e6:.1f}M parameters, {info.dtype}, "
        f"{info.device}, {_count(info.threads, 'thread')}"
    )
    if info.quantisation:
        chat.screen.tell(f"weights {info.quantisation}")
    if info.adapter:
        chat.screen.tell(f"adapter {info.adapter}")
    chat.screen.tell(f"template {info.template} ({info.template_source})")
    for remark in chat.engine.remarks():
        chat.screen.tell(f"- {remark}")
    system(chat, "")
    _tell_settings(chat, [name for name in SETTABLE if chat.settings.values[name].rank != Rank.DEFAULT])
    return Next.PROMPT


@command("/regen", "/retry")
def regenerate(chat: Chat, argument: str) -> Next:
    """Answer the last prompt again."""
    if not chat.conversation.regenerate():
        raise UsageError("There is no prompt to answer again.")
    if chat.settings.sampling(chat.engine).is_greedy:
        chat.screen.tell("The sampling is greedy, so the answer will be the same; /set temperature 0.7 draws.")
    return Next.ANSWER


@command("/undo")
def undo(chat: Chat, argument: str) -> Next:
    """Take the last turn back."""
    turn = chat.conversation.undo()
    if turn is None:
        raise UsageError("There is no turn to take back.")
    chat.screen.tell(f"Took back: {' '.join(turn.prompt.split())}")
    return Next.PROMPT


@command("/stats [on | off]")
def stats(chat: Chat, argument: str) -> Next:
    """Show the counts and speeds of the last answer, or of each from now on."""
    if argument:
        return set_value(chat, f"stats {argument}")
    chat.screen.tell(statistics(chat.last) if chat.last else "There is no answer yet.")
    return Next.PROMPT


@command("/sources")
def sources(chat: Chat, argument: str) -> Next:
    """Show what was looked up for the last question, and whose it is."""
    turns = chat.conversation.turns
    if not turns:
        chat.screen.tell("Nothing was looked up: no question was asked.")
        return Next.PROMPT
    found = turns[-1].found
    for line in (*found.lines(), *(chat.grounding.attribution(found) if chat.grounding else ())):
        chat.screen.tell(line)
    return Next.PROMPT


@command("/context")
def context(chat: Chat, argument: str) -> Next:
    """Show how full the context is, and which turns are in it."""
    conversation = chat.conversation
    used = len(chat.engine.prompt_ids(conversation.messages()))
    sent = len(conversation.turns) - conversation.forgotten
    forgotten = f", {conversation.forgotten} forgotten" if conversation.forgotten else ""
    chat.screen.tell(
        f"{used} of {chat.engine.context} tokens; {_count(sent, 'turn')}{forgotten}; when it is full: {chat.overflow}"
    )
    return Next.PROMPT


def _tell_settings(chat: Chat, names: list[str] | tuple[str, ...]) -> None:
    for name in names:
        value = chat.settings.values[name]
        shown = chat.overflow if name == "overflow" else value.value
        chat.screen.tell(f"{name} = {_shown(shown)} ({value.source})")


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(repr, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

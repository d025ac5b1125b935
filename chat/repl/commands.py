"""The slash commands that show and set things; and the one place that knows the modules of all the others.

Those of the tree are in tree_commands.py, /context is in context_commands.py, /compare in compare.py.
"""

from difflib import get_close_matches
from typing import TYPE_CHECKING, cast

from chat.answer import statistics
from chat.inspect_template import show_prompt
from chat.repl import (
    compare,
    context_commands,
    file_commands,
    judge_commands,
    preset_commands,
    shell_commands,
    tree_commands,
)
from chat.repl.registry import COMMANDS, Command, Next, command, count, dispatch, find, is_command
from chat.repl.state import Chat
from chat.settings import SAMPLING, Rank, Value, read
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.api import Engine

__all__ = [
    "COMMANDS", "SETTABLE", "Command", "Next", "command", "compare", "context_commands", "dispatch", "file_commands",
    "find", "is_command", "judge_commands", "preset_commands", "shell_commands", "tree_commands",
]  # fmt: skip
SETTABLE = (*SAMPLING, "overflow", "ground", "stats", "show_sources")


@command("/help", "/?")
def show_help(chat: Chat, argument: str) -> Next:
    """Show the commands and keys."""
    width = max(len(c.usage) for c in COMMANDS.values())
    narrow = chat.screen.width < width + 30
    for item in sorted(COMMANDS.values(), key=lambda command: command.name):
        also = f" (also {', '.join(item.aliases)})" if item.aliases else ""
        gap = "\n  " if narrow else " " * (width - len(item.usage) + 2)
        chat.screen.tell(f"{item.usage}{gap}{item.help}{also}", indent=2 if narrow else width + 2)
    chat.screen.tell('Alt-Enter or """ : several lines. Ctrl-R: search. Ctrl-X Ctrl-E: $EDITOR. @FILE: its text.')
    chat.screen.tell("Ctrl-C: stop an answer. Ctrl-D: leave.")
    return Next.PROMPT


@command("/exit", "/bye", "/quit")
def leave(chat: Chat, argument: str) -> Next:
    """Leave."""
    return Next.QUIT


@command("/clear")
def clear(chat: Chat, argument: str) -> Next:
    """Forget every turn of every branch; the system prompt and the settings stay."""
    turns = len(chat.conversation.nodes)
    chat.conversation.clear()
    chat.last = chat.comparison = None
    chat.screen.tell(f"Forgot {count(turns, 'turn')}.")
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


@command("/show [prompt]")
def show(chat: Chat, argument: str) -> Next:
    """Show the model, the system prompt and the changed settings; or, of the prompt, whose words each id is."""
    if argument == "prompt":
        if chat.engine.tokenizer is None:
            raise UsageError("/show prompt cannot be done with a server: it makes the prompt, and tells no tokens.")
        show_prompt(cast("Engine", chat.engine), chat.conversation.messages(), chat.screen)
        return Next.PROMPT
    if argument:
        raise UsageError("/show takes nothing, or the word prompt.")
    info = chat.engine.info
    chat.screen.tell(
        f"model {info.name}: {info.parameters / 1e6:.1f}M parameters, {info.dtype}, "
        f"{info.device}, {count(info.threads, 'thread')}"
        if info.parameters
        else f"model {info.name}, at {info.path}"
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


@command("/stats [on | off]")
def stats(chat: Chat, argument: str) -> Next:
    """Show the counts and speeds of the last answer, or of each from now on."""
    if argument:
        return set_value(chat, f"stats {argument}")
    chat.screen.tell(statistics(chat.last) if chat.last else "There is no answer yet.")
    kept = chat.engine.kept
    if kept is not None:
        form = "" if chat.engine.info.kv == "auto" else f", in {chat.engine.info.kv}"
        chat.screen.tell(
            f"kept warm: {count(kept.caches, 'branch', 'branches')}, {kept.nbytes / 2**20:.1f} of at most "
            f"{kept.max_bytes / 2**20:.0f} MiB{form}"
        )
    return Next.PROMPT


@command("/sources")
def sources(chat: Chat, argument: str) -> Next:
    """Show what was looked up for the last question, and whose it is."""
    turns = chat.conversation.path()
    if not turns:
        chat.screen.tell("Nothing was looked up: no question was asked.")
        return Next.PROMPT
    found = turns[-1].found
    for line in (*found.lines(), *(chat.grounding.attribution(found) if chat.grounding else ())):
        chat.screen.tell(line)
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

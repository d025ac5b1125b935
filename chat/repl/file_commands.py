"""The slash commands that go between the conversation and the world outside: files, the clipboard, an editor."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from chat.clipboard import copy_text
from chat.repl.attach import take_file
from chat.repl.conversation import Conversation
from chat.repl.registry import Next, command, count
from chat.repl.state import Chat
from chat.shell_command import code_blocks, command_in_answer
from engine.errors import UsageError
from engine.thinking import CLOSE, OPEN


@command("/read FILE")
def read_file(chat: Chat, argument: str) -> Next:
    """Put a file before the next message; @FILE within a message stands for its text."""
    if not argument:
        raise UsageError("/read needs the name of a file.")
    chat.attached.append(take_file(chat, argument))
    chat.screen.tell("It goes before your next message.")
    return Next.PROMPT


@command("/editor [TEXT]")
def editor(chat: Chat, argument: str) -> Next:
    """Write the next message in $VISUAL or $EDITOR (so does Ctrl-X Ctrl-E in the line)."""
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError("An editor needs a terminal.")
    text = edited(argument)
    if not text.strip():
        chat.screen.tell("The text is empty: nothing is sent.")
    elif chat.shows_drafts:
        chat.draft = text
    else:
        chat.conversation.ask(text)
        return Next.ANSWER
    return Next.PROMPT


def edited(text: str) -> str:
    """A text as an editor leaves it. Raises UsageError when the editor cannot be started, or says that it failed."""
    program = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    handle, name = tempfile.mkstemp(prefix="tfm-", suffix=".md")
    try:
        with open(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        try:
            code = subprocess.run([*shlex.split(program), name], check=False).returncode
        except (OSError, ValueError) as e:
            raise UsageError(f"The editor {program!r} cannot be started: {e}.", "$EDITOR names another.") from e
        if code:
            raise UsageError(f"The editor {program!r} ended with code {code}: nothing is sent.")
        return Path(name).read_bytes().decode(errors="replace").rstrip("\r\n")
    finally:
        Path(name).unlink(missing_ok=True)


@command("/copy [code]")
def copy(chat: Chat, argument: str) -> Next:
    """Copy the last answer to the clipboard; or, of it, the last block of code or else the command."""
    if argument not in ("", "code"):
        raise UsageError("/copy takes nothing, or the word code.")
    text = last_answer(chat)
    if argument:
        text = [command_in_answer(text), *code_blocks(text)][-1]
        if not text:
            raise UsageError("The last answer holds no code.", "/copy copies all of it.")
    how = copy_text(text, chat.screen)
    chat.screen.tell(f"Copied {count(len(text), 'character')} {how}.")
    return Next.PROMPT


@command("/save FILE")
def save(chat: Chat, argument: str) -> Next:
    """Write the conversation to a file, as Markdown."""
    if not argument:
        raise UsageError("/save needs the name of a file.")
    turns = len(chat.conversation.path())
    if not turns:
        raise UsageError("Nothing was said yet.")
    try:
        with Path(argument).expanduser().open("x", encoding="utf-8", errors="replace") as file:
            file.write(as_markdown(chat.conversation))
    except FileExistsError as e:
        raise UsageError(f"{argument} is there already, and is not written over.") from e
    except (OSError, ValueError) as e:
        raise UsageError(f"{argument} cannot be written: {getattr(e, 'strerror', None) or e}.") from e
    chat.screen.tell(f"Wrote {count(turns, 'turn')} to {argument}.")
    return Next.PROMPT


def last_answer(chat: Chat) -> str:
    """The text of the last answer, without thoughts. Raises UsageError when there is none."""
    for turn in reversed(chat.conversation.path()):
        if turn.answer is not None:
            content = turn.answer.content
            return content.partition(CLOSE)[2].lstrip() if content.startswith(OPEN) else content
    raise UsageError("There is no answer yet.")


def as_markdown(conversation: Conversation) -> str:
    """The turns of the branch that is in sight, each under a heading of its role."""
    parts = [("System", conversation.system)] if conversation.system else []
    for turn in conversation.path():
        parts.append(("User", turn.prompt))
        if turn.answer is not None:
            parts.append(("Assistant (cut)" if turn.cut else "Assistant", turn.answer.content))
    return "\n".join(f"## {role}\n\n{text.strip(chr(10))}\n" for role, text in parts)

"""The slash commands that go between the conversation and the world outside: files, the clipboard, an editor."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from chat.clipboard import copy_text
from chat.repl.attach import file_named, take_file, with_files
from chat.repl.conversation import Conversation, new_key
from chat.repl.registry import Next, command, count
from chat.repl.state import Chat
from chat.repl.tree import one_line, whereabouts
from chat.sessions.importing import read_conversation
from chat.sessions.kept import Kept
from chat.sessions.resume import tree_of
from chat.sessions.transcript import Section, written
from chat.shell_command import code_blocks, command_in_answer
from engine.errors import UsageError
from engine.thinking import CLOSE, OPEN


@command("/read FILE | none")
def read_file(chat: Chat, argument: str) -> Next:
    """Put a file before the next message, or none; @FILE within a message stands for its text."""
    if not argument:
        raise UsageError("/read needs the name of a file.")
    if argument == "none":
        chat.screen.tell(f"Put away {count(len(chat.attached), 'file')}.")
        chat.attached.clear()
        return Next.PROMPT
    chat.attached.append(take_file(chat, file_named(argument)))
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
        chat.conversation.ask(with_files(chat, text))
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
    argument = file_named(argument)
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


@command("/load FILE")
def load(chat: Chat, argument: str) -> Next:
    """Take in a conversation from a file, as a branch beside this one (of /save, `tfm history export`, or others)."""
    if not argument:
        raise UsageError("/load needs the name of a file.")
    argument = file_named(argument)
    stored = read_conversation(argument, chat.source.hashes["model_hash"])
    loaded = tree_of(stored, lambda answer: _says_its_text(chat, answer), new_key())
    if not loaded.nodes:
        raise UsageError(f"{argument} holds no turn.")
    if chat.engine.tokenizer is not None:
        chat.engine.prompt_ids(loaded.messages())  # a system prompt without a place in the template is told now
    before, system = chat.conversation.tip, chat.conversation.system
    chat.conversation.take_in(loaded)
    back = f"; /switch {chat.conversation.name(before)} goes back" if before is not None else ""
    chat.screen.tell(f"Loaded {count(len(loaded.nodes), 'turn')} from {argument}{back}.")
    if loaded.system != system:
        was = f" (before: {one_line(system)})" if system else ""
        chat.screen.tell(f"System prompt: {one_line(loaded.system) or 'none'}{was}")
    for line in whereabouts(chat.conversation):
        chat.screen.tell(line)
    return Next.PROMPT


def _says_its_text(chat: Chat, answer: Kept) -> bool:
    """Whether the ids of an answer from a file are those of its text and nothing else: no control token among them."""
    ids, tokenizer = answer.ids, chat.engine.tokenizer
    if not ids or tokenizer is None or any(id >= tokenizer.vocab_size or tokenizer.is_control(id) for id in ids):
        return False
    return tokenizer.decode(ids) == answer.text


def last_answer(chat: Chat) -> str:
    """The text of the last answer, without thoughts. Raises UsageError when there is none."""
    for turn in reversed(chat.conversation.path()):
        if turn.answer is not None:
            content = turn.answer.content
            return content.partition(CLOSE)[2].lstrip() if content.startswith(OPEN) else content
    raise UsageError("There is no answer yet.")


def as_markdown(conversation: Conversation) -> str:
    """The turns of the branch that is in sight, each under a heading of its role."""
    parts: list[Section] = [("System", conversation.system, False)] if conversation.system else []
    for turn in conversation.path():
        parts.append(("User", turn.prompt, False))
        if turn.answer is not None:
            parts.append(("Assistant", turn.answer.content, turn.cut))
    return written(parts)

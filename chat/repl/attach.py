"""Files in what a person says: `@file` within a message, and what /read has put aside for the next one."""

import re
import shlex
from pathlib import Path

from chat.loading import read_text
from chat.repl.state import Chat
from engine.errors import ContextOverflow, UsageError
from engine.template import Message

_MENTION = re.compile(r"(?<!\S)@(?:\"([^\"]+)\"|(\S+))")
_SHELL_MARKS = re.compile(r"[\"']|\\ ")


def file_named(argument: str) -> str:
    """The name of a file as a person types it: the marks by which a shell takes spaces are no part of it, unless there
    is a file of just that name."""
    if not _SHELL_MARKS.search(argument) or Path(argument).expanduser().exists():
        return argument
    try:
        words = shlex.split(argument)
    except ValueError:  # a quote that is not closed is an apostrophe
        return argument
    return words[0] if len(words) == 1 else argument


def take_file(chat: Chat, name: str) -> str:
    """The text of a file for the conversation; its name and length are told.

    Raises UsageError that names it, and ContextOverflow with the counts when no message could hold it.
    """
    text = read_text(str(Path(name).expanduser())).rstrip("\r\n")
    if not text.strip():
        raise UsageError(f"{name} is empty.")
    _check_room(chat, name, text)
    told = f"{len(text)} characters" if chat.engine.tokenizer is None else f"{len(chat.engine.tokenize(text))} tokens"
    chat.screen.tell(f"{name}: {told}")
    return text


def _check_room(chat: Chat, name: str, text: str) -> None:
    """Raise ContextOverflow for a file that does not fit with the system prompt and the files that wait."""
    system = [Message("system", chat.conversation.system)] if chat.conversation.system else []
    prompt = Message("user", "\n\n".join([*chat.attached, text]))
    try:
        chat.engine.fit([*system, prompt], chat.params(), "error")
    except ContextOverflow as e:
        own = len(chat.engine.tokenize(text))
        why = e.message[0].lower() + e.message[1:]
        raise ContextOverflow(f"{name} has {own} tokens, which do not fit: {why}", e.hint) from e


def with_files(chat: Chat, message: str) -> str:
    """A message with its files: first those that /read put aside; and each `@file` is the file's text.

    That is for a typed message of one line: a paste, and what comes through a pipe, may hold an @ of its own. A name
    that looks like a file and is none is told. What a file holds is not looked through again.
    """

    def text_of(mention: re.Match[str]) -> str:
        name = mention.group(1) or mention.group(2)
        if Path(name).expanduser().is_file():
            return take_file(chat, name)
        if "." in name.strip(".") or "/" in name:
            what = f"{name} is a folder" if Path(name).expanduser().is_dir() else f"There is no file {name}"
            chat.screen.tell(f"{what}: {mention.group()} goes as it is.")
        return mention.group()

    one_line = "\n" not in message.strip()
    message = message.strip() if one_line else message.strip("\r\n")
    if chat.typed and one_line:
        message = _MENTION.sub(text_of, message)
    chat.taken, chat.attached = chat.attached, []
    return "\n\n".join([*chat.taken, message])

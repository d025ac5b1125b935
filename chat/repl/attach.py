"""Files in what a person says: `@file` within a message, and what /read has put aside for the next one."""

import re
from pathlib import Path

from chat.loading import read_text
from chat.repl.state import Chat
from engine.errors import UsageError

_MENTION = re.compile(r"(?<!\S)@(\S+)")


def take_file(chat: Chat, name: str) -> str:
    """The text of a file for the conversation; its name and length are told. Raises UsageError that names it."""
    text = read_text(str(Path(name).expanduser())).rstrip("\r\n")
    if not text.strip():
        raise UsageError(f"{name} is empty.")
    chat.screen.tell(f"{name}: {len(chat.engine.tokenize(text))} tokens")
    return text


def with_files(chat: Chat, message: str, *, mentions: bool) -> str:
    """A message with its files: first those that /read put aside; with `mentions` each `@file` is the file's text.

    That is for a typed message of one line: a paste, and what comes through a pipe, may hold an @ of its own. A name
    that looks like a file and is none is told. What a file holds is not looked through again.
    """

    def text_of(mention: re.Match[str]) -> str:
        name = mention.group(1)
        if Path(name).expanduser().is_file():
            return take_file(chat, name)
        if "." in name.strip(".") or "/" in name:
            chat.screen.tell(f"There is no file {name}: @{name} goes as it is.")
        return mention.group()

    one_line = "\n" not in message.strip()
    message = message.strip() if one_line else message.strip("\r\n")
    if mentions and one_line:
        message = _MENTION.sub(text_of, message)
    parts, chat.attached = [*chat.attached, message], []
    return "\n\n".join(parts)

"""A conversation as a Markdown document, which people read and `/load` reads back: a section for each message.

A line of a message that would be taken for the head of a section gets a backslash before it, which Markdown does not
show; reading takes it away again. So what is read is what was written, but for empty lines at the ends of a message.
"""

import re
from collections.abc import Iterable
from typing import cast

from chat.sessions.kept import Role

_HEAD = re.compile(r"\\*## (system|user|assistant)( \(cut\))?\s*", re.IGNORECASE)
_TITLE = re.compile(r"\\*# ")
Section = tuple[str, str, bool]  # role, text, whether it was cut


def written(sections: Iterable[Section], title: str = "") -> str:
    """The document. The roles stand as they are given."""
    parts = [f"# {title}"] if title else []
    for role, text, cut in sections:
        parts += [f"## {role}{' (cut)' if cut else ''}", _marked(text.strip("\n"))]
    return "\n\n".join(parts) + "\n"


def read(document: str) -> list[tuple[Role, str, bool]]:
    """The sections of a document. Raises ValueError that says why it is no conversation."""
    sections: list[tuple[Role, str, bool]] = []
    lines: list[str] = []
    for line in document.split("\n"):
        head = None if line.startswith("\\") else _HEAD.fullmatch(line)
        if head is None:
            lines.append(line)
            continue
        _end(sections, lines, is_next_first=head[1].lower() != "assistant")
        sections.append((cast(Role, head[1].lower()), "", bool(head[2])))
        lines = []
    if not sections:
        raise ValueError("it has no section that begins with a line such as ## User")
    _end(sections, lines, is_next_first=False)
    return sections


def _end(sections: list[tuple[Role, str, bool]], lines: list[str], *, is_next_first: bool) -> None:
    """Put the lines into the last section. is_next_first: what follows may be the first section of a document."""
    if not sections:
        return  # what stands before the first section is a title
    text = "\n".join(lines).strip("\n")
    if is_next_first and text.rpartition("\n")[2].startswith("# "):
        raise ValueError("it holds more than one conversation")
    role, _, cut = sections[-1]
    sections[-1] = (role, _unmarked(text), cut)


def _marked(text: str) -> str:
    lines = ["\\" + line if _HEAD.fullmatch(line) else line for line in text.split("\n")]
    if _TITLE.match(lines[-1]):
        lines[-1] = "\\" + lines[-1]
    return "\n".join(lines)


def _unmarked(text: str) -> str:
    lines = [line[1:] if line.startswith("\\") and _HEAD.fullmatch(line) else line for line in text.split("\n")]
    if lines[-1].startswith("\\") and _TITLE.match(lines[-1]):
        lines[-1] = lines[-1][1:]
    return "\n".join(lines)

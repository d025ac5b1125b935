"""Full-text search over what was said."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chat.sessions.kept import Role
from engine.errors import UsageError

if TYPE_CHECKING:
    from chat.sessions.store import Store

WORDS_AROUND = 12


class NoWord(UsageError):
    """Nothing in what was searched for is a word."""


@dataclass(frozen=True)
class Hit:
    """A message in which the words are: a piece of it around them. created: seconds since 1970."""

    session: str
    title: str
    message: int
    role: Role
    created: float
    text: str


def search(store: "Store", words: str, limit: int) -> list[Hit]:
    """The messages that hold all the words, the newest of each session, the newest first. A word that ends with *
    stands for all that begin so; words in double quotes stand together.

    Newest, not best: a ranking would look at every message that has a common word. Raises NoWord.
    """
    query = match(words)
    hits: dict[str, Hit] = {}
    with store.reading() as db:
        rows = db.execute(
            "SELECT m.session, s.title, m.id, m.role, m.created, snippet(words, 0, '', '', '…', ?)"
            " FROM words CROSS JOIN messages m ON m.id = words.rowid CROSS JOIN sessions s ON s.id = m.session"
            " WHERE words MATCH ? ORDER BY words.rowid DESC",
            (WORDS_AROUND, query),
        )
        for row in rows:
            hits.setdefault(row[0], Hit(*row))
            if len(hits) == limit:
                break
        rows.close()
    return list(hits.values())


def match(words: str) -> str:
    """The query in FTS5's language: every part a quoted string, so that nothing in it is an operator."""
    parts, quoted = [], False
    for piece in words.replace("\0", " ").split('"'):
        parts += [piece] if quoted else piece.split()
        quoted = not quoted
    terms = [_term(part) for part in parts if any(char.isalnum() for char in part)]
    if not terms:
        raise NoWord("There is no word to search for.", 'For example: tfm history search "tar archive".')
    return " AND ".join(terms)


def _term(part: str) -> str:
    return f'"{part.rstrip("*")}"*' if part.endswith("*") else f'"{part}"'

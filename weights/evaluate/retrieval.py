"""The baseline without a model: the command of the training row whose description is nearest by BM25."""

import re
import sqlite3
from collections.abc import Iterable


class Bm25:
    """Okapi BM25, as SQLite's FTS5 has it, over (description, command) rows held in memory."""

    def __init__(self, rows: Iterable[tuple[str, str]]) -> None:
        self._db = sqlite3.connect(":memory:")
        self._db.execute("CREATE VIRTUAL TABLE rows USING fts5(description, command UNINDEXED, tokenize='porter')")
        self._db.executemany("INSERT INTO rows VALUES (?, ?)", rows)

    def command(self, question: str) -> str:
        """The command of the best row for any of the question's words; "" when no row has one of them."""
        words = re.findall(r"\w+", question)
        query = " OR ".join(f'"{word}"' for word in words)
        if not query:
            return ""
        found = self._db.execute("SELECT command FROM rows WHERE rows MATCH ? ORDER BY rank LIMIT 1", (query,))
        row = found.fetchone()
        return str(row[0]) if row else ""

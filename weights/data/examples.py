"""Makes the database of command examples that engine/lookup.py reads: rows of the corpus and the project's own tasks.

The same corpus gives the same bytes, with the same SQLite. Nothing that the evaluation keeps for itself goes in.
"""

import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import log
from pathlib import Path
from random import Random

from engine.errors import DataError
from engine.lookup import NUMBER_BITS, SCHEMA, Source, row_id
from engine.wording import kind, parts, terms, token, tool_of
from weights.data.own.heldout import has_heldout_name, heldout_prompts, plain
from weights.data.own.shell import everyday, shell_basics, shell_chores, shell_phrasing
from weights.data.readers import open_text
from weights.data.shell_cues import learn

OWN = "tfm"
SOURCES = (
    Source(OWN, "Apache-2.0", "The tfm developers"),
    Source("tldr-pages", "CC BY 4.0", "tldr-pages team and contributors, github.com/tldr-pages/tldr; adapted"),
    Source("nl2bash", "MIT", "Xi Victoria Lin et al., github.com/TellinaTool/nl2bash (data/bash); adapted"),
    Source("cheat/cheatsheets", "CC0-1.0", "contributors to github.com/cheat/cheatsheets; adapted"),
    Source("chubin/cheat.sheets", "MIT", "Igor Chubin and contributors, github.com/chubin/cheat.sheets; adapted"),
    Source("denisidoro/cheats", "CC0-1.0", "contributors to github.com/denisidoro/cheats; adapted"),
    Source("git-tips/tips", "MIT", "contributors to github.com/git-tips/tips; adapted"),
)
FILES = ("shell/tldr.train.jsonl.xz", "shell/nl2bash.train.jsonl.xz", "shell/cheatsheets.train.jsonl.xz")
TEXTS = ("text/techdocs.train.jsonl.xz", "text/howto.train.jsonl.xz")  # say which tools people write about
TRUST = {OWN: 1.3, "tldr-pages": 1.0, "nl2bash": 0.82}  # the sheets have 0.9
LONGEST_COMMAND, LONGEST_DESCRIPTION = 100, 110
OF_ONE_KIND = {"nl2bash": 2, "tldr-pages": 4}  # examples of a source with the same tool and flags
OF_ONE_TOOL = {"nl2bash": 250, "tldr-pages": 400}
RARE = 0.5  # below this popularity a tool of the corpus is left out


_FIRST_WORD = re.compile(r"(?:^|\n)(?: {2,}|[$#>] ?|```\n)(?:sudo )?([a-z][\w.+-]+)(?= )")  # of a line of code


@dataclass(frozen=True)
class Row:
    """An example before it is written: its wordings are what it is found by."""

    description: str
    command: str
    tool: str
    source: str
    wordings: tuple[str, ...]


def own_rows() -> list[Row]:
    """One row for each of the project's own tasks that is one line, with all its wordings."""
    rows: dict[str, Row] = {}
    for task in (*everyday.load()[0], *shell_basics.tasks(), *shell_chores.tasks()):
        if "\n" in task.command or "`" in task.command:
            continue  # an example is one line between backticks
        text = task.explain.rstrip(".")
        asks = dict.fromkeys(wording for wordings in task.asks for wording in wordings)
        wordings = (text, *(ask for ask in asks if not _held_out(ask)))
        if task.command in rows:
            wordings = tuple(dict.fromkeys((*rows[task.command].wordings, *wordings)))
        rows[task.command] = Row(text, task.command, tool_of(task.command), OWN, wordings[: 1 << NUMBER_BITS])
    return list(rows.values())


def corpus_rows(corpus: Path) -> Iterator[Row]:
    """Usable rows of the corpus, those of the common platforms first. Raises DataError for a file that is not there."""
    for name in FILES:
        with open_text(corpus / name) as lines:
            found = [json.loads(line) for line in lines]
        for row in sorted(found, key=lambda row: row["platform"] != "common"):
            description = _cleaned(row["description"])
            command = row["command"].strip()
            if row["platform"] in ("common", "linux") and _usable(description, command):
                found_by = (
                    f"{row['tool'].partition(' ')[2]} {description}".strip()
                )  # `compose up` of docker's page, too
                yield Row(_told(description), command, tool_of(command), row["source"], (found_by,))


def _cleaned(text: str) -> str:
    return re.sub(r" \((?:see|see also|e\.g\.|default)[^)]*\)", "", shell_phrasing.clean(text)).replace("`", "")


def _told(description: str) -> str:
    """The description as an answer's second line says it, so that a small model need only copy: "Lists all users"."""
    return shell_phrasing.sentence(description).rstrip(".")


def _usable(description: str, command: str) -> bool:
    """Whether a row is one line of a command that a person could type, and says what it does."""
    if not (4 <= len(description) <= LONGEST_DESCRIPTION and len(command) <= LONGEST_COMMAND):
        return False
    if "\n" in command or "`" in command or not re.match(r"[A-Za-z_./\[~0-9-]", command):
        return False
    return len(terms(description)) > 1 and not _held_out(description) and not has_heldout_name(description)


def _held_out(wording: str) -> bool:
    """Whether a held-out prompt is this wording, or asks for it with nothing else around it."""
    words = plain(wording)
    return any(p == words or (p.endswith(" " + words) and not terms(p[: -len(words)])) for p in heldout_prompts())


def popularity(corpus: Path, rows: Iterable[Row]) -> dict[str, float]:
    """How much each tool is used: the logarithm of how often own tasks, sheets and manuals begin a line with it."""
    uses: Counter[str] = Counter()
    for row in rows:
        uses[row.tool] += {OWN: 30, "tldr-pages": 0}.get(row.source, 2)
    for name in TEXTS:
        with open_text(corpus / name) as lines:
            for line in lines:
                uses.update(_FIRST_WORD.findall(json.loads(line)["text"]))
    return {tool: log(1 + count) for tool, count in uses.items()}


def chosen(rows: Sequence[Row], known: dict[str, float]) -> list[Row]:
    """The rows without those of rare tools, repeated commands, and the tenth variation of one."""
    kept: list[Row] = []
    seen: set[str] = set()
    kinds: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        one, tool = (row.source, *kind(row.command)), (row.source, row.tool, "")
        own = row.source == OWN
        if row.command in seen or not (own or known.get(row.tool, 0) >= RARE):
            continue
        if not own and (kinds[one] >= OF_ONE_KIND.get(row.source, 3) or kinds[tool] >= OF_ONE_TOOL.get(row.source, 99)):
            continue
        kinds.update((one, tool))
        seen.add(row.command)
        kept.append(row)
    return kept


def prior(row: Row, known: dict[str, float]) -> int:
    """Per cent: what the example weighs, by whom it is from, how common its tool and how simple the command is."""
    pieces = len(re.findall(r"[|;]|&&|\$\(", row.command))
    flags = max(0, len(re.findall(r"(?:^|\s)-", row.command)) - 2)
    simple = 1 - 0.08 * min(pieces, 4) - 0.04 * min(flags, 5) - (0.08 if len(row.command) > 60 else 0)
    weight = TRUST.get(row.source, 0.9) * (0.85 + 0.04 * min(known.get(row.tool, 0), 8)) * simple
    return round(100 * weight * weight)


def make_examples(corpus: Path, out: Path) -> int:
    """Write the database; returns how many examples it holds. Raises DataError for what cannot be read or written."""
    rows = [*own_rows(), *corpus_rows(corpus)]
    known = popularity(corpus, rows)
    rows = chosen(rows, known)
    asked = [row.description if row.source != OWN else wording for row in rows for wording in row.wordings[:8]]
    weights = learn(corpus, asked, Random(1))
    write(out, rows, [prior(row, known) for row in rows], weights)
    return len(rows)


def write(out: Path, rows: Sequence[Row], priors: Sequence[int], weights: dict[str, int]) -> None:
    """Write the tables of engine.lookup.SCHEMA, whole or not at all. Raises DataError when that cannot be done."""
    half_written = out.with_suffix(".tmp")
    try:
        half_written.unlink(missing_ok=True)
        with closing(sqlite3.connect(half_written)) as db:
            _fill(db, rows, priors, weights)
        os.replace(half_written, out)
    except (sqlite3.Error, OSError) as e:
        raise DataError(f"The examples {out} cannot be written: {e}.") from e


def _fill(db: sqlite3.Connection, rows: Sequence[Row], priors: Sequence[int], weights: dict[str, int]) -> None:
    db.execute("PRAGMA journal_mode = OFF")  # the file is moved to its name when it is whole
    db.execute("PRAGMA synchronous = OFF")
    for statement in SCHEMA.values():
        db.execute(statement)
    used = {row.source for row in rows}
    sources = [(s.name, s.licence, s.attribution) for s in SOURCES if s.name in used]
    db.executemany("INSERT INTO sources VALUES (?,?,?)", sources)
    db.executemany("INSERT INTO tools VALUES (?)", [(tool,) for tool in sorted({row.tool for row in rows})])
    db.executemany("INSERT INTO cues VALUES (?,?)", sorted(weights.items()))
    for number, (row, weight) in enumerate(zip(rows, priors, strict=True), 1):
        db.execute(
            "INSERT INTO examples VALUES (?,?,?,?,?,?)",
            (number, row.description, row.command, row.tool, row.source, weight),
        )
        for index, wording in enumerate(row.wordings):
            words = terms(wording)
            command = " ".join(parts(row.command)) if not index else ""  # the command is told once
            rowid = row_id(number, index, len(words))
            db.execute(
                "INSERT INTO wordings(rowid, tool, words, command) VALUES (?,?,?,?)",
                (rowid, token(row.tool), " ".join(words), command),
            )
    db.execute("INSERT INTO wordings(wordings) VALUES ('optimize')")
    db.commit()
    db.execute("VACUUM")

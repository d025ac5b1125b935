"""`tfm models list`: the models on this disk, a line for each. Torch-free."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from chat import models
from chat.model_facts import files_of, read_facts
from chat.render import safe_text
from engine.errors import TfmError

TITLES = ("name", "used by", "architecture", "parameters", "on disk", "where")


@dataclass(frozen=True)
class Entry:
    """One model. problem: why it cannot be used; what could not be read is then empty or None."""

    name: str
    where: str  # shipped, models or hub
    path: str
    architecture: str = ""
    command: str = ""
    parameters: int | None = None
    bytes: int | None = None
    problem: str = ""


def entries() -> Iterator[Entry]:
    """The models that ship, those of the models directory, those of the Hugging Face cache."""
    places = {"shipped": models.shipped, "models": models.pulled, "hub": models.cached}
    for where, found in places.items():
        for name, path in found().items():
            yield _entry(name, where, path)


def _entry(name: str, where: str, path: Path) -> Entry:
    """One line of the list; a broken model is a line that says so."""
    try:
        size = sum(files_of(path).values())
    except OSError as e:
        return Entry(name, where, str(path), problem=f"{path} cannot be read: {e.strerror}.")
    try:
        facts = read_facts(path)
    except TfmError as e:
        return Entry(name, where, str(path), bytes=size, problem=str(e))
    except OSError as e:
        return Entry(name, where, str(path), bytes=size, problem=f"{path} cannot be read: {e.strerror}.")
    return Entry(name, where, str(path), facts.architecture, facts.command, facts.parameters, size, facts.remark)


def list_models(as_json: bool) -> int:
    """Write the list to stdout, the problems below it to stderr."""
    found = list(entries())
    if as_json:
        print(json.dumps([asdict(entry) for entry in found], indent=2))
        return 0
    rows = [TITLES, *(_row(entry) for entry in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for entry in found:
        if entry.problem:
            print(safe_text(f"{entry.name}: {entry.problem}"), file=sys.stderr)
    if len(found) == len(models.shipped()):
        print(f"Others would lie in {models.models_directory()} or {models.hub_cache()}.", file=sys.stderr)
    return 0


def _row(entry: Entry) -> tuple[str, ...]:
    command = entry.command or ("broken" if entry.parameters is None else "nothing")
    parameters = "" if entry.parameters is None else count(entry.parameters)
    size = "" if entry.bytes is None else megabytes(entry.bytes)
    cells = (entry.name, command, entry.architecture, parameters, size, entry.where)
    return tuple(safe_text(cell).replace("\n", " ") for cell in cells)


def count(number: int) -> str:
    """A number of parameters as it is spoken of: 10.2M, 1.1B."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def megabytes(number: int) -> str:
    """Bytes in units of a thousand: 20.5 MB, 2.1 GB."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"

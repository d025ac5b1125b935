"""Reads the tables of strings that stand beside the generators: entries end at `|` or at the end of a line.

`¦` stands for a `|` inside an entry.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


def entries(text: str) -> tuple[str, ...]:
    """The entries of one table, in order."""
    return tuple(
        part.strip().replace("¦", "|") for line in text.splitlines() for part in line.split("|") if part.strip()
    )


@cache
def read_tables(module_file: str) -> dict[str, tuple[str, ...]]:
    """All string tables of the TOML file that has the module's name."""
    data = tomllib.loads(Path(module_file).with_suffix(".toml").read_text(encoding="utf-8"))
    return {key: entries(value) for key, value in data.items() if isinstance(value, str)}


@cache
def read_topics(module_file: str) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The tables [name] with `ask` and `answer`: what people say, and what may be said to it."""
    data = tomllib.loads(Path(module_file).with_suffix(".toml").read_text(encoding="utf-8"))
    return {
        key: (entries(value["ask"]), entries(value["answer"])) for key, value in data.items() if isinstance(value, dict)
    }


def listed_at(table: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The list at a dotted name of nested tables, its entries parted by ` / ` or by the end of a line."""
    found: Any = table
    for key in name.split("."):
        found = found[key]
    return tuple(word.strip() for line in found.strip().splitlines() for word in line.split(" / "))


def rows(text: str) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The rows of a table, one a line: fields parted by ` :: `, the wordings of a field by ` / `."""
    lines = (line.split(" :: ") for line in text.strip().splitlines() if line.strip())
    return tuple(tuple(tuple(part.strip() for part in field.split(" / ")) for field in line) for line in lines)

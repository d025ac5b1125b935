"""The work of `tfm eval`: measure a model, tell the numbers, write card and samples where that was asked for."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.api import load_engine
from engine.errors import UsageError
from weights.evaluate.card import write_card
from weights.evaluate.measure import Setting, evaluate, find_lookup
from weights.evaluate.records import require_files
from weights.evaluate.samples import write_samples
from weights.recipe import Recipe


@dataclass(frozen=True)
class Request:
    """What `tfm eval` was asked for. The recipe names the sources and their files in the corpus."""

    model: Path
    corpus: Path
    recipe: Recipe
    as_json: bool = False
    card: bool = False
    samples: Path | None = None
    threads: int | None = None


def run(request: Request) -> dict[str, Any]:
    """Measure, write, and tell the numbers on stdout; they are also returned.

    Raises DataError for a corpus that lacks files, before anything is loaded.
    """
    recipe = request.recipe
    require_files(request.corpus, (f for s in recipe.sources.values() if s.valid for f in (*s.files, *s.valid)))
    if request.samples and not request.samples.parent.is_dir():
        raise UsageError(f"There is no directory {request.samples.parent} for --samples.")
    engine = load_engine(request.model, dtype="float32", threads=request.threads)
    setting = Setting(engine, recipe, request.corpus, find_lookup(request.model))
    numbers, answers = evaluate(setting, lambda text: print(f"{text} ...", file=sys.stderr, flush=True))
    if request.card:
        write_card(request.model, engine, recipe, numbers, answers)
    if request.samples:
        write_samples(request.samples, numbers, answers)
    if request.as_json:
        print(json.dumps(numbers, indent=1))
    else:
        show(numbers, Console(highlight=False))
    return numbers


def show(numbers: Mapping[str, Any], console: Console) -> None:
    """The numbers as tables."""
    same = numbers.get("peer", {}).get("bits_per_byte", {})
    bits = Table("source", "bits per byte", title="held-out text")
    if same:
        size = f"first {numbers['peer']['bytes'] // 1000} kB"
        for heading in (size, f"{numbers['peer']['name']}, {size}"):
            bits.add_column(heading)
    bits.add_column("13-grams seen in training")
    for name, value in numbers["bits_per_byte"].items():
        pair = same.get(name, {})
        others = [f"{v:.3f}" if v is not None else "–" for v in (pair.get("model"), pair.get("peer"))] if same else []
        bits.add_row(name, f"{value:.3f}", *others, f"{numbers['overlap'][name]['seen']:.2%}")
    console.print(bits)
    ways = list(numbers["right"])
    right = Table("prompts", *ways, title="right by rubric")
    for group in numbers["right"][ways[0]]:
        counts = [numbers["right"][way].get(group) for way in ways]
        right.add_row(group, *(f"{c[0]} of {c[1]}" if c else "–" for c in counts))
    console.print(right)
    tasks = Table("table", "answered by", "right tool", "exact", title="held-out shell tasks")
    for name, table in numbers["shell_tasks"].items():
        for way, shares in table["answers"].items():
            tasks.add_row(name, way, f"{shares['right_tool']:.1%}", f"{shares['exact']:.1%}")
        tasks.add_row(name, f"always {table['most_frequent_tool']}", f"{table['most_frequent_tool_share']:.1%}", "")
    console.print(tasks)
    style = numbers["answers"]
    console.print(
        f"{style['count']} answers: mean {style['mean_characters']} characters, {style['loops']} loop, "
        f"{style['repetition']:.2%} of four-word sequences repeated"
    )

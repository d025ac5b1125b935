"""`tfm inspect heads`: which head of a model carries which relation between the tokens of a text."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chat import models
from chat.screen import Screen
from chat.settings import Settings

if TYPE_CHECKING:
    from weights.evaluate.heads import Finding


@dataclass(frozen=True)
class Request:
    """What one call asks for. corpus: a directory with parallel/en-*.valid.tsv; to: a translator's language."""

    corpus: str
    model: str = models.DEFAULT
    to: str | None = None
    json: bool = False


def inspect_heads(request: Request, settings: Settings, screen: Screen | None = None) -> int:
    """Tell the best head for each relation, its score, and that of a fixed distance; returns the exit code.

    Raises what `weights.evaluate.looks.study` raises.
    """
    screen = screen or Screen(plain=settings["plain"])
    from weights.evaluate.looks import study

    directory = models.resolve(request.model)
    screen.report("reading texts that the model was not trained on ...")
    read = study(directory, Path(request.corpus), request.to, settings["threads"])
    found = sorted(read.findings(), key=lambda f: f.offset_score - f.score)
    if request.json:
        screen.write(json.dumps({"part": read.part, "texts": len(read.texts), "heads": [f.told() for f in found]}))
        screen.write("\n")
        return 0
    for line in _lines(found):
        screen.write(line + "\n")
    return 0


def _lines(found: "Sequence[Finding]") -> Iterator[str]:
    """A line for each relation; the marked ones have earned their name."""
    yield "relation\tlayer\thead\tn\tscore\t95 %\toffset\tits score\tmean head\tattention\tholds"
    for f in found:
        yield (
            f"{f.relation.name}\t{f.layer}\t{f.head}\t{f.n}\t{f.score:.2f}\t{f.low:.2f}-{f.high:.2f}\t{f.offset:+d}"
            f"\t{f.offset_score:.2f}\t{f.mean:.2f}\t{f.attention:.2f}\t{'yes' if f.holds else 'no'}"
        )

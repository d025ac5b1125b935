"""`tfm train compare-experts`. Imports no torch at start."""

from pathlib import Path
from typing import Annotated

import typer

from weights.options import CorpusOption, ThreadsOption, begin_run


def compare_experts(
    corpus: CorpusOption,
    out: Annotated[Path, typer.Option("--out", help="Where the table, the figure and the numbers go.")],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs of each kind.")] = 3,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Tokens that each run reads.")] = 500_000,
    threads: ThreadsOption = None,
) -> None:
    """A mixture of experts beside a dense model, at equal active parameters and equal tokens."""
    begin_run(out, threads)
    from weights.compare_experts import compare_experts as compare

    typer.echo(compare(corpus, out, seeds=seeds, tokens=tokens))

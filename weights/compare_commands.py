"""`tfm train compare-...`: several small models on the same tokens. Imports no torch at start."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from weights.options import (
    CompileOption,
    CorpusOption,
    RecipeArgument,
    SetOption,
    StrictOption,
    ThreadsOption,
    WeightsOption,
    begin_run,
    open_workshop,
)

OutOption = Annotated[Path, typer.Option("--out", help="Where the table, the figures and the numbers go.")]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="Runs of each kind.")]
TokensOption = Annotated[int, typer.Option("--tokens", min=1, help="Tokens that each run reads.")]

# What is compared -> (tokens that a run reads, help). The work is done by weights/compare/WHAT.py.
COMPARISONS = {
    "experts": (350_000, "A mixture of experts beside a dense model, at equal active parameters and equal tokens."),
    "residual": (250_000, "Norms before, after and left out, and no residual paths: first gradients, and losses."),
    "heads": (300_000, "The same width in 1 to 16 heads, and heads that see more or less of the input."),
    "masking": (800_000, "Training with and without the causal mask, and what each then predicts one by one."),
    "embeddings": (500_000, "Embedding and head tied and untied: which rows a batch trains."),
}


def comparison(what: str, default: int) -> Callable[..., None]:
    """The command that compares one of COMPARISONS."""

    def command(
        corpus: CorpusOption, out: OutOption, seeds: SeedsOption = 3, tokens: TokensOption = default,
        threads: ThreadsOption = None,
    ) -> None:  # fmt: skip
        begin_run(out, threads)
        compare = getattr(import_module(f"weights.compare.{what}"), f"compare_{what}")
        typer.echo(compare(corpus, out, seeds=seeds, tokens=tokens))

    return command


def compare_recurrence(
    out: OutOption, seeds: SeedsOption = 3, tokens: TokensOption = 400_000, threads: ThreadsOption = None
) -> None:
    """LSTMs, without attention and with it, beside a transformer: what each keeps of a sequence, and how fast."""
    begin_run(out, threads)
    from weights.compare.recurrence import compare_recurrence as compare

    typer.echo(compare(out, seeds=seeds, tokens=tokens))


def compare_recipes(
    recipe: RecipeArgument, corpus: CorpusOption, out: OutOption,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", metavar="'KEY=VALUE ...'", help="A variant: what --set takes, with spaces between."),
    ] = None,
    only: Annotated[str, typer.Option("--only", metavar="STAGE", help="The stage that is trained.")] = "pretrain",
    changes: SetOption = None, weights: WeightsOption = None, seeds: SeedsOption = 1, tokens: TokensOption = 2_000_000,
    threads: ThreadsOption = None, compiled: CompileOption = None, strict: StrictOption = False,
) -> None:  # fmt: skip
    """A stage of a recipe as it is and with changes, on the same tokens: bits per byte of each source."""
    shop = open_workshop(recipe, corpus, out, changes, threads, compiled=compiled, strict=strict, weights=weights)
    from weights.compare.recipes import compare_recipes as compare

    typer.echo(compare(recipe, only, changes or [], vary or [], shop, seeds=seeds, tokens=tokens))


def add_comparisons(app: typer.Typer) -> None:
    """Make them commands of `tfm train`."""
    for what, (tokens, told) in COMPARISONS.items():
        app.command(f"compare-{what}", help=told)(comparison(what, tokens))
    app.command("compare-recurrence")(compare_recurrence)
    app.command("compare-recipes")(compare_recipes)

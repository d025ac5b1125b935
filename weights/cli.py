"""`tfm train ...`, also `python -m weights ...`: the command line of the trainer. Imports no torch at start."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from weights.pipeline import Workshop

app = typer.Typer(
    name="tfm train",
    help="Build a model from a recipe and a directory of training text.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

RecipeArgument = Annotated[Path, typer.Argument(help="A recipe: a TOML file such as weights/recipes/default.toml.")]
CorpusOption = Annotated[Path, typer.Option("--corpus", help="The directory that the recipe's file names start from.")]
OutOption = Annotated[Path, typer.Option("--out", help="Where shards, states, metrics and the model go.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value, as in stage.sft.lr=0.001.")
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="Threads for the arithmetic.")]
CompileOption = Annotated[
    bool | None, typer.Option("--compile/--no-compile", help="Use torch.compile; by default where gcc is found.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first bad line instead of leaving it out.")]
StopAfterOption = Annotated[int | None, typer.Option("--stop-after", min=1, help="Save and leave after this step.")]


def open_workshop(
    recipe: Path, corpus: Path, out: Path, changes: list[str] | None, threads: int | None,
    compiled: bool | None, strict: bool, stop_after: int | None,
) -> "Workshop":  # fmt: skip
    """Read the recipe, then load torch: a mistake in the recipe is told at once."""
    from engine.errors import DataError
    from weights.recipe import read_recipe

    parsed = read_recipe(recipe, tuple(changes or ()))
    import torch

    from weights.pipeline import Workshop

    torch.set_num_threads(threads or os.cpu_count() or 1)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise DataError(f"--out {out} cannot be a directory: {e.strerror}.") from e
    return Workshop(parsed, corpus, out, strict=strict, compiled=compiled, stop_after=stop_after)


@app.command()
def recipe(
    recipe: RecipeArgument, corpus: CorpusOption, out: OutOption, changes: SetOption = None,
    threads: ThreadsOption = None, compiled: CompileOption = None, strict: StrictOption = False,
    stop_after: StopAfterOption = None,
) -> None:  # fmt: skip
    """Everything: tokenizer, every stage, and the model directory. Goes on where it was cut."""
    shop = open_workshop(recipe, corpus, out, changes, threads, compiled, strict, stop_after)
    from weights.pipeline import run_recipe

    model = run_recipe(shop)
    _mind_interruption(model is not None, stop_after)
    if model is not None:
        typer.echo(model)


@app.command()
def tokenizer(
    recipe: RecipeArgument,
    corpus: CorpusOption,
    out: OutOption,
    changes: SetOption = None,
    strict: StrictOption = False,
) -> None:
    """Only the tokenizer."""
    shop = open_workshop(recipe, corpus, out, changes, None, False, strict, None)
    from weights.pipeline import make_tokenizer

    make_tokenizer(shop)
    typer.echo(shop.tokenizer_path)


@app.command()
def pretrain(
    recipe: RecipeArgument, corpus: CorpusOption, out: OutOption, changes: SetOption = None,
    threads: ThreadsOption = None, compiled: CompileOption = None, strict: StrictOption = False,
    stop_after: StopAfterOption = None,
) -> None:  # fmt: skip
    """Only the stage named pretrain."""
    _one_stage("pretrain", open_workshop(recipe, corpus, out, changes, threads, compiled, strict, stop_after))


@app.command()
def sft(
    recipe: RecipeArgument, corpus: CorpusOption, out: OutOption, changes: SetOption = None,
    threads: ThreadsOption = None, compiled: CompileOption = None, strict: StrictOption = False,
    stop_after: StopAfterOption = None,
) -> None:  # fmt: skip
    """Only the stage named sft (chat tuning), then the model directory."""
    shop = open_workshop(recipe, corpus, out, changes, threads, compiled, strict, stop_after)
    if _one_stage("sft", shop):
        from weights.pipeline import export

        typer.echo(export(shop))


@app.command()
def evaluate(
    recipe: RecipeArgument,
    corpus: CorpusOption,
    out: OutOption,
    changes: SetOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Measure the model that a recipe made, on the held-out files and prompts, and write its card."""
    shop = open_workshop(recipe, corpus, out, changes, threads, False, False, None)
    from weights.pipeline import write_model_card

    typer.echo(write_model_card(shop))


def _one_stage(name: str, shop: "Workshop") -> bool:
    from weights.pipeline import run_stage

    done = run_stage(shop, name)
    _mind_interruption(done, shop.stop_after)
    return done


def _mind_interruption(done: bool, stop_after: int | None) -> None:
    """A run that was to end and did not was interrupted (saved, and told): Typer turns this into exit code 130."""
    if not done and stop_after is None:
        raise KeyboardInterrupt


def main(args: list[str] | None = None) -> int:
    """Run the trainer's command line on `args`; the exit code of what did not fail. Errors are the caller's to tell."""
    code = app(args=args, prog_name="tfm train", standalone_mode=False)
    return code if isinstance(code, int) else 0  # Typer gives 130 back for an interruption

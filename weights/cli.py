"""`tfm train ...`, also `python -m weights ...`: the command line of the trainer. Imports no torch at start."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weights.tune_commands import full, lora

if TYPE_CHECKING:
    from weights.workshop import Workshop

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
OnlyOption = Annotated[str | None, typer.Option("--only", metavar="STAGE", help="Only this stage.")]
WeightsOption = Annotated[
    Path | None, typer.Option("--weights", metavar="DIR", help="Begin with the weights of this model directory.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Tell what it will cost, and do nothing.")]
ProveOption = Annotated[
    bool, typer.Option("--prove-resume", help="Run a few steps whole, and cut and resumed; compare every number.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="Where it runs: cpu, cuda.")]
ShardOption = Annotated[bool, typer.Option("--shard", help="Under torchrun: shard the parameters (FSDP2).")]
BoardOption = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events too.")]


def open_workshop(
    recipe: Path, corpus: Path, out: Path, changes: list[str] | None, threads: int | None, **more: Any
) -> "Workshop":
    """Read the recipe, then load torch: a mistake in the recipe is told at once. more: other fields of Workshop."""
    from engine.errors import DataError
    from weights.recipe import read_recipe

    parsed = read_recipe(recipe, tuple(changes or ()))
    import torch

    from weights.workshop import Workshop

    torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise DataError(f"--out {out} cannot be a directory: {e.strerror}.") from e
    return Workshop(parsed, corpus, out, **more)


@app.command()
def recipe(
    recipe: RecipeArgument, corpus: CorpusOption, out: OutOption, changes: SetOption = None, only: OnlyOption = None,
    weights: WeightsOption = None, dry_run: DryRunOption = False, prove_resume: ProveOption = False,
    threads: ThreadsOption = None, compiled: CompileOption = None, device: DeviceOption = "cpu",
    shard: ShardOption = False, strict: StrictOption = False, stop_after: StopAfterOption = None,
    tensorboard: BoardOption = False,
) -> None:  # fmt: skip
    """Everything: tokenizer, every stage, and the model directory. Goes on where it was cut."""
    shop = open_workshop(
        recipe, corpus, out, changes, threads, compiled=compiled, strict=strict, stop_after=stop_after,
        weights=weights, tensorboard=tensorboard,
    )  # fmt: skip
    stages = [shop.recipe.stage(only)] if only else list(shop.recipe.stages)
    if dry_run:
        from weights.foresight import tell_costs

        return tell_costs(shop, stages)
    if prove_resume:
        from weights.prove import prove_resume as prove

        return prove(shop, stages[0])
    from engine.hardware import resolve_device
    from weights.pipeline import export, run_stages
    from weights.train.parallel import world

    with world("shard" if shard else "replicate", resolve_device(device)) as joined:
        done = run_stages(replace(shop, world=joined), stages)
    if done and joined.is_first and stages[-1] == shop.recipe.stages[-1]:
        typer.echo(export(shop))
    elif not done and stop_after is None:
        raise KeyboardInterrupt  # stopped by a signal (saved, and told): Typer turns this into exit code 130


@app.command()
def tokenizer(
    recipe: RecipeArgument,
    corpus: CorpusOption,
    out: OutOption,
    changes: SetOption = None,
    strict: StrictOption = False,
) -> None:
    """Only the tokenizer."""
    shop = open_workshop(recipe, corpus, out, changes, None, strict=strict)
    from weights.workshop import make_tokenizer

    make_tokenizer(shop)
    typer.echo(shop.tokenizer_path)


@app.command()
def plot(
    run: Annotated[Path, typer.Argument(help="The directory of a stage that ran, such as runs/default/sft.")],
    picture: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw a picture instead.")] = None,
) -> None:
    """The losses of a run, drawn in the terminal."""
    import shutil

    from engine.errors import DataError
    from weights.train.plot import plot_losses, read_metrics, terminal_plot

    if picture is None:
        size = shutil.get_terminal_size()
        typer.echo(terminal_plot(read_metrics(run), size.columns, max(4, min(16, size.lines - 4))))
    elif not plot_losses(run, picture):
        raise DataError("A picture needs matplotlib.", "pip install tfm[viz], or leave out --png.")


@app.command()
def evaluate(
    recipe: RecipeArgument,
    corpus: CorpusOption,
    out: OutOption,
    changes: SetOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Measure the model that a recipe made, on the held-out files and prompts, and write its card."""
    shop = open_workshop(recipe, corpus, out, changes, threads)
    from weights.pipeline import write_model_card

    typer.echo(write_model_card(shop))


app.command()(lora)
app.command()(full)


def main(args: list[str] | None = None) -> int:
    """Run the trainer's command line on `args`; the exit code of what did not fail. Errors are the caller's to tell."""
    code = app(args=args, prog_name="tfm train", standalone_mode=False)
    return code if isinstance(code, int) else 0  # Typer gives 130 back for an interruption

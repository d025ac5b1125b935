"""`tfm train ...`, also `python -m weights ...`: the command line of the trainer. Imports no torch at start."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from weights.attention_commands import bench_attention, compare_attention, compare_positions
from weights.classify_commands import classify
from weights.compare_commands import add_comparisons
from weights.evaluate.options import app as eval_app
from weights.options import (
    APP,
    BoardOption,
    CompileOption,
    CorpusOption,
    DeviceOption,
    RecipeArgument,
    SetOption,
    StopAfterOption,
    StrictOption,
    ThreadsOption,
    WeightsOption,
    open_workshop,
)
from weights.translation_commands import translator
from weights.tune_commands import Judged, dpo, full, lora, sft

app = typer.Typer(
    name="tfm train",
    help="Build a model from a recipe and a directory of training text.",
    no_args_is_help=True,
    **APP,
)

bench_app = typer.Typer(
    name="tfm bench",
    help="Measure speed on this machine, beside others in the same run.",
    no_args_is_help=True,
    **APP,
)

OutOption = Annotated[Path, typer.Option("--out", help="Where shards, states, metrics and the model go.")]
OnlyOption = Annotated[str | None, typer.Option("--only", metavar="STAGE", help="Only this stage.")]
VectorsOption = Annotated[
    Path | None,
    typer.Option("--vectors", metavar="FILE", help="Begin the embedding with word2vec or fastText vectors."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Tell what it will cost, and do nothing.")]
ProveOption = Annotated[
    bool, typer.Option("--prove-resume", help="Run a few steps whole, and cut and resumed; compare every number.")
]
ShardOption = Annotated[bool, typer.Option("--shard", help="Under torchrun: shard the parameters (FSDP2).")]


@app.command()
def recipe(
    recipe: RecipeArgument, corpus: CorpusOption, out: OutOption, changes: SetOption = None, only: OnlyOption = None,
    weights: WeightsOption = None, vectors: VectorsOption = None, dry_run: DryRunOption = False,
    prove_resume: ProveOption = False, threads: ThreadsOption = None, compiled: CompileOption = None,
    device: DeviceOption = "cpu", shard: ShardOption = False, strict: StrictOption = False,
    stop_after: StopAfterOption = None, tensorboard: BoardOption = False,
) -> None:  # fmt: skip
    """Everything: tokenizer, every stage, and the model directory. Goes on where it was cut."""
    shop = open_workshop(
        recipe, corpus, out, changes, threads, compiled=compiled, strict=strict, stop_after=stop_after,
        weights=weights, vectors=vectors, tensorboard=tensorboard,
    )  # fmt: skip
    stages = [shop.recipe.stage(only)] if only else list(shop.recipe.stages)
    if dry_run:
        from weights.foresight import tell_costs

        return tell_costs(shop, stages)
    from engine.hardware import resolve_device
    from weights.pipeline import export, run_stages
    from weights.prove import prove_resume as prove
    from weights.train.parallel import World, world

    with world("shard" if shard else "replicate", resolve_device(device)) as joined:
        shop = replace(shop, world=joined)
        if prove_resume:
            return prove(shop, stages[0])
        done = run_stages(shop, stages)
    if done and joined.is_first and stages[-1] == shop.recipe.stages[-1]:
        typer.echo(export(replace(shop, world=World(), weights=None)))
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
def examples(
    corpus: CorpusOption,
    out: Annotated[Path, typer.Option("--out", help="The file to write, such as weights/default/examples.sqlite.")],
) -> None:
    """The command examples that a question at the shell is grounded in: one file, to stand beside a model's weights."""
    from weights.data.examples import make_examples

    typer.echo(f"{make_examples(corpus, out)} examples in {out}")


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
    """Measure the model that a recipe made and write its card: `tfm eval --json --card` of OUT/model."""
    from weights.recipe import read_recipe

    parsed = read_recipe(recipe, tuple(changes or ()))
    from weights.evaluate.command import Request, run

    run(Request(out / "model", corpus, parsed, as_json=True, card=True, threads=threads))


app.command("mlm", help="A masked language model: as `recipe`, for one such as masked-lm.toml.")(recipe)
app.command()(translator)
app.command()(compare_attention)
app.command()(compare_positions)
add_comparisons(app)
app.command()(classify)
app.command()(lora)
app.command()(full)
app.command()(sft)
app.command()(dpo)


@bench_app.callback()
def bench() -> None:
    """Measure speed on this machine, beside others in the same run."""


bench_app.command("attention")(bench_attention)


@bench_app.command("train")
def bench_train(
    shape: Annotated[str, typer.Option("--shape", help="Parameters: 14M or 36M.")] = "14M",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Steps that are measured of each.")] = 7,
    threads: ThreadsOption = None,
) -> None:
    """Training: this trainer, transformers' Llama eager and compiled, and the matrix limit."""
    import torch
    from rich.console import Console

    from weights import bench as measure

    torch.set_num_threads(threads or os.cpu_count() or 1)
    measure.bench_train(shape, rounds, Console(width=None if sys.stdout.isatty() else 120))


def main(args: list[str] | None = None, name: str = "train", judged: Judged | None = None) -> int:
    """Run `tfm train` (or bench, eval) on `args`; the exit code of what did not fail. Errors are the caller's.

    judged: what `tfm train sft --from-sessions` learns from, if the caller keeps conversations.
    """
    chosen = {"train": app, "bench": bench_app, "eval": eval_app}[name]
    try:
        code = chosen(args=args, prog_name=f"tfm {name}", standalone_mode=False, obj=judged)
    except SystemExit as e:
        if isinstance(e.__context__, BrokenPipeError):  # Typer would end with 1 when the reader has gone
            raise e.__context__ from None
        raise
    return code if isinstance(code, int) else 0  # Typer gives 130 back for an interruption

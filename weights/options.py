"""Flags that several commands of the trainer share, and what all of them do first. Imports no torch at start."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from weights.workshop import Workshop

APP: dict[str, Any] = {
    "add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}  # fmt: skip

RecipeArgument = Annotated[Path, typer.Argument(help="A recipe: a TOML file such as weights/recipes/default.toml.")]
CorpusOption = Annotated[Path, typer.Option("--corpus", help="The directory that the recipe's file names start from.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="Threads for the arithmetic.")]
CompileOption = Annotated[
    bool | None, typer.Option("--compile/--no-compile", help="Use torch.compile; by default where gcc is found.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first bad line instead of leaving it out.")]
StopAfterOption = Annotated[int | None, typer.Option("--stop-after", min=1, help="Save and leave after this step.")]
DeviceOption = Annotated[str, typer.Option("--device", help="Where it runs: cpu, cuda.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value, as in stage.sft.lr=0.001.")
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", metavar="DIR", help="Begin with the weights and the tokenizer of this model directory."),
]
BoardOption = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events too.")]


def begin_run(out: Path, threads: int | None) -> None:
    """Set the threads of this process (its part, under torchrun) and make `out`. Raises DataError when it cannot be."""
    import torch

    from engine.errors import DataError

    torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise DataError(f"--out {out} cannot be a directory: {e.strerror}.") from e


def open_workshop(
    recipe: Path, corpus: Path, out: Path, changes: list[str] | None, threads: int | None, **more: Any
) -> "Workshop":
    """Read the recipe, then load torch: a mistake in the recipe is told at once. more: other fields of Workshop."""
    from weights.recipe import read_recipe

    parsed = read_recipe(recipe, tuple(changes or ()))
    begin_run(out, threads)
    from weights.workshop import Workshop

    return Workshop(parsed, corpus, out, **more)

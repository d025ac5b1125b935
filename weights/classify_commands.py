"""`tfm train classify`: a classifier from a labelled file. Imports no torch at start."""

import os
from pathlib import Path
from typing import Annotated

import typer

from weights.options import StopAfterOption, ThreadsOption

FileArgument = Annotated[Path, typer.Argument(help="Lines of a label, a tab and a text; may be .xz or .gz.")]
BaseOption = Annotated[Path, typer.Option("--base", help="An encoder: a directory, or the name of one that ships.")]
OutOption = Annotated[Path, typer.Option("--out", help="The directory to write; states go to OUT.training.")]
ValidOption = Annotated[
    Path | None, typer.Option("--valid", metavar="FILE", help="Measure on this file; else on a tenth that is held out.")
]
EpochsOption = Annotated[float, typer.Option("--epochs", min=0.01, help="How often the file is gone through.")]
RateOption = Annotated[float, typer.Option("--lr", min=1e-9, help="The highest learning rate; it falls to 0.")]
BatchOption = Annotated[int, typer.Option("--batch", min=1, help="Texts in one step.")]
SeedOption = Annotated[int, typer.Option("--seed", help="The order of the texts, and which are held out.")]
SkipOption = Annotated[bool, typer.Option("--skip-bad-lines", help="Leave bad lines out instead of stopping.")]


def classify(
    file: FileArgument, out: OutOption, base: BaseOption = Path("masked-lm"), valid: ValidOption = None,
    epochs: EpochsOption = 2.0, lr: RateOption = 5e-4, batch: BatchOption = 32, seed: SeedOption = 1,
    skip_bad_lines: SkipOption = False, threads: ThreadsOption = None, stop_after: StopAfterOption = None,
) -> None:  # fmt: skip
    """A classifier from a labelled file, on an encoder: accuracy, F1 and confusions are told as JSON."""
    import torch

    from weights.classify import Task, classify
    from weights.tune import base_directory

    torch.set_num_threads(threads or os.cpu_count() or 1)
    task = Task(base_directory(base), file, out, valid, epochs, lr, batch, seed, skip_bad_lines, stop_after)
    if classify(task):
        typer.echo((out / "evaluation.json").read_text(encoding="utf-8"), nl=False)
    elif stop_after is None:
        raise KeyboardInterrupt  # stopped by a signal, saved and told

"""Flags that several commands of the trainer share, and what all of them do first. Imports no torch at start."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

APP: dict[str, Any] = {
    "add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}  # fmt: skip

CorpusOption = Annotated[Path, typer.Option("--corpus", help="The directory that the recipe's file names start from.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="Threads for the arithmetic.")]
CompileOption = Annotated[
    bool | None, typer.Option("--compile/--no-compile", help="Use torch.compile; by default where gcc is found.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first bad line instead of leaving it out.")]
StopAfterOption = Annotated[int | None, typer.Option("--stop-after", min=1, help="Save and leave after this step.")]
DeviceOption = Annotated[str, typer.Option("--device", help="Where it runs: cpu, cuda.")]
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

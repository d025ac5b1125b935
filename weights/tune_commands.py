"""`tfm train lora`, `full`, `sft`, `dpo`: fine-tuning of a model on a file of one's own. Imports no torch at start."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import DataError, UsageError
from weights.options import StopAfterOption, ThreadsOption

if TYPE_CHECKING:
    from engine.adapter import AdapterConfig

ModelOption = Annotated[
    Path, typer.Option("-m", "--model", help="The base: a model directory, or the name of a model that ships.")
]
DataOption = Annotated[Path, typer.Option("--data", help="The file to learn, such as conversations as JSON lines.")]
OutOption = Annotated[Path, typer.Option("--out", help="The directory to write; states go to OUT.training.")]
FormatOption = Annotated[
    str, typer.Option("--format", help="chat, qa, shell, text, plain, parallel, sentiment, pairs.")
]
EpochsOption = Annotated[float, typer.Option("--epochs", help="How often the file is gone through.")]
RateOption = Annotated[float, typer.Option("--lr", help="The highest learning rate; it falls to 0 as a cosine.")]
BatchOption = Annotated[int, typer.Option("--batch", min=1, help="Rows in one step.")]
RowOption = Annotated[int | None, typer.Option("--row", min=2, help="Tokens in one row; else as the longest needs.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Order of the rows, and where A begins.")]
DropoutOption = Annotated[float, typer.Option("--dropout", min=0, max=0.99, help="Share that is dropped in training.")]
TemplateOption = Annotated[str | None, typer.Option("--template", help="A chat template, if not the model's own.")]
SkipOption = Annotated[bool, typer.Option("--skip-bad-lines", help="Leave bad lines out instead of stopping.")]
CompileOption = Annotated[bool, typer.Option("--compile", help="Use torch.compile: worth it for long runs.")]
RankOption = Annotated[int, typer.Option("--rank", min=1, help="The rank of the low-rank parts.")]
AlphaOption = Annotated[float, typer.Option("--alpha", help="They are scaled with alpha / rank.")]
TargetOption = Annotated[
    list[str] | None, typer.Option("--target", help="A projection such as q_proj (repeatable); else all of the blocks.")
]
RsloraOption = Annotated[bool, typer.Option("--rslora", help="Scale with alpha / √rank, for high ranks.")]
PairsOption = Annotated[
    Path, typer.Option("--data", help='Lines of {"messages": [...], "chosen": "...", "rejected": "..."}.')
]
ChatsOption = Annotated[
    Path | None, typer.Option("--data", help='Lines of {"messages": [{"role": "user", "content": "..."}, ...]}.')
]
SessionsOption = Annotated[
    bool, typer.Option("--from-sessions", help="Learn the answers that /good and /fix judged, and no others.")
]
LastOption = Annotated[bool, typer.Option("--last-only", help="Of each conversation learn the last answer only.")]
AllOption = Annotated[bool, typer.Option("--full", help="Tune all weights, to a model directory; else an adapter.")]
BestRateOption = Annotated[
    float | None, typer.Option("--lr", help="The highest learning rate; 1e-3, with --full 1e-4.")
]
JUDGED = "sessions.jsonl"
Judged = Callable[[Path], int]  # writes what was judged in kept conversations to a file; how many answers
BetaOption = Annotated[float, typer.Option("--beta", help="How near the base it stays: larger is nearer.")]


@dataclass(frozen=True)
class Job:
    """What all of them ask for, as the fields of weights.tune.Tuning."""

    base: Path
    data: Path
    out: Path
    format: str
    epochs: float
    lr: float
    batch: int
    row: int | None
    seed: int
    template: str | None
    skip_bad_lines: bool
    compiled: bool
    stop_after: int | None
    last_only: bool = False


def lora(
    model: ModelOption, data: DataOption, out: OutOption, rank: RankOption = 8, alpha: AlphaOption = 16.0,
    target: TargetOption = None, rslora: RsloraOption = False, dropout: DropoutOption = 0.0,
    format: FormatOption = "chat", epochs: EpochsOption = 3.0, lr: RateOption = 1e-3, batch: BatchOption = 8,
    row: RowOption = None, seed: SeedOption = 1, template: TemplateOption = None, skip_bad_lines: SkipOption = False,
    threads: ThreadsOption = None, compiled: CompileOption = False, stop_after: StopAfterOption = None,
) -> None:  # fmt: skip
    """Tune a model to a file with LoRA, and write a PEFT adapter: for --adapter. The base is not changed."""
    job = Job(model, data, out, format, epochs, lr, batch, row, seed, template, skip_bad_lines, compiled, stop_after)
    from engine.adapter import AdapterConfig

    targets = tuple(sorted(set(target))) if target else None
    _run(job, threads, AdapterConfig(rank, alpha, targets, rslora, dropout), 0.0)


def full(
    model: ModelOption, data: DataOption, out: OutOption, dropout: DropoutOption = 0.0, format: FormatOption = "chat",
    epochs: EpochsOption = 3.0, lr: RateOption = 1e-4, batch: BatchOption = 8, row: RowOption = None,
    seed: SeedOption = 1, template: TemplateOption = None, skip_bad_lines: SkipOption = False,
    threads: ThreadsOption = None, compiled: CompileOption = False, stop_after: StopAfterOption = None,
) -> None:  # fmt: skip
    """Tune all weights of a model to a file, and write a model directory. The base is not changed."""
    job = Job(model, data, out, format, epochs, lr, batch, row, seed, template, skip_bad_lines, compiled, stop_after)
    _run(job, threads, None, dropout)


def sft(
    ctx: typer.Context, model: ModelOption, out: OutOption, data: ChatsOption = None,
    from_sessions: SessionsOption = False, last_only: LastOption = False, all_weights: AllOption = False,
    rank: RankOption = 8, epochs: EpochsOption = 3.0, lr: BestRateOption = None, batch: BatchOption = 8,
    row: RowOption = None, seed: SeedOption = 1, template: TemplateOption = None, threads: ThreadsOption = None,
    stop_after: StopAfterOption = None,
) -> None:  # fmt: skip
    """Tune a model to conversations of yours: a file of them, or what you judged in the chats that are kept."""
    from engine.adapter import AdapterConfig

    if (data is not None) == from_sessions:
        raise UsageError("tfm train sft needs --data FILE or --from-sessions, one of them.")
    chats = data or _judged_of(ctx.obj, out)
    rate = lr if lr is not None else 1e-4 if all_weights else 1e-3
    job = Job(
        model, chats, out, "chat", epochs, rate, batch, row, seed, template, False, False, stop_after,
        last_only or from_sessions,
    )  # fmt: skip
    _run(job, threads, None if all_weights else AdapterConfig(rank, 2.0 * rank, None, False, 0.0), 0.0)


def _judged_of(judged: Judged | None, out: Path) -> Path:
    """What was judged, in a file beside what a resume needs; a tuning that goes on has the file that it began with."""
    from weights.train.state import states
    from weights.tune import home_of
    from weights.workshop import say

    if judged is None:
        raise UsageError("Only `tfm train sft` knows where conversations are kept.", "Give --data FILE.")
    home = home_of(out)
    file = home / JUDGED
    if file.is_file() and states(home):
        say(f"It goes on with the answers in {file}, as they were judged when it began.")
        return file
    try:
        say(f"{judged(file)} answers that were judged good or corrected, in {file}")
    except OSError as e:
        raise DataError(f"--out {out} cannot be written: {file} cannot be made ({e.strerror}).") from e
    return file


def dpo(
    model: ModelOption, data: PairsOption, out: OutOption, beta: BetaOption = 0.1, dropout: DropoutOption = 0.0,
    epochs: EpochsOption = 1.0, lr: RateOption = 1e-5, batch: BatchOption = 8, row: RowOption = None,
    seed: SeedOption = 1, template: TemplateOption = None, skip_bad_lines: SkipOption = False,
    threads: ThreadsOption = None, compiled: CompileOption = False, stop_after: StopAfterOption = None,
) -> None:  # fmt: skip
    """Raise better answers over worse ones (direct preference optimisation), and write a model directory."""
    job = Job(model, data, out, "chat", epochs, lr, batch, row, seed, template, skip_bad_lines, compiled, stop_after)
    _run(job, threads, None, dropout, beta)


def _run(
    job: Job, threads: int | None, adapter: "AdapterConfig | None", dropout: float, beta: float | None = None
) -> None:
    """Tune; the written directory goes to stdout. An interruption, saved and told, becomes exit code 130."""
    import torch

    from weights.tune import Tuning, tune

    torch.set_num_threads(threads or os.cpu_count() or 1)
    done = tune(Tuning(**asdict(job), adapter=adapter, dropout=dropout, beta=beta))
    if done:
        typer.echo(job.out)
    elif job.stop_after is None:
        raise KeyboardInterrupt

"""Fine-tuning of a model directory on a file of one's own, without a recipe: an adapter (LoRA), or all weights.

Tokenizer and template are the model's own, and rows, loop and resume are those of the trainer. `out` becomes what
others load; what a resume needs lies beside it, in `out`.training, and may be removed when all is done.
"""

import copy
import hashlib
import json
import math
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from engine.adapter import AdapterConfig
from engine.api import Engine, load_engine
from engine.checkpoint import save_like
from engine.errors import DataError, UsageError
from engine.gguf import gguf_at
from engine.template import TFM, ChatTemplate
from weights.data.mixture import Mixture
from weights.data.preferences import PairRows, read_pairs
from weights.data.readers import FORMATS, Record, Report, read_file
from weights.data.shards import Shard, make_shard
from weights.objectives import preference
from weights.recipe import Stage
from weights.train.loop import Rows, Run, train
from weights.train.lora import attach, save_attached
from weights.train.plot import plot_losses
from weights.train.state import load_state, states
from weights.workshop import contents, say, tell_bad_lines

SOURCE = "data"  # the one source of a tuning
LONGEST_ROW = 1024  # unless a longer one is asked for
PASS_TOKENS = 4096  # in one forward pass, unless a single row is longer


@dataclass(frozen=True)
class Tuning:
    """What is tuned on what.

    adapter: the low-rank parts that learn; None: all weights do. dropout: of the whole model, for all weights; that of
    an adapter is its own.
    """

    base: Path
    data: Path
    out: Path
    format: str = "chat"
    adapter: AdapterConfig | None = None
    epochs: float = 3.0
    lr: float = 1e-4
    batch: int = 8
    row: int | None = None  # None: as the longest record needs
    dropout: float = 0.0
    seed: int = 1
    template: str | None = None
    skip_bad_lines: bool = False
    compiled: bool = False
    stop_after: int | None = None
    beta: float | None = None  # of a preference: then the file holds pairs of answers
    last_only: bool = False  # learn only the last answer of each conversation

    @property
    def name(self) -> str:
        """The name of the one stage."""
        if self.beta is not None:
            return "dpo"
        return "full" if self.adapter is None else "lora"

    @property
    def home(self) -> Path:
        """Where states and metrics go."""
        return home_of(self.out)


def home_of(out: Path) -> Path:
    """Where states and metrics of a tuning go, beside what it writes."""
    return out.with_name(out.name + ".training")


def tune(tuning: Tuning) -> bool:
    """Tune and write `out`, going on where an earlier call was cut; True when it is done.

    Everything that can be wrong is found before the first step, and nothing that is there is overwritten. Raises
    UsageError, DataError for the file or `out`, ModelError for the base.
    """
    _check(tuning)
    course = _pairs(tuning) if tuning.beta is not None else _records_of(tuning)
    fingerprint = _fingerprint(tuning, course)
    is_done = _resumes(tuning, fingerprint)
    model = course.engine.model.requires_grad_(True)
    objective = None if tuning.beta is None else preference(copy.deepcopy(model), tuning.beta)
    if tuning.adapter is not None:
        attach(model, tuning.adapter, tuning.seed)
    _make_home(tuning)
    stage = course.stage
    if is_done:
        say(f"{stage.name}: all {course.rows.n_steps} steps are done; there is nothing more to train")
    else:
        _tell(course)
    run = Run(tuning.home, fingerprint, compiled=tuning.compiled, stop_after=tuning.stop_after)
    if not train(model, stage, course.rows, run, objective):
        say(f"{stage.name} was stopped and saved; the same command goes on from there")
        return False
    plot_losses(tuning.home, tuning.home / "losses.png")
    if tuning.adapter is None:
        save_like(tuning.out, model, Path(course.engine.info.path))
    else:
        save_attached(tuning.out, model, tuning.adapter, course.engine.info.path)
    return True


@dataclass(frozen=True)
class _Course:
    """A tuning with its data read: the base, its rows, what they were made of (for the fingerprint), what is told."""

    engine: Engine
    stage: Stage
    rows: Rows
    material: tuple[bytes, ...]
    told: str
    cut: int  # records that are longer than a row


def _records_of(tuning: Tuning) -> _Course:
    records = list(_records(tuning))
    engine = load_engine(base_directory(tuning.base), dtype="float32", template=tuning.template)
    shard = _shard(tuning, engine, records)
    stage = plan(tuning, engine.config.max_positions, shard, is_chat=bool(records[0].messages))
    cut = int((shard.lengths > stage.row + 1).sum()) if stage.objective == "chat" else 0
    told = f"{len(shard.lengths):,} records of {int(shard.starts[-1]):,} tokens"
    material = (shard.ids.tobytes(), shard.target.tobytes(), shard.starts.tobytes())
    return _Course(engine, stage, Mixture(stage, {SOURCE: shard}, tuning.seed), material, told, cut)


def _pairs(tuning: Tuning) -> _Course:
    report = Report(strict=not tuning.skip_bad_lines)
    pairs = list(read_pairs(tuning.data, report))
    tell_bad_lines(report)
    engine = load_engine(base_directory(tuning.base), dtype="float32", template=tuning.template)
    template = _template(tuning, engine)
    row = min(tuning.row or LONGEST_ROW, engine.config.max_positions)
    batch = min(tuning.batch, len(pairs))
    rows = PairRows(
        pairs, engine.tokenizer, row=row, batch=batch, passes=tuning.epochs, seed=tuning.seed, template=template
    )
    stage = Stage(
        name=tuning.name, objective="chat", tokens=2 * row * batch * rows.n_steps, shares={SOURCE: 1.0}, row=row,
        batch=batch, micro_batch=1, lr=tuning.lr, warmup=10, weight_decay=0.0, dropout=tuning.dropout,
    )  # fmt: skip
    material = (tuning.data.read_bytes(), template.digest.encode())
    return _Course(engine, stage, rows, material, f"{len(pairs):,} pairs of answers", rows.cut)


def base_directory(base: Path) -> Path:
    """A directory, or that of a model that ships, by its name."""
    shipped = Path(__file__).parent / base
    return shipped if len(base.parts) == 1 and (shipped / "config.json").is_file() else base


def plan(tuning: Tuning, max_positions: int, shard: Shard, *, is_chat: bool) -> Stage:
    """The stage that passes `epochs` times over the shard. Raises UsageError for a row that the model cannot read."""
    row = tuning.row
    if row is None:
        longest = int(shard.lengths.max())
        row = min(max_positions, LONGEST_ROW, max(64, 1 << (longest - 2).bit_length()))
    if row > max_positions:
        raise UsageError(f"--row {row} is longer than the model's {max_positions} positions.")
    lengths = np.minimum(shard.lengths, row + 1) if is_chat else shard.lengths
    fitting = (m for m in range(tuning.batch, 0, -1) if tuning.batch % m == 0 and m * row <= PASS_TOKENS)
    return Stage(
        name=tuning.name, objective="chat" if is_chat else "lm", tokens=round(tuning.epochs * int(lengths.sum())),
        shares={SOURCE: 1.0}, row=row, batch=tuning.batch, micro_batch=next(fitting, 1), lr=tuning.lr, warmup=10,
        weight_decay=0.0, dropout=tuning.dropout,
    )  # fmt: skip


def _check(tuning: Tuning) -> None:
    """What can be wrong without a model."""
    for flag, value in (("--epochs", tuning.epochs), ("--lr", tuning.lr), ("--beta", tuning.beta or 1.0)):
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{flag} must be a number above 0, not {value}.")
    formats = [name for name in FORMATS if name != "own"]
    if tuning.format not in formats:
        raise UsageError(f"--format must be one of {', '.join(formats)}, not {tuning.format!r}.")
    if gguf_at(base_directory(tuning.base)) is not None:
        raise UsageError(
            f"{tuning.base} is a GGUF file, and only a model directory can be tuned.",
            f"Make one of it first: tfm convert {tuning.base} DIR.",
        )
    if not tuning.data.is_file():
        raise DataError(f"There is no data file {tuning.data}.")
    if _in_use(tuning.out) and not states(tuning.home):
        raise _taken(tuning.out)


def _resumes(tuning: Tuning, fingerprint: str) -> bool:
    """Whether an earlier call has done all steps. Raises DataError when what is there belongs to another tuning."""
    state = load_state(tuning.home)
    if state and state["fingerprint"] != fingerprint:
        raise DataError(
            f"{tuning.home} holds the state of a tuning with another base, file or setting.",
            "Choose another --out, or remove it.",
        )
    is_done = bool(state and state["done"])
    if _in_use(tuning.out) and not is_done:
        raise _taken(tuning.out)
    return is_done


def _make_home(tuning: Tuning) -> None:
    try:
        tuning.home.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise DataError(f"--out {tuning.out} cannot be written: {tuning.home} cannot be made ({e.strerror}).") from e


def _in_use(out: Path) -> bool:
    return out.exists() and (not out.is_dir() or any(out.iterdir()))


def _taken(out: Path) -> DataError:
    return DataError(f"--out {out} holds something else already.", "Choose another; nothing is overwritten.")


def _records(tuning: Tuning) -> Iterator[Record]:
    """The records of the file; its first bad line is an error, unless such lines are to be left out."""
    report = Report(strict=not tuning.skip_bad_lines)
    yield from read_file(tuning.data, tuning.format, random.Random(tuning.seed), report)
    tell_bad_lines(report)


def _shard(tuning: Tuning, engine: Engine, records: list[Record]) -> Shard:
    """The records as the model would read them. Raises DataError when there is no template, or nothing to learn."""
    template = _template(tuning, engine) if records[0].messages else TFM
    shard = make_shard(records, engine.tokenizer, template)
    if tuning.last_only:
        before = make_shard([Record(record.messages[:-1]) for record in records], engine.tokenizer, template)
        for start, length in zip(shard.starts, before.lengths, strict=False):
            shard.target[start : start + length] = 0
    if not shard.target.any():
        raise DataError(f"{tuning.data} has no word of an assistant: there is nothing to learn.")
    return shard


def _template(tuning: Tuning, engine: Engine) -> ChatTemplate:
    if not isinstance(engine.template, ChatTemplate):
        raise DataError(
            f"{tuning.base} has no chat template that is built in, so conversations cannot be tuned to it.",
            "Choose one with --template.",
        )
    return engine.template


def _fingerprint(tuning: Tuning, course: _Course) -> str:
    """A hash of all that decides the numbers: the base's weights, the ids and what of them is learned, the settings."""
    adapter = None if tuning.adapter is None else asdict(tuning.adapter)
    facts = [asdict(course.stage), adapter, tuning.seed, tuning.beta]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for part in course.material:
        digest.update(part)
    digest.update(contents(base_directory(tuning.base)).encode())
    return digest.hexdigest()


def _tell(course: _Course) -> None:
    """What is about to be done, and everything that a person would want to change first."""
    stage, steps = course.stage, course.rows.n_steps
    length = f"at most {stage.row}" if isinstance(course.rows, PairRows) else f"{stage.row}"
    say(f"{stage.name}: {course.told}, {steps} steps of {stage.batch} rows of {length} tokens")
    if course.cut:
        say(f"{course.cut} records are longer than a row of {stage.row} tokens and are cut; --row sets another length")
    if steps < 10:
        say("these are few steps: more --epochs or a smaller --batch make more of them")

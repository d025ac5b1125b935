"""Several small decoders on the same stream of tokens: curves, mean and spread over seeds, a table and a picture.

What `tfm train compare-...` commands share. For one seed every variant reads the same rows in the same order, and is
trained by the same loop; seeds differ in first weights and in the order of the rows.
"""

import hashlib
import json
import os
import re
import shutil
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import Any

import torch

from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.errors import DataError
from engine.tokenizer import SentencePieceTokenizer
from weights.data.mixture import Batch, Mixture
from weights.data.readers import Record, Report, read_file
from weights.data.shards import Shard, make_shard
from weights.figure import draw_figure
from weights.objectives import cross_entropy
from weights.recipe import Stage
from weights.train.loop import Run, train
from weights.train.parallel import World
from weights.train.plot import read_metrics
from weights.workshop import say, tokenizer_at

HELD_OUT_TOKENS = 65_536
SMOOTHED = 25  # points of a drawn curve are means over steps, so that they can be told apart


@dataclass(frozen=True)
class Variant:
    """One of the models that are compared. config.vocab_size must be the data's.

    build: what makes the model of the config, for a variant that no config describes.
    """

    name: str
    config: ModelConfig
    note: str = ""
    build: Callable[[ModelConfig], DecoderLM] = DecoderLM

    def fresh(self, seed: int) -> DecoderLM:
        """The model with the first weights that a seed draws."""
        model = self.build(self.config)
        model.init_weights(torch.Generator().manual_seed(seed))
        return model


def notes_of(variants: Iterable[Variant]) -> str:
    """What each variant is, a line each: the end of what a report is about."""
    return "\n".join(f"- {v.name}: {v.note}" for v in variants)


@dataclass(frozen=True)
class Outcome:
    """What became of one variant with one seed. losses: nats per token; held_out: the same of text not trained on."""

    variant: str
    seed: int
    steps: list[int]
    losses: list[float]
    held_out: float
    tokens_per_s: float
    extra: dict[str, Any] = field(default_factory=dict)  # numbers for tables, and what a variant is quoted with


@dataclass(frozen=True)
class Data:
    """What all variants read: documents to learn from, documents to measure with, and their tokenizer."""

    tokenizer: SentencePieceTokenizer
    train: Shard
    held_out: Shard

    @property
    def vocab_size(self) -> int:
        """V of every variant."""
        return self.tokenizer.vocab_size


Measure = Callable[[DecoderLM, Sequence[Batch]], Mapping[str, Any]]  # trained model, held-out rows -> Outcome.extra


def read_data(corpus: Path, out: Path, *, vocab_size: int, tokens: int) -> Data:
    """The beginnings of the corpus's texts (text/*.train.*), about `tokens` of them, in pieces of a tokenizer in `out`.

    Files give the same number of bytes each, as far as they have them. Raises DataError when there is no text.
    """
    files = {split: sorted((corpus / "text").glob(f"*.{split}.jsonl*")) for split in ("train", "valid")}
    for split, found in files.items():
        if not found:
            raise DataError(f"There is no file text/*.{split}.jsonl in {corpus}.", "Give the corpus with --corpus.")
    texts = list(_beginnings(files["train"], 4 * tokens))  # a piece is about four bytes
    path = out / "tokenizer" / "tokenizer.model"
    tokenizer = tokenizer_at(path, vocab_size, (r.text for r in texts), World())
    held_out = _beginnings(files["valid"], 6 * HELD_OUT_TOKENS)
    return Data(tokenizer, make_shard(texts, tokenizer), make_shard(held_out, tokenizer))


def _beginnings(files: Sequence[Path], n_bytes: int) -> Iterator[Record]:
    """Records from the beginnings of files, one of each file in turn, until the sum of their bytes is reached."""
    readers = [read_file(path, "text", Random(0), Report()) for path in files]
    left = n_bytes
    for turn in zip_longest(*readers):
        for record in filter(None, turn):
            if left <= 0:
                return
            yield record
            left -= len(record.text.encode())


def compare(
    variants: Sequence[Variant], data: Data, *, seeds: Sequence[int], tokens: int, row: int, batch: int, lr: float,
    measure: Measure | None = None, out: Path,
) -> list[Outcome]:  # fmt: skip
    """Train each variant with each seed; an Outcome that stands under `out` already is read, a cut one goes on.

    measure: what else is asked of a trained model (weights require gradients; wrap it in no_grad where none is needed).
    Raises DataError when `out` holds a run of other settings, KeyboardInterrupt when a signal ended a run, saved.
    """
    stage = stage_of(tokens, row, batch, lr)  # seeds outside: a comparison that is cut has whole rounds
    return [_outcome(variant, data, stage, seed, measure, out) for seed in seeds for variant in variants]


def stage_of(tokens: int, row: int, batch: int, lr: float, objective: Any = "lm") -> Stage:
    """How every variant is trained: AdamW, a short warmup, a cosine down to a tenth of the rate."""
    return Stage(
        "compare", objective, tokens, {"text": 1.0}, row=row, batch=batch, micro_batch=batch, lr=lr, min_lr=lr / 10,
        warmup=max(1, min(100, tokens // (batch * row) // 10)), keep_states=1, save_minutes=2.0,
    )  # fmt: skip


def _outcome(variant: Variant, data: Data, stage: Stage, seed: int, measure: Measure | None, out: Path) -> Outcome:
    def work(run: Run) -> Outcome:
        say(f"{variant.name}, seed {seed}: {variant.config.n_parameters:,} parameters")
        model = variant.fresh(seed)
        if not train(model, stage, Steps(Mixture(stage, {"text": data.train}, seed), stage), run):
            raise KeyboardInterrupt
        rows = held_out_rows(data, stage)
        extra = dict(measure(model, rows)) if measure else {}
        return outcome_of(variant.name, seed, run.home, held_out_loss(model, rows), extra)

    return kept(out, variant.name, seed, _key(variant, data, stage, seed), work)


def kept(out: Path, variant: str, seed: int, key: str, work: Callable[[Run], Outcome]) -> Outcome:
    """The outcome of a variant and seed that stands under `out`, else what `work` makes in a directory of its own.

    key: a hash of all that decides the numbers. Raises DataError when what stands there has another.
    """
    name = f"{re.sub(r'[^A-Za-z0-9]+', '-', variant).strip('-')}-{seed}"
    path, home = out / f"{name}.json", out / f"{name}.run"
    if path.is_file():
        told = json.loads(path.read_text(encoding="utf-8"))
        if told.pop("key", None) != key:
            raise DataError(f"{path} is of other settings.", "Choose another --out, or remove it.")
        return Outcome(**told)
    outcome = work(Run(home, key))
    half_written = path.with_suffix(".tmp")
    half_written.write_text(json.dumps({"key": key, **asdict(outcome)}), encoding="utf-8")
    os.replace(half_written, path)
    shutil.rmtree(home)  # its states: many times the size of what is asked of it
    return outcome


def outcome_of(variant: str, seed: int, home: Path, held_out: float, extra: Mapping[str, Any]) -> Outcome:
    """What became of a run whose metrics are in `home`."""
    steps = [r for r in read_metrics(home) if "loss" in r]
    speed = statistics.median(r["tokens_per_s"] for r in steps)
    return Outcome(variant, seed, [r["step"] for r in steps], [r["loss"] for r in steps], held_out, speed, dict(extra))


@dataclass(frozen=True)
class Steps:
    """A mixture's rows, as many as the stage has tokens: a mixture ends with whole documents, here and there later."""

    mixture: Mixture
    stage: Stage

    @property
    def n_steps(self) -> int:
        return max(1, self.stage.tokens // (self.stage.batch * self.stage.row))

    def batch(self, first_row: int, rows: int) -> Batch:
        return self.mixture.batch(first_row, rows)


def _key(variant: Variant, data: Data, stage: Stage, seed: int) -> str:
    """A hash of all that decides the numbers."""
    facts = json.dumps([asdict(variant.config), asdict(stage), seed], sort_keys=True).encode()
    return hashlib.sha256(facts + data.train.ids.tobytes() + data.held_out.ids.tobytes()).hexdigest()


def held_out_rows(data: Data, stage: Stage) -> list[Batch]:
    """HELD_OUT_TOKENS of held-out text, in batches of the stage's size: the same for all variants and seeds."""
    mixture = Mixture(stage, {"text": data.held_out}, seed=0)
    rows = min(mixture.n_rows, max(1, HELD_OUT_TOKENS // stage.row))
    return [mixture.batch(start, min(stage.batch, rows - start)) for start in range(0, rows, stage.batch)]


@torch.no_grad()
def held_out_loss(model: DecoderLM, rows: Sequence[Batch]) -> float:
    """Nats per token of some rows."""
    total = 0.0
    for batch in rows:
        hidden = model.hidden(batch.ids, documents=batch.documents)
        total += float(cross_entropy(hidden.flatten(0, 1), model.head_weight, batch.targets.flatten()))
    return total / max(1, sum(batch.n_targets for batch in rows))


def table(outcomes: Sequence[Outcome], columns: Mapping[str, str]) -> str:
    """A markdown table: a row for each variant, mean ± standard deviation over seeds.

    columns: heading -> "held_out", "tokens_per_s", or a key of `extra`.
    """
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name, group in by_variant(outcomes).items():
        cells = [cell([o.extra.get(key, getattr(o, key, None)) for o in group]) for key in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def by_variant(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """The outcomes of each variant, in the order of their first."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.variant, []).append(outcome)
    return groups


def cell(found: Sequence[float | None]) -> str:
    """Mean ± standard deviation of one number over seeds."""
    values = [v for v in found if v is not None]
    if not values:
        return "–"
    mean = statistics.fmean(values)
    form = ",.0f" if abs(mean) >= 1000 else ".3f"
    if len(values) == 1 or not (spread := statistics.stdev(values)):
        return f"{mean:{form}}"
    return f"{mean:{form}} ± {spread:{form}}"


def draw(outcomes: Sequence[Outcome], path: Path, title: str) -> bool:
    """Draw the curves of training losses, mean and ± standard deviation, beside the held-out loss of every seed.

    False when matplotlib is not installed.
    """

    def panels(axes: Any, held_out: Any) -> None:
        for name, group in by_variant(outcomes).items():
            window = max(1, min(SMOOTHED, len(group[0].steps) // 8))
            steps = _means(group[0].steps, window)
            curves = list(zip(*(_means(o.losses, window) for o in group), strict=True))  # step by step, one a seed
            mean = [statistics.fmean(c) for c in curves]
            spread = [statistics.stdev(c) if len(c) > 1 else 0.0 for c in curves]
            (line,) = axes.plot(steps, mean, linewidth=1, label=name)
            low, high = ([m + sign * s for m, s in zip(mean, spread, strict=True)] for sign in (-1, 1))
            axes.fill_between(steps, low, high, alpha=0.2, color=line.get_color(), linewidth=0)
            held_out.plot([o.held_out for o in group], [name] * len(group), "o", markersize=4, color=line.get_color())
        axes.set(xlabel="step", ylabel="training loss, nats per token", title=title)
        axes.legend(fontsize=8)
        held_out.set(xlabel="held-out loss, nats per token, each seed")
        held_out.invert_yaxis()  # in the order of the table

    return draw_figure(path, 2, panels, (12, 4.5))


def _means(values: Sequence[float], window: int) -> list[float]:
    return [statistics.fmean(values[i : i + window]) for i in range(0, len(values) - window + 1, window)]


def save_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write what a table and its pictures are made of."""
    path.write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n", encoding="utf-8")


def write_report(
    out: Path, name: str, title: str, outcomes: Sequence[Outcome], columns: Mapping[str, str], about: str
) -> str:
    """Write NAME.md, NAME.json and (where matplotlib is) NAME.png under `out`; returns the text of the first.

    about: a paragraph below the table: sizes, tokens, what each variant is.
    """
    drawn = draw(outcomes, out / f"{name}.png", title)
    text = f"## {title}\n\n{table(outcomes, columns)}\n{about}\n"
    if drawn:
        text += f"\n![{title}]({name}.png)\n"
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    save_outcomes(out / f"{name}.json", outcomes)
    if not drawn:
        say("no picture was drawn: it needs matplotlib (pip install tfm[viz])")
    return text

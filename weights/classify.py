"""Training of a classifier on a labelled file: an encoder with a linear head, the whole of it tuned. Resumes."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from engine.errors import DataError
from weights.data.readers import Report, open_text
from weights.data.sentences import LabelledRows
from weights.evaluate.classes import scores
from weights.models.classifier import Classifier, Labeller
from weights.models.encoder_checkpoint import load_encoder
from weights.models.reading import Reader
from weights.objectives import classification
from weights.recipe import Stage
from weights.train.loop import Run, train
from weights.workshop import contents, say, tell_bad_lines

LONGEST = 64  # positions of a text in training; longer ones are cut
HELD_OUT = 0.1  # of the lines, where no file to measure on is given

Labelled = tuple[str, str]  # label, text


@dataclass(frozen=True)
class Task:
    """What is learned from what. valid: the file to measure on; None: a tenth of the lines is held out."""

    base: Path
    data: Path
    out: Path
    valid: Path | None = None
    epochs: float = 2.0
    lr: float = 5e-4
    batch: int = 32
    seed: int = 1
    skip_bad_lines: bool = False
    stop_after: int | None = None

    @property
    def home(self) -> Path:
        """Where states and metrics go."""
        return self.out.with_name(self.out.name + ".training")


def read_labelled(path: Path, skip_bad_lines: bool) -> list[Labelled]:
    """(label, text) of each line, with a tab between. Raises DataError for a bad line, unless those are left out."""
    report = Report(strict=not skip_bad_lines)
    found: list[Labelled] = []
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            label, tab, text = line.rstrip("\n").partition("\t")
            if not tab or not label.strip() or not text.strip():
                report.skip(path, number, "it is not a label, a tab and a text")
                continue
            found.append((label.strip(), text.strip()))
    tell_bad_lines(report)
    return found


def split(task: Task) -> tuple[list[Labelled], list[Labelled]]:
    """The lines to learn and those to measure on. Raises DataError where there are not two classes to learn."""
    rows = read_labelled(task.data, task.skip_bad_lines)
    if task.valid is not None:
        learned, held_out = rows, read_labelled(task.valid, task.skip_bad_lines)
    else:
        random.Random(task.seed).shuffle(rows)
        count = max(1, round(HELD_OUT * len(rows)))
        learned, held_out = rows[count:], rows[:count]
    labels = {label for label, _ in learned}
    if len(labels) < 2:
        raise DataError(
            f"{task.data} has {'one class, ' + repr(labels.pop()) if labels else 'no labelled line'}: "
            "there is nothing to tell apart.",
            "Each line is a label, a tab and a text.",
        )
    if not held_out:
        raise DataError(f"{task.valid} has no labelled line.")
    if strange := sorted({label for label, _ in held_out} - labels):
        raise DataError(f"The class {strange[0]!r} is measured, but no line to learn from has it.")
    return learned, held_out


def classify(task: Task) -> bool:
    """Train, or go on where a run was cut, and write `out`; True when it is done. Raises DataError and ModelError."""
    learned, held_out = split(task)
    encoder, tokenizer = load_encoder(task.base)
    labels = sorted({label for label, _ in learned})
    model = Classifier(encoder.requires_grad_(True), labels)
    model.init_head()
    reader = Reader(tokenizer, model.config)
    rows = [reader.cut(text) for _, text in learned]
    row = min(LONGEST, max(map(len, rows)))
    batch = min(task.batch, len(rows))
    stage = Stage(
        name="classify", objective="classify", tokens=max(1, round(task.epochs * len(rows))) * row, shares={},
        row=row, batch=batch, micro_batch=batch, lr=task.lr, warmup=20, weight_decay=0.01, dropout=0.1, spike=10.0,
    )  # fmt: skip
    numbers = torch.tensor([labels.index(label) for label, _ in learned])
    run = Run(task.home, _fingerprint(task, stage, learned), stop_after=task.stop_after)
    data = LabelledRows(stage, reader.pad(rows, row), numbers, task.seed)
    say(f"classify: {len(rows):,} texts of {len(labels)} classes, {data.n_steps} steps of {batch}")
    if not train(model, stage, data, run, classification):
        say("classify was stopped and saved; the same command goes on from there")
        return False
    Labeller(model.requires_grad_(False), tokenizer).save(task.out)
    told = json.dumps(measure(task.out, held_out), indent=1)
    (task.out / "evaluation.json").write_text(told + "\n", encoding="utf-8")
    return True


def measure(directory: Path, held_out: Sequence[Labelled]) -> dict[str, Any]:
    """What a written classifier makes of lines that it did not learn: see `scores`."""
    labeller = Labeller.load(directory)
    reader = labeller.reader
    texts = [reader.tokenizer.decode(reader.cut(text)[1:-1]) for _, text in held_out]
    told = [max(probs, key=lambda label: probs[label]) for probs in labeller.probs(texts)]
    return scores(labeller.model.labels, [label for label, _ in held_out], told)


def _fingerprint(task: Task, stage: Stage, learned: Sequence[Labelled]) -> str:
    """A hash of all that decides the numbers."""
    facts = [asdict(stage), contents(task.base), learned, task.seed]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

"""`tfm train compare-embeddings`: which rows of the embedding a batch trains, tied to the head and not tied."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine.decoder import DecoderLM
from weights.compare.attention import ROW, small_config
from weights.compare.trials import Outcome, Variant, by_variant, compare, notes_of, read_data, write_report
from weights.data.mixture import Batch
from weights.figure import draw_figure, mark_powers
from weights.objectives import next_token

VOCABULARY = 8192
BATCH, LR = 16, 2e-3
ROWS = (1, 4, 16, 64)  # rows of a batch whose gradient is looked at
COLUMNS = {"held-out loss": "held_out", "parameters": "parameters"} | {
    f"{what}, {rows * ROW:,} tokens": f"{key}_{rows}"
    for what, key in (("rows trained", "trained"), ("of them not read", "unread")) for rows in ROWS
}  # fmt: skip


def embedding_variants(vocab_size: int) -> list[Variant]:
    """One matrix for reading and for predicting, and one for each."""
    base = small_config(vocab_size)
    return [
        Variant("tied", base, "the embedding is the head too"),
        Variant("untied", replace(base, tie_embeddings=False), "the head is a matrix of its own"),
    ]


def trained_rows(model: DecoderLM, batch: Batch) -> tuple[float, float]:
    """(share of the embedding's rows with a gradient; share of its squared size on rows that the batch does not read).

    The batch's mean loss leaves its gradients in the model.
    """
    model.zero_grad()
    (next_token(model, batch) / batch.n_targets).backward()  # type: ignore[no-untyped-call]
    gradient = model.embedding.weight.grad
    assert gradient is not None
    squares = gradient.double().square().sum(1)
    unread = torch.ones(len(squares), dtype=torch.bool)
    unread[batch.ids] = False
    return float((squares > 0).double().mean()), float(squares[unread].sum() / squares.sum())


def _measure(model: DecoderLM, batches: Sequence[Batch]) -> Mapping[str, float]:
    """Batches of so many held-out rows."""
    ids, targets, documents = (torch.cat([getattr(b, n) for b in batches]) for n in ("ids", "targets", "documents"))
    found: dict[str, float] = {"parameters": model.config.n_parameters}
    for rows in ROWS:
        trained, unread = trained_rows(model, Batch(ids[:rows], targets[:rows], documents[:rows]))
        found |= {f"trained_{rows}": trained, f"unread_{rows}": unread}
    return found


def compare_embeddings(corpus: Path, out: Path, *, seeds: int, tokens: int) -> str:
    """Train both with each seed, then look at gradients; write compare-embeddings.md, .json and .png; the text.

    Raises DataError when the corpus has no text or `out` holds other settings.
    """
    data = read_data(corpus, out, vocab_size=VOCABULARY, tokens=tokens)
    variants = embedding_variants(data.vocab_size)
    outcomes = compare(
        variants, data, seeds=range(seeds), tokens=tokens, row=ROW, batch=BATCH, lr=LR, measure=_measure, out=out
    )
    about = (
        f"{data.vocab_size:,} pieces; {tokens:,} tokens a run in rows of {ROW}, {seeds} seeds, mean ± standard "
        "deviation; losses in nats per token. Rows trained: the share of the embedding's rows with a gradient, in a "
        "batch of so many held-out tokens. Of them not read: the share of the gradient's square that lies on rows "
        "that do not occur in the batch.\n\n"
    )
    about += notes_of(variants)
    if draw_rows(outcomes, out / "rows.png"):
        about += "\n\n![Rows with a gradient against tokens in the batch](rows.png)"
    return write_report(out, "compare-embeddings", "Which rows a batch trains", outcomes, COLUMNS, about)


def draw_rows(outcomes: Sequence[Outcome], path: Path) -> bool:
    """Draw the share of rows with a gradient against the size of a batch; False when matplotlib is not installed."""
    tokens = [rows * ROW for rows in ROWS]

    def draw(axes: Any) -> None:
        for name, group in by_variant(outcomes).items():
            shares = [statistics.fmean(o.extra[f"trained_{rows}"] for o in group) for rows in ROWS]
            axes.plot(tokens, shares, marker="o", markersize=4, linewidth=1, label=name)
        axes.set(ylabel="share of the rows with a gradient", ylim=(0, 1.05))
        mark_powers(axes, tokens, "tokens in the batch")

    return draw_figure(path, 1, draw)

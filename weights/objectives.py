"""Objectives: a batch in, the sum of the losses of its targets out.

Sums, so that the loop divides once by the targets of the whole accumulated batch: a mean of means weighs short
rows too much.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from engine.decoder import DecoderLM
from weights.data.mixture import Batch
from weights.data.preferences import PairBatch
from weights.models.encoder import direction, pool

Objective = Callable[[Any, Any, float], Tensor]  # model, batch, dropout -> summed loss
TEMPERATURE = 0.05  # by which cosines are divided in the contrastive loss
Function = TypeVar("Function", bound=Callable[..., Any])
LOGIT_ROWS = 1024  # positions whose logits exist at once


def _as_it_stands(function: Function) -> Function:
    """Keeps a function out of the compiled graph, not what it calls: its number of pieces depends on the batch."""
    return cast(Function, torch.compiler.disable(function, recursive=False))  # type: ignore[no-untyped-call]


def compiled(objective: Objective) -> Objective:
    """The objective itself runs uncompiled; what it calls, the model and the loss of a piece, is compiled."""
    inner = _as_it_stands(objective)
    return cast(Objective, torch.compile(lambda *given: inner(*given)))


def next_token(model: DecoderLM, batch: Batch, dropout: float = 0.0) -> Tensor:
    """Cross-entropy of the next token, summed over the targets that are not -1, in nats.

    Language modelling and chat tuning are both this; what they count is decided where rows are packed.
    """
    hidden, routing = _hidden(model, batch.targets, batch.ids, documents=batch.documents, dropout=dropout)
    return routing + cross_entropy(hidden.flatten(0, 1), model.head_weight, batch.targets.flatten())


def _hidden(model: Any, targets: Tensor, *inputs: Tensor, **more: Any) -> tuple[Tensor, Tensor | float]:
    """Hidden states, and the routers' losses times the targets, less their own value: a 0 whose gradient trains them.

    So the loss that is told is that of the tokens, and compares with that of a model without experts.
    """
    if getattr(model.config, "experts", None) is None:
        return model.hidden(*inputs, **more), 0.0
    losses: list[Tensor] = []
    hidden = model.hidden(*inputs, **more, router_losses=losses)
    routing = torch.stack(losses).sum()
    return hidden, (routing - routing.detach()) * (targets >= 0).sum()


def translation(model: Any, batch: Any, dropout: float = 0.0, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the translation, all positions at once, each after the true ones before it (teacher forcing).

    model: one of weights/models. batch: a weights.data.pairs.PairBatch. smoothing: see `cross_entropy`.
    """
    hidden, routing = _hidden(model, batch.targets, batch.source, batch.inputs, dropout=dropout)
    return routing + cross_entropy(hidden.flatten(0, 1), model.head_weight, batch.targets.flatten(), smoothing)


@_as_it_stands
def masked_lm(model: Any, batch: Any, dropout: float = 0.0) -> Tensor:
    """Cross-entropy of the tokens that were hidden, and of them alone (Devlin 2019), in nats.

    model: a weights.models.encoder.Encoder without a bias of the head. batch: a weights.data.masking.MaskedBatch.
    """
    hidden, routing = _hidden(model, batch.targets, batch.ids, documents=batch.documents, dropout=dropout)
    chosen = hidden.gather(1, batch.chosen.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))  # B N C
    return routing + cross_entropy(model.transform(chosen.flatten(0, 1)), model.head_weight, batch.targets.flatten())


def contrastive(model: Any, batch: Any, dropout: float = 0.0) -> Tensor:
    """InfoNCE and masked language modelling, the latter so that tuning to the former does not forget how to fill.

    Summed over pairs; of the masked tokens, the mean in the place of each pair's share. batch: a
    weights.data.sentences.SentenceBatch.
    """
    told = masked_lm(model, batch.masked, dropout)
    each: Tensor = told / (batch.targets >= 0).sum().clamp_min(1)
    return info_nce(model, batch.ids, dropout) + each * (len(batch.ids) // 2)


def info_nce(model: Any, ids: Tensor, dropout: float = 0.0) -> Tensor:
    """Among all second sentences of a batch, the right one for each first, and back (van den Oord 2018).

    -log softmax(cos(a_i, b_j) / TEMPERATURE)_i, the mean of both directions, summed over the pairs; the other pairs
    of the batch are the wrong ones. ids: 2P T, firsts in the even rows.
    """
    vectors = direction(pool(model.hidden(ids, dropout=dropout), ids, model.config.pad_id))
    scores = vectors[0::2] @ vectors[1::2].T / TEMPERATURE  # P P
    right = torch.arange(len(scores), device=scores.device)
    there, back = (functional.cross_entropy(s.float(), right, reduction="sum") for s in (scores, scores.T))
    return 0.5 * (there + back)


def classification(model: Any, batch: Any, dropout: float = 0.0) -> Tensor:
    """Cross-entropy of the right label, summed over the texts, in nats.

    model: a weights.models.classifier.Classifier. batch: a weights.data.sentences.LabelledBatch.
    """
    return functional.cross_entropy(model(batch.ids, dropout).float(), batch.labels, reduction="sum")


@_as_it_stands
def cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Sum of -log softmax(hidden · weightᵀ)[target] over the targets (N) that are not -1; hidden N C, weight V C.

    smoothing: this share of the wanted distribution lies evenly on the whole vocabulary (label smoothing, Szegedy
    2015), so that a model is not driven to be certain.

    Never holds more than LOGIT_ROWS x V logits: gradients are computed with the loss, piece by piece, so that the
    backward pass needs no logits at all (as in Hsu 2024, Liger Kernel). Rows without a target, in chat tuning most of
    them, come last; only those that fill up the last piece get logits, which `_piece` leaves out.
    """
    return _PiecewiseCrossEntropy.apply(hidden, weight, targets, smoothing)  # type: ignore[no-any-return, no-untyped-call]


class _PiecewiseCrossEntropy(torch.autograd.Function):
    @staticmethod
    @_as_it_stands
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        device = hidden.device.type
        if torch.is_autocast_enabled(device):
            hidden_, weight_ = (t.to(torch.get_autocast_dtype(device)) for t in (hidden, weight))
        else:
            hidden_, weight_ = hidden, weight
        total = torch.zeros((), device=hidden.device)
        of_hidden = torch.zeros_like(hidden)
        of_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        order = (targets < 0).argsort(stable=True)
        for start in range(0, int((targets >= 0).sum()), LOGIT_ROWS):
            rows = order[start : start + LOGIT_ROWS]
            loss, of_logits = _piece(hidden_[rows] @ weight_.T, targets[rows], smoothing)
            total += loss
            of_hidden[rows] = (of_logits @ weight_).to(hidden.dtype)
            if of_weight is not None:
                of_weight += of_logits.T @ hidden_[rows]
        ctx.save_for_backward(of_hidden, of_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight = ctx.saved_tensors
        return of_hidden * above[0], None if of_weight is None else of_weight * above[0], None, None


def _piece(logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """(summed loss, its gradient by the logits) of some rows: softmax minus one-hot, zero where there is no target.

    Smoothed, the one-hot is (1 - smoothing) · one-hot + smoothing / V.
    """
    counts = (targets >= 0).unsqueeze(1)
    chosen = targets.clamp_min(0).unsqueeze(1)
    scores = logits.float()
    log_sum = scores.logsumexp(-1, keepdim=True)
    wanted = scores.gather(1, chosen)
    hit = (torch.arange(logits.shape[1], device=logits.device) == chosen).float()
    if smoothing:
        wanted = (1 - smoothing) * wanted + smoothing * scores.mean(-1, keepdim=True)
        hit = (1 - smoothing) * hit + smoothing / logits.shape[1]
    loss = ((log_sum - wanted) * counts).sum()
    gradient = ((scores - log_sum).exp() - hit) * counts
    return loss, gradient.to(logits.dtype)


def preference(reference: DecoderLM, beta: float) -> Objective:
    """Direct preference optimisation (Rafailov 2023): raises the chosen answer over the rejected one, near `reference`.

    -log sigmoid(beta · ((log p(chosen) - log p(rejected)) - the same under the reference)), summed over pairs.
    """
    reference.eval().requires_grad_(False)

    def objective(model: DecoderLM, batch: PairBatch, dropout: float) -> Tensor:
        with torch.no_grad():
            expected = _margins(reference, batch, 0.0)
        return -functional.logsigmoid(beta * (_margins(model, batch, dropout) - expected)).sum()

    return objective


@_as_it_stands
def _margins(model: DecoderLM, batch: PairBatch, dropout: float) -> Tensor:
    """log p(chosen) - log p(rejected) of each pair: P."""
    hidden = model.hidden(batch.ids, documents=batch.documents, dropout=dropout)
    rows = zip(hidden, batch.targets, strict=True)
    scores = torch.stack([-cross_entropy(row, model.head_weight, targets) for row, targets in rows])
    return scores[0::2] - scores[1::2]


OBJECTIVES: dict[str, Objective] = {"lm": next_token, "chat": next_token, "mlm": masked_lm, "contrastive": contrastive}

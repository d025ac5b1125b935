"""Objectives: a batch in, the sum of the losses of its targets out.

Sums, so that the loop divides once by the targets of the whole accumulated batch: a mean of means weighs short
rows too much.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from engine.decoder import DecoderLM
from weights.data.mixture import Batch

Objective = Callable[[DecoderLM, Batch], Tensor]


def next_token(model: DecoderLM, batch: Batch) -> Tensor:
    """Cross-entropy of the next token, summed over the targets that are not -1, in nats.

    Language modelling and chat tuning are both this; what they count is decided where rows are packed.
    """
    hidden = model.hidden(batch.ids, documents=batch.documents)
    logits = functional.linear(hidden, model.head_weight).float()
    return functional.cross_entropy(
        logits.view(-1, logits.shape[-1]), batch.targets.view(-1), ignore_index=-1, reduction="sum"
    )


OBJECTIVES: dict[str, Objective] = {"lm": next_token, "chat": next_token}

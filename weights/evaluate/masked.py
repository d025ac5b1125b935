"""How well an encoder tells hidden tokens: while it is trained, and for its card."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from engine.tokenizer import SentencePieceTokenizer
from weights.data.masking import mask_row, ordinary_ids
from weights.models.encoder import Encoder
from weights.models.reading import Reader, bundles

SEED = 7  # of what is hidden
BEST = 5


@dataclass(frozen=True)
class MaskedScores:
    """Of the hidden tokens: the share told at the first guess, and within five; bits needed for one."""

    top1: float
    top5: float
    bits: float
    count: int


@torch.no_grad()
def masked_scores(model: Encoder, tokenizer: SentencePieceTokenizer, texts: Sequence[str]) -> MaskedScores:
    """Hide 15 % of the tokens of each text, all of them behind the mask, and have them told. Long texts are cut."""
    training = model.training
    model.eval()
    reader = Reader(tokenizer, model.config)
    ordinary = ordinary_ids(tokenizer)
    rng = np.random.default_rng(SEED)
    bits, ranks = 0.0, [torch.zeros(0)]
    rows = [reader.cut(text) for text in texts]
    for bundle in bundles(rows):
        table = reader.pad([rows[i] for i in bundle])
        ids, places = table.numpy(), np.zeros(table.shape, bool)
        for row, place in zip(ids, places, strict=True):
            _, chosen = mask_row(row, np.isin(row, ordinary), ordinary, model.config.mask_id, rng)
            place[chosen] = True
        hidden = torch.from_numpy(places)
        if not places.any():
            continue
        states = model.hidden(table.masked_fill(hidden, model.config.mask_id))[hidden]
        scores, right = model.logits(states).float(), table[hidden].unsqueeze(1)
        told = scores.gather(1, right)
        ranks.append((scores > told).sum(1).float())
        bits += float((scores.logsumexp(1, keepdim=True) - told).sum()) / math.log(2)
    model.train(training)
    rank = torch.cat(ranks)
    count = max(1, len(rank))
    top1, top5 = (float((rank < n).sum()) / count for n in (1, BEST))
    return MaskedScores(top1, top5, bits / count, len(rank))

"""Retrieval among held-out pairs: is the second sentence of a pair the nearest of all to the first?"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from engine.tokenizer import SentencePieceTokenizer
from weights.data.pairs import Pair
from weights.models.embed import Embedder
from weights.models.encoder import Encoder


def retrieval(pairs: Sequence[Pair], firsts: Tensor, seconds: Tensor) -> dict[str, float]:
    """Recall at one and mean reciprocal rank of the right sentence among all different second sentences.

    firsts, seconds: a vector of length 1 for each pair, N C. A candidate that is as near as the right one stands
    before it.
    """
    places = {second: index for index, (_, second) in enumerate(pairs)}
    candidates = torch.tensor(sorted(places.values()))
    cosines = firsts @ seconds[candidates].T  # N M
    right = torch.tensor([sorted(places.values()).index(places[second]) for _, second in pairs]).unsqueeze(1)
    ranks = (cosines >= cosines.gather(1, right)).sum(1).double()
    return {"recall@1": float((ranks == 1).double().mean()), "mrr": float((1 / ranks).mean())}


def embedded(model: Encoder, tokenizer: SentencePieceTokenizer, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """The vectors of the first and of the second sentences, each N C."""
    vectors = Embedder(model, tokenizer).vectors([text for pair in pairs for text in pair])
    return vectors[0::2], vectors[1::2]


def tf_idf(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """The baseline without a model: counts of words times log(N / documents with it), as vectors of length 1, N V."""
    bags = [Counter(re.findall(r"\w+", text.casefold())) for pair in pairs for text in pair]
    spread = Counter(word for bag in bags for word in bag)
    columns = {word: i for i, word in enumerate(spread)}
    table = np.zeros((len(bags), len(columns)), np.float32)
    for row, bag in zip(table, bags, strict=True):
        for word, count in bag.items():
            row[columns[word]] = count * np.log(len(bags) / spread[word])
    vectors = torch.nn.functional.normalize(torch.from_numpy(table), dim=1)
    return vectors[0::2], vectors[1::2]

"""Text in, vector out: what a sentence says as a point, near to those of sentences that say the same."""

from collections.abc import Sequence

import torch
from torch import Tensor

from weights.models.encoder import Encoder, direction, pool
from weights.models.hf_tokenizers import TextTokenizer
from weights.models.reading import Reader, bundles


class Embedder:
    """An encoder and its tokenizer. pooling: "mean" over a text's positions, or "cls", its first."""

    def __init__(self, model: Encoder, tokenizer: TextTokenizer, pooling: str = "mean") -> None:
        self.model, self.pooling = model, pooling
        self.reader = Reader(tokenizer, model.config)

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """A vector of length 1 for each text, N C. Raises UsageError for a text beyond the model's positions."""
        return self.vectors_of([self.reader.ids(text) for text in texts])

    @torch.no_grad()
    def vectors_of(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """The same for the ids of texts."""
        found = torch.zeros(len(rows), self.model.config.d_model)
        training = self.model.training
        self.model.eval()
        for chosen in bundles(rows):
            ids = self.reader.pad([rows[i] for i in chosen])
            pooled = pool(self.model.hidden(ids), ids, self.model.config.pad_id, self.pooling)
            found[chosen] = direction(pooled)
        self.model.train(training)
        return found

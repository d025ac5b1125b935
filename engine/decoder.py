"""`DecoderLM`: embedding, blocks, norm, head. The cache is an argument, never a member."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.cache import KVCache
from engine.config import ModelConfig
from engine.layers.attention import Step, causal_mask, document_mask
from engine.layers.block import Block
from engine.layers.linear import Embedding, Linear
from engine.layers.norms import make_norm
from engine.layers.positions import RotaryTable


class DecoderLM(nn.Module):
    """A decoder-only language model of any ModelConfig. Parameters are uninitialised until loaded or `init_weights`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm: nn.Module = make_norm(config) if config.norm_place == "before" else nn.Identity()
        self.head = None if config.tie_embeddings else Linear(config.d_model, config.vocab_size)
        self._rotary = RotaryTable(config)

    @property
    def head_weight(self) -> Tensor:
        """V C: the matrix from hidden states to logits, which is the embedding when they are tied."""
        return self.embedding.weight if self.head is None else self.head.weight

    def forward(self, ids: Tensor, cache: KVCache | None = None, last_only: bool = False) -> Tensor:
        """Logits of the positions of ids (B T) that follow what the cache holds: B T V, or B 1 V if last_only.

        Raises ContextOverflow when the cache may not hold T more positions.
        """
        x = self.hidden(ids, cache)
        return functional.linear(x[:, -1:] if last_only else x, self.head_weight)

    def hidden(
        self, ids: Tensor, cache: KVCache | None = None, documents: Tensor | None = None, dropout: float = 0.0
    ) -> Tensor:
        """Normed hidden states B T C of ids (B T); `documents` (B T) numbers keep packed documents apart.

        dropout, for training: of the embedding, the attention weights and the residual branches (Srivastava 2014).
        """
        count = ids.shape[1]
        start = 0 if cache is None else cache.length
        if cache is not None:
            cache.reserve(count)
        x = self.embedding(ids)
        if dropout:
            x = functional.dropout(x, dropout)
        step = self._step(start, count, x, documents, dropout)
        for index, block in enumerate(self.blocks):
            x = block(x, step, None if cache is None else cache.layer(index))
        if cache is not None:
            cache.commit(count)  # last, so that an interrupted pass changes nothing
        return self.norm(x)  # type: ignore[no-any-return]

    def _step(self, start: int, count: int, x: Tensor, documents: Tensor | None, dropout: float) -> Step:
        """Angles and mask, once for all layers. One new position sees everything and needs no mask."""
        cos, sin = self._rotary.angles(start, count, x)
        if documents is not None:
            return Step(cos, sin, document_mask(documents), is_causal=False, dropout=dropout)
        if start == 0:
            return Step(cos, sin, None, is_causal=count > 1, dropout=dropout)
        return Step(cos, sin, causal_mask(start, count, x.device) if count > 1 else None, is_causal=False)

    def warm(self, length: int) -> None:
        """Compute the angles of `length` positions now, so that a compiler meets a table that does not grow."""
        self._rotary.angles(0, length, self.embedding.weight)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Fill every parameter.

        matrices and embedding   normal, 0.02 (GPT-2)
        attention.out, mlp.down  normal, 0.02 / √(2 n_layers): the residual stream keeps its size with depth
        norms                    1;  biases 0
        """
        residual = 0.02 / (2 * self.config.n_layers) ** 0.5
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.dim() == 1:
                parameter.fill_(1.0)
            else:
                std = residual if name.endswith(("out.weight", "down.weight")) else 0.02
                parameter.normal_(0.0, std, generator=generator)

"""`DecoderLM`: embedding, blocks, norm, head. The cache is an argument, never a member."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.cache import KVCache
from engine.config import ModelConfig
from engine.errors import ContextOverflow
from engine.layers.absolute import Sinusoids
from engine.layers.attention import Step, causal_mask, document_mask
from engine.layers.block import Block
from engine.layers.linear import Embedding, Linear
from engine.layers.norms import make_norm
from engine.layers.positions import RotaryTable
from engine.layers.relative import Alibi
from engine.layers.scores import LearnedScore


class DecoderLM(nn.Module):
    """A decoder-only language model of any ModelConfig. Parameters are uninitialised until loaded or `init_weights`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config.layer(i)) for i in range(config.n_layers))
        self.norm: nn.Module = make_norm(config) if config.norm_place == "before" else nn.Identity()
        self.head = None if config.tie_embeddings else Linear(config.d_model, config.vocab_size)
        self.learned = Embedding(config.max_positions, config.d_model) if config.positions == "learned" else None
        self._rotary = RotaryTable(config) if config.positions == "rope" else None
        self._sinusoids = Sinusoids(config.d_model) if config.positions == "sinusoidal" else None
        self._alibi = Alibi(config.n_heads) if config.positions == "alibi" else None

    @property
    def head_weight(self) -> Tensor:
        """V C: the matrix from hidden states to logits, which is the embedding when they are tied."""
        return self.embedding.weight if self.head is None else self.head.weight

    def forward(self, ids: Tensor, cache: KVCache | None = None, last_only: bool = False) -> Tensor:
        """Logits of the positions of ids (B T) that follow what the cache holds: B T V, or B 1 V if last_only.

        Raises ContextOverflow when the cache may not hold T more positions, or learned positions end before.
        """
        x = self.hidden(ids, cache)
        return functional.linear(x[:, -1:] if last_only else x, self.head_weight)

    def hidden(
        self, ids: Tensor, cache: KVCache | None = None, documents: Tensor | None = None, dropout: float = 0.0,
        router_losses: list[Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """Normed hidden states B T C of ids (B T); `documents` (B T) numbers keep packed documents apart.

        dropout, for training: of the embedding, the attention weights and the residual branches (Srivastava 2014).
        router_losses, for training: layers of experts append theirs, weighted; documents below 0 are padding.
        """
        count = ids.shape[1]
        start = 0 if cache is None else cache.length
        if self.learned is not None and start + count > len(self.learned.weight):
            raise ContextOverflow(
                f"{start + count} positions are more than the {len(self.learned.weight)} that this model has learned."
            )
        if cache is not None:
            cache.reserve(count)
        x = self._embed(ids, start)
        if dropout:
            x = functional.dropout(x, dropout)
        step = self._step(start, count, x, documents, dropout)
        if router_losses is not None:
            step = replace(step, router_losses=router_losses, real=None if documents is None else documents >= 0)
        for index, block in enumerate(self.blocks):
            x = block(x, step, None if cache is None else cache.layer(index))
        if cache is not None:
            cache.commit(count)  # last, so that an interrupted pass changes nothing
        return self.norm(x)  # type: ignore[no-any-return]

    def _embed(self, ids: Tensor, start: int) -> Tensor:
        """Rows of the embedding for new positions from `start` on, with what positions add to them: B T C.

        Those that meet sinusoids are scaled by √C, so that both have one size (Vaswani 2017, section 3.4).
        """
        x: Tensor = self.embedding(ids)
        if self.learned is not None:
            x = x + self.learned.weight[start : start + ids.shape[1]]
        if self._sinusoids is not None:
            x = x * self.config.d_model**0.5 + self._sinusoids.rows(start, ids.shape[1], x)
        return x

    def _step(self, start: int, count: int, x: Tensor, documents: Tensor | None, dropout: float) -> Step:
        """Angles and mask, once for all layers. One new position sees everything and needs no mask."""
        cos, sin = self._rotary.angles(start, count, x) if self._rotary is not None else (None, None)
        if self._alibi is not None:
            bias = self._alibi.bias(start, count, x)
            if documents is not None:
                bias = bias.masked_fill(~document_mask(documents), -torch.inf)
            elif count > 1:
                bias = bias.masked_fill(~causal_mask(start, count, x.device), -torch.inf)
            return Step(cos, sin, bias, is_causal=False, dropout=dropout)
        if documents is not None:
            return Step(cos, sin, document_mask(documents), is_causal=False, dropout=dropout)
        if start == 0:
            return Step(cos, sin, None, is_causal=count > 1, dropout=dropout)
        return Step(cos, sin, causal_mask(start, count, x.device) if count > 1 else None, is_causal=False)

    def warm(self, length: int) -> None:
        """Compute the tables of `length` positions now, so that a compiler meets tables that do not grow."""
        like = self.embedding.weight
        self._step(0, length, like, None, 0.0)
        if self._sinusoids is not None:
            self._sinusoids.rows(0, length, like)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Fill every parameter.

        matrices and embedding   normal, 0.02 (GPT-2)
        attention.out, mlp.down  normal, 0.02 / √(2 n_layers): the residual stream keeps its size with depth
        norms                    1;  biases 0
        embedding of sinusoids   normal, 1 / √C: of their size once it is scaled by √C
        score functions          see layers/scores.py
        """
        residual = 0.02 / (2 * self.config.n_layers) ** 0.5
        for name, parameter in self.named_parameters():
            if ".score." in name:
                continue
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.dim() == 1:
                parameter.fill_(1.0)
            else:
                std = residual if name.endswith(("out.weight", "down.weight")) else 0.02
                if name == "embedding.weight" and self._sinusoids is not None:
                    std = self.config.d_model**-0.5
                parameter.normal_(0.0, std, generator=generator)
        for module in self.modules():
            if isinstance(module, LearnedScore):
                module.init_weights(generator)

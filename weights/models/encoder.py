"""`Encoder`: the encoder-only transformer (BERT, Devlin 2019), of the engine's own layers.

Every position sees every other of its text: no order of reading, so no cache. A head on top says which token stood
where a mask stands.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.layers.attention import Step, padding_mask
from engine.layers.block import Block
from engine.layers.feedforward import ACTIVATIONS
from engine.layers.linear import Embedding, Linear
from engine.layers.norms import make_norm
from engine.layers.positions import RotaryTable
from weights.models.config import EncoderConfig


def same_document_mask(documents: Tensor) -> Tensor:
    """B T document numbers -> B 1 T T: both ways, and only within one document (packed training rows)."""
    return (documents.unsqueeze(1) == documents.unsqueeze(2)).unsqueeze(1)


class Transform(nn.Module):
    """norm(activation(x · weightᵀ)): what BERT has between the blocks and the vocabulary. Shape is kept."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS["gelu" if config.activation == "swiglu" else config.activation]
        self.dense = Linear(config.d_model, config.d_model, bias=config.head_bias)
        self.norm = make_norm(config.layers())

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(x)))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """An encoder of any EncoderConfig. Parameters are uninitialised until loaded or `init_weights`."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        layers = config.layers()
        self.embedding = Embedding(config.vocab_size, config.d_model)
        self.types = Embedding(config.n_types, config.d_model) if config.n_types else None
        self.learned = Embedding(config.max_positions, config.d_model) if config.positions == "learned" else None
        self.embedding_norm: nn.Module = make_norm(layers) if config.embedding_norm else nn.Identity()
        self.blocks = nn.ModuleList(Block(layers.layer(i)) for i in range(config.n_layers))
        self.norm: nn.Module = make_norm(layers) if config.norm_place == "before" else nn.Identity()
        self.transform: nn.Module = Transform(config) if config.head_transform else nn.Identity()
        self.head = None if config.tie_embeddings else Linear(config.d_model, config.vocab_size)
        self.head_bias = nn.Parameter(torch.empty(config.vocab_size)) if config.head_bias else None
        self._rotary = RotaryTable(layers) if config.positions == "rope" else None

    @property
    def head_weight(self) -> Tensor:
        """V C: the matrix from transformed states to logits, which is the embedding when they are tied."""
        return self.embedding.weight if self.head is None else self.head.weight

    def forward(self, ids: Tensor, types: Tensor | None = None) -> Tensor:
        """Logits B T V of what stands at each position of ids (B T)."""
        return self.logits(self.hidden(ids, types=types))

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits ... V of hidden states ... C: those of some positions cost less than those of all."""
        return functional.linear(self.transform(hidden), self.head_weight, self.head_bias)

    def hidden(
        self, ids: Tensor, documents: Tensor | None = None, types: Tensor | None = None, dropout: float = 0.0,
        router_losses: list[Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """Hidden states B T C of ids (B T): of one padded text a row, or of packed `documents` (B T numbers).

        types: the token type of each position (B T); type 0 where a model has types and none are given. dropout, for
        training: of the embedding, the attention weights and the residual branches. router_losses, for training:
        layers of experts append theirs, weighted.
        """
        x = self.embedding(ids)
        if self.types is not None:
            x = x + self.types(torch.zeros_like(ids) if types is None else types)
        if self.learned is not None:
            x = x + self.learned.weight[: ids.shape[1]]
        x = self.embedding_norm(x)
        if dropout:
            x = functional.dropout(x, dropout)
        mask = padding_mask(ids, self.config.pad_id) if documents is None else same_document_mask(documents)
        cos, sin = self._rotary.angles(0, ids.shape[1], x) if self._rotary is not None else (None, None)
        real = ids != self.config.pad_id if router_losses is not None else None
        step = Step(cos, sin, mask, is_causal=False, dropout=dropout, router_losses=router_losses, real=real)
        for block in self.blocks:
            x = block(x, step)
        return self.norm(x)  # type: ignore[no-any-return]

    def warm(self, length: int) -> None:
        """Compute the angles of `length` positions now, so that a compiler meets a table that does not grow."""
        if self._rotary is not None:
            self._rotary.angles(0, length, self.embedding.weight)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Fill every parameter.

        matrices, embeddings     normal, 0.02 (BERT)
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


def pool(hidden: Tensor, ids: Tensor, pad_id: int, how: str = "mean") -> Tensor:
    """One vector for each row, B C: the mean over what is no padding, or the first position's ("cls")."""
    real = (ids != pad_id).unsqueeze(-1)
    return hidden[:, 0] if how == "cls" else (hidden * real).sum(1) / real.sum(1)


def direction(vectors: Tensor) -> Tensor:
    """Vectors of length 1, in float32: their products are cosines."""
    return functional.normalize(vectors.float(), dim=-1)

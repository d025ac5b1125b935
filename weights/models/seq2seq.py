"""`Seq2Seq`: the encoder-decoder transformer (Vaswani 2017), of the engine's own layers.

The encoder reads the whole source at once. The decoder reads what is written of the target so far, and looks at the
encoded source in every block. Padding stands on the right; nothing real ever sees it.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.cache import KVCache
from engine.layers.absolute import sinusoids
from engine.layers.attention import Memory, Step, causal_mask, padding_mask
from engine.layers.block import Block, CrossBlock
from engine.layers.linear import Embedding, Linear
from engine.layers.norms import make_norm
from engine.layers.positions import RotaryTable
from engine.layers.relative import RelativeBias
from weights.models.config import Seq2SeqConfig


class Stack(nn.Module):
    """The blocks of one side, with its positions and its last norm.

    With norms after, the last block ends with one, so there is no other.
    """

    def __init__(self, config: Seq2SeqConfig, n_layers: int, *, is_decoder: bool) -> None:
        super().__init__()
        layers = config.layers(n_layers)
        self.is_decoder = is_decoder
        self.blocks = nn.ModuleList((CrossBlock if is_decoder else Block)(layers.layer(i)) for i in range(n_layers))
        self.norm: nn.Module = make_norm(layers) if config.norm_place == "before" else nn.Identity()
        self.learned = Embedding(config.max_positions, config.d_model) if config.positions == "learned" else None
        self.relative = (
            RelativeBias(config.n_heads, config.n_buckets, config.max_distance, both_ways=not is_decoder)
            if config.positions == "relative" else None
        )  # fmt: skip
        self._rotary = RotaryTable(layers) if config.positions == "rope" else None
        halves = config.positions == "sinusoidal_halves"
        self._sinusoids = (
            sinusoids(config.max_positions, config.d_model, halves=halves)
            if config.positions.startswith("sinusoidal") else None
        )  # fmt: skip
        self.embedding_norm: nn.Module = make_norm(layers) if config.embedding_norm else nn.Identity()
        self._scale = 1.0 if config.embedding_scale == "none" else config.d_model**0.5
        self._scales_positions = config.embedding_scale == "all"

    def embed(self, tokens: Tensor, start: int) -> Tensor:
        """Rows of the embedding for new positions start .. start + T - 1, with what positions add to them: B T C.

        They are scaled by √C, so that they have the size of the sinusoids (Vaswani 2017, section 3.4), unless the
        config says otherwise.
        """
        end = start + tokens.shape[1]
        if self.learned is not None and self._scales_positions:
            tokens = tokens + self.learned.weight[start:end]
        tokens = tokens * self._scale
        if self.learned is not None and not self._scales_positions:
            tokens = tokens + self.learned.weight[start:end]
        if self._sinusoids is not None:
            tokens = tokens + self._sinusoids[start:end].to(tokens)
        return self.embedding_norm(tokens)  # type: ignore[no-any-return]

    def step(
        self, x: Tensor, start: int, padding: Tensor | None, dropout: float,
        router_losses: list[Tensor] | None = None, real: Tensor | None = None,
    ) -> Step:  # fmt: skip
        """Angles and masks, once for all blocks. padding: B 1 1 S of the source, for the encoder its own mask.

        router_losses, real: see Step; real is told beside padding, since a decoder's padding is that of its target.
        """
        count = x.shape[1]
        cos, sin = self._rotary.angles(start, count, x) if self._rotary is not None else (None, None)
        mask = None if self.is_decoder else padding
        is_causal = self.is_decoder and start == 0 and count > 1
        if self.is_decoder and count > 1 and (start or self.relative is not None):
            mask = causal_mask(start, count, x.device)
        if self.relative is not None:
            bias = self.relative(start, count)
            mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
        memory = padding if self.is_decoder else None
        return Step(cos, sin, mask, is_causal and mask is None, dropout, memory, router_losses, real)

    def warm(self, length: int, like: Tensor) -> None:
        """Compute the angles of `length` positions now."""
        if self._rotary is not None:
            self._rotary.angles(0, length, like)


class Seq2SeqState:
    """What decoding needs of a batch: the memory of each block, computed once, and the cache of the target so far.

    owners: which source each row belongs to; beams of one source share its memory.
    """

    def __init__(self, memories: list[Memory], mask: Tensor, cache: KVCache) -> None:
        self.memories, self.mask, self.cache = memories, mask, cache
        self._owners = torch.arange(len(mask), device=mask.device)

    def select(self, rows: Tensor) -> None:
        """Row b becomes what row rows[b] was."""
        self.cache.select(rows)
        owners = self._owners[rows]
        if torch.equal(owners, self._owners):
            return  # beams only changed places with beams of the same source
        self._owners = owners
        self.mask = self.mask[rows]
        self.memories = [(k[rows], v[rows]) for k, v in self.memories]


class Seq2Seq(nn.Module):
    """An encoder-decoder of any Seq2SeqConfig. Parameters are uninitialised until loaded or `init_weights`."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.d_model)
        self.encoder = Stack(config, config.n_encoder_layers, is_decoder=False)
        self.decoder = Stack(config, config.n_decoder_layers, is_decoder=True)
        self.head = None if config.tie_embeddings else Linear(config.d_model, config.vocab_size)
        self.head_bias = nn.Parameter(torch.empty(1, config.vocab_size)) if config.head_bias else None

    @property
    def head_weight(self) -> Tensor:
        """V C: the matrix from hidden states to logits, which is the embedding when they are tied."""
        return self.embedding.weight if self.head is None else self.head.weight

    @property
    def blocks(self) -> list[nn.Module]:
        """The blocks of both sides: what the trainer may recompute and shard."""
        return [*self.encoder.blocks, *self.decoder.blocks]

    def forward(self, source: Tensor, inputs: Tensor) -> Tensor:
        """Logits B T V of each target position, after the target ids `inputs` (B T) and the source ids (B S)."""
        return self._logits(self.hidden(source, inputs))

    def hidden(
        self, source: Tensor, inputs: Tensor, dropout: float = 0.0, router_losses: list[Tensor] | None = None
    ) -> Tensor:
        """Normed hidden states B T C of the target ids (B T), with the source ids (B S) encoded.

        dropout, for training. router_losses, for training: layers of experts append theirs, weighted.
        """
        padding = padding_mask(source, self.config.pad_id)
        encoded = self._encode(source, padding, dropout, router_losses)
        x = self._embed(self.decoder, inputs, 0, dropout)
        real = inputs != self.config.pad_id if router_losses is not None else None
        step = self.decoder.step(x, 0, padding, dropout, router_losses, real)
        for block in self.decoder.blocks:
            x = block(x, step, cast(CrossBlock, block).cross.memory(encoded))
        return self._finished(x)

    def _finished(self, x: Tensor) -> Tensor:
        """What the head is multiplied with."""
        x = self.decoder.norm(x)
        return x * self.config.d_model**-0.5 if self.config.head_scale else x

    def _logits(self, hidden: Tensor) -> Tensor:
        logits = functional.linear(hidden, self.head_weight)
        return logits if self.head_bias is None else logits + self.head_bias

    def _encode(
        self, source: Tensor, padding: Tensor, dropout: float = 0.0, router_losses: list[Tensor] | None = None
    ) -> Tensor:
        x = self._embed(self.encoder, source, 0, dropout)
        step = self.encoder.step(x, 0, padding, dropout, router_losses, padding[:, 0, 0])
        for block in self.encoder.blocks:
            x = block(x, step)
        return self.encoder.norm(x)  # type: ignore[no-any-return]

    def _embed(self, side: Stack, ids: Tensor, start: int, dropout: float) -> Tensor:
        x = side.embed(self.embedding(ids), start)
        return functional.dropout(x, dropout) if dropout else x

    def start(self, source: Tensor, limit: int) -> Seq2SeqState:
        """The state that decoding begins with: source ids (B S) encoded, room for `limit` target positions."""
        padding = padding_mask(source, self.config.pad_id)
        encoded = self._encode(source, padding)
        memories = [cast(CrossBlock, block).cross.memory(encoded) for block in self.decoder.blocks]
        cache = KVCache(
            self.config.layers(self.config.n_decoder_layers), limit=min(limit, self.config.max_positions),
            batch=len(source), dtype=encoded.dtype, device=encoded.device,
        )  # fmt: skip
        return Seq2SeqState(memories, padding, cache)

    def step(self, ids: Tensor, state: Seq2SeqState) -> Tensor:
        """Logits B V after one more target id in each row (B). Raises ContextOverflow beyond the limit."""
        cache = state.cache
        cache.reserve(1)
        x = self._embed(self.decoder, ids.unsqueeze(1), cache.length, 0.0)
        step = self.decoder.step(x, cache.length, state.mask, 0.0)
        for index, (block, memory) in enumerate(zip(self.decoder.blocks, state.memories, strict=True)):
            x = block(x, step, memory, cache.layer(index))
        cache.commit(1)
        return self._logits(self._finished(x)[:, -1])

    def warm(self, length: int) -> None:
        """Compute the angles of `length` positions now, so that a compiler meets a table that does not grow."""
        for side in (self.encoder, self.decoder):
            side.warm(min(length, self.config.max_positions), self.embedding.weight)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Fill every parameter.

        embedding, positions  normal, 1 / √C: logits of size 1 when they are tied
        matrices              normal, 1 / √d_in; those that end a residual branch by 1 / √(2 n_layers) less
        norms                 1;  relative and biases 0
        """
        n_layers = max(self.config.n_encoder_layers, self.config.n_decoder_layers)
        for name, parameter in self.named_parameters():
            if "relative" in name or name == "head_bias":
                parameter.zero_()
            elif parameter.dim() == 1:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                std = parameter.shape[-1] ** -0.5
                if name.endswith(("out.weight", "down.weight")):
                    std *= (2 * n_layers) ** -0.5
                parameter.normal_(0.0, std, generator=generator)

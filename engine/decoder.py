"""`DecoderLM`: embedding, blocks, norm, head. The cache is an argument, never a member."""

from dataclasses import dataclass, replace

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
from engine.layers.scores import LearnedScore, capped


@dataclass(frozen=True)
class Sight:
    """What the layers of one kind have in common: how they rotate (None: not at all) and how far they see."""

    rotary: RotaryTable | None
    window: int | None


class DecoderLM(nn.Module):
    """A decoder-only language model of any ModelConfig. Parameters are uninitialised until loaded or `init_weights`.

    architecture: what the checkpoint that it was loaded from calls itself, which is how it is written again.
    """

    architecture: str | None = None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        layers = [config.layer(i) for i in range(config.n_layers)]
        self.embedding = Embedding(config.vocab_size, config.d_model)
        self.embedding_norm = make_norm(config) if config.embedding_norm else None
        self.blocks = nn.ModuleList(map(Block, layers))
        self.norm: nn.Module = nn.Identity() if config.norm_place == "after" else make_norm(config)
        self.head = None if config.tie_embeddings else Linear(config.d_model, config.vocab_size)
        self.learned = Embedding(config.max_positions, config.d_model) if config.positions == "learned" else None
        kinds = [(c.positions, c.rope_theta, c.window) for c in layers]  # all that layers differ in
        first = [kinds.index(kind) for kind in dict.fromkeys(kinds)]
        self._sights = [
            Sight(RotaryTable(c) if c.positions == "rope" else None, c.window) for c in map(layers.__getitem__, first)
        ]
        self._sight_of = [first.index(kinds.index(kind)) for kind in kinds]
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
        head = self.embedding.logits if self.head is None else self.head
        logits = head(x[:, -1:] if last_only else x)
        return capped(logits, self.config.logit_cap)

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
        reach = 0 if cache is None else cache.reach
        x = self._embed(ids, start)
        if dropout:
            x = functional.dropout(x, dropout)
        steps = [self._step(start, count, x, documents, dropout, sight, reach) for sight in self._sights]
        if router_losses is not None:
            real = None if documents is None else documents >= 0
            steps = [replace(step, router_losses=router_losses, real=real) for step in steps]
        for index, block in enumerate(self.blocks):
            x = block(x, steps[self._sight_of[index]], None if cache is None else cache.layer(index))
        if cache is not None:
            cache.commit(count)  # last, so that an interrupted pass changes nothing
        return self.norm(x)  # type: ignore[no-any-return]

    def _embed(self, ids: Tensor, start: int) -> Tensor:
        """Rows of the embedding for new positions from `start` on, with what positions add to them: B T C.

        Those that meet sinusoids are scaled by √C, so that both have one size (Vaswani 2017, section 3.4).
        """
        x: Tensor = self.embedding(ids)
        if self.config.scale_embedding:
            x = x * x.new_tensor(self.config.d_model**0.5)  # in bf16 a rounded number: such models were trained so
        if self.learned is not None:
            x = x + self.learned.weight[start : start + ids.shape[1]]
        if self._sinusoids is not None:
            x = x * self.config.d_model**0.5 + self._sinusoids.rows(start, ids.shape[1], x)
        return x if self.embedding_norm is None else self.embedding_norm(x)

    def _step(
        self, start: int, count: int, x: Tensor, documents: Tensor | None, dropout: float, sight: Sight | None = None,
        reach: int = 0,
    ) -> Step:  # fmt: skip
        """Angles and mask, once for all layers of one kind. One new position sees all that it is shown: no mask.

        reach: positions that the text is known to have in the end.
        """
        sight = sight or self._sights[0]
        cos, sin = sight.rotary.angles(start, count, x, reach) if sight.rotary is not None else (None, None)
        window = sight.window if sight.window is not None and start + count > sight.window else None
        last = window + count - 1 if window is not None and start >= window else None
        mask = None
        if documents is not None:
            mask = document_mask(documents, window)
        elif count > 1 and (start > 0 or window is not None or self._alibi is not None):
            mask = causal_mask(start, count, x.device, window)
        if self._alibi is not None:
            bias = self._alibi.bias(start, count, x)
            mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
        if last is not None and mask is not None:
            mask = mask[..., -last:]
        is_causal = count > 1 and (mask is None or documents is not None)
        return Step(cos, sin, mask, is_causal, dropout, last=last)

    def warm(self, length: int) -> None:
        """Compute the tables of `length` positions now, so that a compiler meets tables that do not grow."""
        like = self.embedding.weight
        for sight in self._sights:
            self._step(0, length, like, None, 0.0, sight)
        if self._sinusoids is not None:
            self._sinusoids.rows(0, length, like)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Fill every parameter.

        matrices and embedding   normal, 0.02 (GPT-2)
        attention.out, mlp.down  normal, 0.02 / √(2 n_layers): the residual stream keeps its size with depth
        norms                    1, or 0 where weights are stored less 1;  biases 0
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
                parameter.fill_(0.0 if self.config.norm == "rms_plus_one" else 1.0)
            else:
                std = residual if name.endswith(("out.weight", "down.weight")) else 0.02
                if name == "embedding.weight" and self._sinusoids is not None:
                    std = self.config.d_model**-0.5
                parameter.normal_(0.0, std, generator=generator)
        for module in self.modules():
            if isinstance(module, LearnedScore):
                module.init_weights(generator)

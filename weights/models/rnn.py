"""`LSTMSeq2Seq`: an encoder-decoder of LSTMs, without attention and with two kinds of it. The baseline.

Without attention the decoder knows of the source only the state that the encoder ends in (Sutskever 2014). With it,
each state of the decoder also gets a mean of the encoder's states, weighed by a score: additive (Bahdanau 2014) or
dot (Luong 2015). Both stand where Luong puts them, after the LSTM, so that only the LSTM itself is sequential.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from engine.layers.linear import Embedding, Linear
from weights.models.config import AttentionKind, LSTMConfig

Hidden = tuple[Tensor, Tensor]  # h and c of an LSTM, each 1 B C


class SourceAttention(nn.Module):
    """tanh(mix([context; h])), where context is the mean of the encoded source, weighed by a score. B T C -> B T C.

    dot: score(h, s) = h · s.  additive: v · tanh(Q h + K s).
    """

    def __init__(self, d_model: int, kind: AttentionKind) -> None:
        super().__init__()
        self.is_additive = kind == "additive"
        if self.is_additive:
            self.query, self.key = Linear(d_model, d_model), Linear(d_model, d_model)
            self.score = nn.Parameter(torch.empty(d_model))
        self.mix = Linear(2 * d_model, d_model)

    def weights(self, h: Tensor, encoded: Tensor, mask: Tensor) -> Tensor:
        """How much each state of the decoder (B T C) looks at each of the source (B S C): B T S. mask: B 1 S."""
        if self.is_additive:
            scores = (self.query(h).unsqueeze(2) + self.key(encoded).unsqueeze(1)).tanh() @ self.score
        else:
            scores = h @ encoded.transpose(1, 2)
        return scores.masked_fill(~mask, -torch.inf).softmax(-1)  # type: ignore[no-any-return]

    def forward(self, h: Tensor, encoded: Tensor, mask: Tensor) -> Tensor:
        context = self.weights(h, encoded, mask).to(encoded.dtype) @ encoded
        return self.mix(torch.cat([context, h], -1)).tanh()  # type: ignore[no-any-return]


class LSTMState:
    """What decoding needs of a batch: the encoded source (B S C), its mask (B 1 S), h and c of each layer."""

    def __init__(self, encoded: Tensor, mask: Tensor, layers: list[Hidden]) -> None:
        self.encoded, self.mask, self.layers = encoded, mask, layers
        self._owners = torch.arange(len(mask), device=mask.device)

    def select(self, rows: Tensor) -> None:
        """Row b becomes what row rows[b] was."""
        self.layers = [(h[:, rows], c[:, rows]) for h, c in self.layers]
        owners = self._owners[rows]
        if not torch.equal(owners, self._owners):  # else beams only changed places with beams of the same source
            self._owners, self.encoded, self.mask = owners, self.encoded[rows], self.mask[rows]


class LSTMSeq2Seq(nn.Module):
    """The baseline of any LSTMConfig: an encoder that reads both ways, a decoder that begins with its last state."""

    blocks: tuple[nn.Module, ...] = ()  # nothing here is worth recomputing or sharding

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        self.config = config
        width = config.d_model
        self.embedding = Embedding(config.vocab_size, width)
        self.encoder = nn.ModuleList(
            nn.LSTM(width, width // 2, batch_first=True, bidirectional=True) for _ in range(config.n_layers)
        )
        self.decoder = nn.ModuleList(nn.LSTM(width, width, batch_first=True) for _ in range(config.n_layers))
        self.attention = None if config.attention == "none" else SourceAttention(width, config.attention)
        self.head = None if config.tie_embeddings else Linear(width, config.vocab_size)

    @property
    def head_weight(self) -> Tensor:
        """V C: the matrix from hidden states to logits, which is the embedding when they are tied."""
        return self.embedding.weight if self.head is None else self.head.weight

    def forward(self, source: Tensor, inputs: Tensor) -> Tensor:
        """Logits B T V of each target position, after the target ids `inputs` (B T) and the source ids (B S)."""
        return functional.linear(self.hidden(source, inputs), self.head_weight)

    def hidden(self, source: Tensor, inputs: Tensor, dropout: float = 0.0) -> Tensor:
        """Hidden states B T C of the target ids (B T), with the source ids (B S) encoded."""
        return self._advance(inputs, self._encode(source, dropout), dropout)

    def start(self, source: Tensor, limit: int) -> LSTMState:
        """The state that decoding begins with: source ids (B S) encoded. limit is for models that keep positions."""
        del limit
        return self._encode(source, 0.0)

    def step(self, ids: Tensor, state: LSTMState) -> Tensor:
        """Logits B V after one more target id in each row (B)."""
        return functional.linear(self._advance(ids.unsqueeze(1), state, 0.0)[:, -1], self.head_weight)

    def _encode(self, source: Tensor, dropout: float) -> LSTMState:
        mask = source != self.config.pad_id
        lengths = mask.sum(1).cpu()
        x = _dropped(self.embedding(source), dropout)
        ends: list[Hidden] = []
        for lstm in self.encoder:
            # Packed, so that both directions begin and end at real tokens.
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            packed, (h, c) = lstm(packed)
            x, _ = pad_packed_sequence(packed, batch_first=True, total_length=source.shape[1])
            x = _dropped(x, dropout)
            # 2 B C/2 -> 1 B C: the states in which the two directions end, side by side.
            ends.append((torch.cat([*h], -1).unsqueeze(0), torch.cat([*c], -1).unsqueeze(0)))
        return LSTMState(x, mask.unsqueeze(1), ends)

    def _advance(self, ids: Tensor, state: LSTMState, dropout: float) -> Tensor:
        """Hidden states B T C of T more target ids; the state moves on."""
        x = _dropped(self.embedding(ids), dropout)
        after: list[Hidden] = []
        for lstm, hidden in zip(self.decoder, state.layers, strict=True):
            x, hidden = lstm(x, (hidden[0].to(x.dtype).contiguous(), hidden[1].to(x.dtype).contiguous()))
            x = _dropped(x, dropout)
            after.append(hidden)
        state.layers = after
        return x if self.attention is None else _dropped(self.attention(x, state.encoded, state.mask), dropout)

    def warm(self, length: int) -> None:
        """Nothing to make: an LSTM has no tables."""

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Fill every parameter: matrices normal with 1 / √d_in, biases 0 and 1 for the gate that keeps (Gers 1999)."""
        for name, parameter in self.named_parameters():
            if name == "attention.score":
                parameter.normal_(0.0, len(parameter) ** -0.5, generator=generator)
            elif parameter.dim() == 2:
                parameter.normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)
            else:
                parameter.zero_()
                if "bias_ih" in name:
                    parameter[len(parameter) // 4 : len(parameter) // 2] = 1.0


def _dropped(x: Tensor, share: float) -> Tensor:
    return functional.dropout(x, share) if share else x

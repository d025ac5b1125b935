"""A feed-forward part of several experts, of which each token takes a few (Shazeer 2017; Fedus 2021, Switch).

The router is one matrix. A token's experts are those with the k highest probabilities; their outputs are summed,
weighted by these. What all tokens share may stand beside them (DeepSeekMoE, Dai 2024).
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from engine.config import GATED, ExpertsConfig, ModelConfig
from engine.layers.feedforward import ACTIVATIONS, feed_forward
from engine.layers.grouped import grouped_linear
from engine.layers.linear import Linear


class Matrices(nn.Module):
    """E matrices of one shape in one tensor, without initial values: they are loaded, or filled by `init_weights`.

    weight: (E, d_out, d_in).
    """

    def __init__(self, n_experts: int, d_in: int, d_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_experts, d_out, d_in))

    def forward(self, x: Tensor, ends: Tensor) -> Tensor:
        """Rows x (N d_in), sorted by expert, those of expert e before ends[e]: N d_out. Reads no other expert."""
        return grouped_linear(x, self.weight, ends)


class Experts(nn.Module):
    """The experts of one block. B T C -> B T C.

    In training, which is where losses are collected, an expert takes at most capacity · k · tokens / E tokens of a
    pass; first choices go before second ones, then in the order of the text. What is over goes on by the residual path
    alone. Nothing is dropped elsewhere: what a token becomes must not depend on its neighbours in a batch, nor differ
    between prefill and decode.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.experts is not None
        self.experts: ExpertsConfig = config.experts
        n, d = self.experts.n_experts, self.experts.d_expert
        self.is_gated = config.activation in GATED
        self.activation = ACTIVATIONS[config.activation]
        self.router = Linear(config.d_model, n)
        self.up = Matrices(n, config.d_model, 2 * d if self.is_gated else d)  # gated: the gate's rows first
        self.down = Matrices(n, d, config.d_model)
        shared = replace(config, d_ff=self.experts.d_shared, experts=None) if self.experts.d_shared else None
        self.shared = feed_forward(shared) if shared is not None else None
        self.shared_gate = Linear(config.d_model, 1) if self.experts.shared_gate else None

    def forward(self, x: Tensor, losses: list[Tensor] | None = None, real: Tensor | None = None) -> Tensor:
        """losses: given in training; the layer's weighted router loss is appended. real: B T, False at padding."""
        tokens = x.flatten(0, -2)  # N C
        logits, weights, chosen = self.route(tokens)
        if losses is not None:
            real = None if real is None else real.flatten()
            losses.append(self._loss(logits, chosen, real))
            chosen = self._within_capacity(chosen, real)
        is_decoding = len(tokens) == 1 and losses is None
        y = (self._mixed_of_one if is_decoding else self._mixed)(tokens, weights, chosen)
        if self.shared is not None:
            shared = self.shared(tokens)
            y = y + (shared if self.shared_gate is None else self.shared_gate(tokens).sigmoid() * shared)
        return y.view_as(x)

    def route(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(logits N E, weights N k, chosen experts N k, the most probable first) of tokens N C; softmax in float32."""
        logits = self.router(tokens).float()
        weights, chosen = logits.softmax(-1).topk(self.experts.n_chosen, dim=-1)
        if self.experts.renormalise:
            weights = weights / weights.sum(-1, keepdim=True)
        return logits, weights, chosen

    def _mixed(self, tokens: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """The weighted sum of what a token's experts make of it: N C. chosen: N k, E for none."""
        owners, order = chosen.flatten().sort(stable=True)
        ends = torch.searchsorted(owners, torch.arange(self.experts.n_experts, device=owners.device), right=True)
        rows = order // self.experts.n_chosen  # the token of each
        h = self._activated(self.up(tokens[rows], ends))
        y = self.down(h, ends) * weights.flatten()[order].unsqueeze(1)
        return torch.zeros_like(tokens).index_add(0, rows, y.to(tokens.dtype))

    def _mixed_of_one(self, token: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """`_mixed` of a single token, 1 C: nothing is sorted, and the matrices of its experts alone are read."""
        up, down = self.up.weight, self.down.weight
        outs = [linear(self._activated(linear(token, up[e])), down[e]) for e in chosen[0].tolist()]
        return weights.to(token.dtype) @ torch.cat(outs)

    def _activated(self, h: Tensor) -> Tensor:
        if not self.is_gated:
            return self.activation(h)
        gate, up = h.chunk(2, dim=-1)
        return self.activation(gate) * up

    def _within_capacity(self, chosen: Tensor, real: Tensor | None) -> Tensor:
        """chosen (N k) with E in place of an expert that is full; padding takes no place."""
        n_experts, k = self.experts.n_experts, self.experts.n_chosen
        if real is not None:
            chosen = chosen.masked_fill(~real.unsqueeze(1), n_experts)
        if self.experts.capacity is None:
            return chosen
        queue = chosen.T.flatten()  # all first choices, then all second ones
        place = (queue.unsqueeze(1) == torch.arange(n_experts + 1, device=queue.device)).cumsum(0)
        share = (queue < n_experts).sum() / n_experts  # of an expert, when the load is even
        limit = (self.experts.capacity * share).floor().clamp_min(1)
        is_over = place.gather(1, queue.unsqueeze(1)).squeeze(1) > limit
        return queue.masked_fill(is_over, n_experts).view(k, -1).T

    def _loss(self, logits: Tensor, chosen: Tensor, real: Tensor | None) -> Tensor:
        """Both losses, weighted; each token that is no padding counts alike."""
        real = torch.ones_like(chosen[:, 0], dtype=torch.bool) if real is None else real
        share = real / real.sum().clamp_min(1)  # N
        balance = balance_loss(logits, chosen, share)
        return self.experts.balance * balance + self.experts.router_z * z_loss(logits, share)


def balance_loss(logits: Tensor, chosen: Tensor, share: Tensor) -> Tensor:
    """E · Σ_e f_e · P_e (Fedus 2021, eq. 4 to 6): 1 when the load is even, up to E when one expert takes all.

    f is the part of all choices (N k) that fell on e, which has no gradient; P the mean probability of e, from router
    logits (N E). share: N, what each token counts; their sum is 1.
    """
    n_tokens, k = chosen.shape
    each = (share / k).unsqueeze(1).expand(n_tokens, k)
    load = torch.zeros_like(logits[0]).index_add(0, chosen.flatten(), each.flatten())
    return logits.shape[1] * (load * (share @ logits.softmax(-1))).sum()


def z_loss(logits: Tensor, share: Tensor) -> Tensor:
    """The mean over tokens of (log Σ_e exp logits)² (Zoph 2022, eq. 5), which keeps router logits (N E) small."""
    return share @ logits.logsumexp(-1).square()

"""The definition: a decoder computed plainly. No cache, no fused kernel, no fused matrix, float32.

Every fast path of the engine is compared with this one in the default tests. It is slow on purpose.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from engine.config import ExpertsConfig
from engine.decoder import DecoderLM
from engine.layers.absolute import sinusoids
from engine.layers.attention import attend_plainly, causal_mask
from engine.layers.positions import inverse_frequencies
from engine.layers.relative import alibi_slopes
from engine.layers.scores import Score, scaled_dot


@torch.inference_mode()
def naive_logits(model: DecoderLM, ids: Sequence[int]) -> Tensor:
    """Logits of all positions, T V, float32, from the weights of `model`."""
    config = model.config
    weights = {name: p.float() for name, p in model.named_parameters()}
    x = weights["embedding.weight"][torch.tensor(ids)]  # T C
    if config.positions == "sinusoidal":
        x = x * config.d_model**0.5 + sinusoids(len(ids), config.d_model)
    if config.positions == "learned":
        x = x + weights["learned.weight"][: len(ids)]
    mask = causal_mask(0, len(ids), x.device)
    if config.positions == "alibi":
        mask = _alibi(config.n_heads, len(ids)).masked_fill(~mask, -torch.inf)
    for i in range(config.n_layers):
        x = x + _attention(
            model,
            weights,
            f"blocks.{i}.",
            _norm(x, weights[f"blocks.{i}.attention_norm.weight"], config.norm_eps),
            mask,
        )
        h = _norm(x, weights[f"blocks.{i}.mlp_norm.weight"], config.norm_eps)
        experts = config.layer(i).experts
        x = x + (_mlp if experts is None else partial(_experts, experts))(weights, f"blocks.{i}.mlp.", h)
    head = weights["embedding.weight" if config.tie_embeddings else "head.weight"]
    return _norm(x, weights["norm.weight"], config.norm_eps) @ head.T


def naive_greedy(model: DecoderLM, prompt: Sequence[int], count: int) -> list[int]:
    """`count` ids after the prompt, each the highest logit, reading everything again for each."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(naive_logits(model, ids)[-1].argmax()))
    return ids[len(prompt) :]


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def _linear(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def _attention(model: DecoderLM, weights: dict[str, Tensor], block: str, x: Tensor, mask: Tensor) -> Tensor:
    config = model.config
    projected = _linear(weights, f"{block}attention.qkv", x)
    n_query, n_key, _ = config.qkv_rows
    parts = projected.tensor_split((n_query, n_query + n_key), dim=-1)
    sizes = (config.head_dim, config.head_dim, config.value_dim)
    q, k, v = (p.view(len(x), -1, n).transpose(0, 1)[None] for p, n in zip(parts, sizes, strict=True))  # 1 H T D
    if config.positions == "rope":
        q, k = _rotate(model, q[0])[None], _rotate(model, k[0])[None]
    score = model.get_submodule(f"{block}attention").score or scaled_dot
    mixed = attend_plainly(q, k, v, mask, cast(Score, score))[0]  # H T D
    return _linear(weights, f"{block}attention.out", mixed.transpose(0, 1).reshape(len(x), -1))


def _rotate(model: DecoderLM, x: Tensor) -> Tensor:
    """Each pair (x_i, x_{i + D/2}) turned by position times frequency, as a complex number. H T D."""
    count, half = x.shape[1], x.shape[2] // 2
    angles = torch.outer(torch.arange(count).float(), inverse_frequencies(model.config, count))
    scaling = model.config.rope_scaling
    turn = torch.polar(torch.full_like(angles, scaling.attention_factor if scaling else 1.0), angles)
    turned = torch.complex(x[..., :half], x[..., half:]) * turn
    return torch.cat([turned.real, turned.imag], -1)


def _alibi(n_heads: int, count: int) -> Tensor:
    """H T T: -slope · distance."""
    positions = torch.arange(count)
    distances = (positions.unsqueeze(1) - positions).clamp_min(0)
    return -torch.tensor(alibi_slopes(n_heads)).view(-1, 1, 1) * distances


def _mlp(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    gate, up = _linear(weights, f"{name}gate_up", x).chunk(2, dim=-1)
    return _linear(weights, f"{name}down", functional.silu(gate) * up)


def _experts(config: ExpertsConfig, weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Token by token, expert by expert. T C."""
    rows = []
    for token in x:
        probs, chosen = _linear(weights, f"{name}router", token).softmax(-1).topk(config.n_chosen)
        if config.renormalise:
            probs = probs / probs.sum()
        y = torch.zeros_like(token)
        for prob, expert in zip(probs, chosen, strict=True):
            gate, up = (weights[f"{name}up.weight"][expert] @ token).chunk(2)
            y = y + prob * (weights[f"{name}down.weight"][expert] @ (functional.silu(gate) * up))
        if config.d_shared:
            shared = _mlp(weights, f"{name}shared.", token)
            y = y + (_linear(weights, f"{name}shared_gate", token).sigmoid() * shared if config.shared_gate else shared)
        rows.append(y)
    return torch.stack(rows)

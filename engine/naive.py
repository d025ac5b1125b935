"""The definition: a decoder computed plainly. No cache, no fused kernel, no fused matrix, float32.

Every fast path of the engine is compared with this one in the default tests. It is slow on purpose.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.layers.absolute import sinusoids
from engine.layers.attention import attend_plainly
from engine.layers.positions import inverse_frequencies
from engine.layers.relative import alibi_slopes
from engine.layers.scores import Score

Weights = dict[str, Tensor]  # by the names of a DecoderLM's parameters


@torch.inference_mode()
def naive_logits(model: DecoderLM, ids: Sequence[int]) -> Tensor:
    """Logits of all positions, T V, float32, from the weights of `model`."""
    config = model.config
    weights = {name: p.float() for name, p in model.named_parameters()}
    x = weights["embedding.weight"][torch.tensor(ids)]  # T C
    if config.positions == "sinusoidal" or config.scale_embedding:
        x = x * config.d_model**0.5
    if config.positions == "sinusoidal":
        x = x + sinusoids(len(ids), config.d_model)
    if config.positions == "learned":
        x = x + weights["learned.weight"][: len(ids)]
    if config.embedding_norm:
        x = _norm(config, weights, "embedding_norm", x)
    for i in range(config.n_layers):
        x = _block(model, config.layer(i), weights, f"blocks.{i}.", x)
    if config.norm_place != "after":
        x = _norm(config, weights, "norm", x)
    logits = x @ weights["embedding.weight" if config.tie_embeddings else "head.weight"].T
    return logits if config.logit_cap is None else config.logit_cap * torch.tanh(logits / config.logit_cap)


def naive_greedy(model: DecoderLM, prompt: Sequence[int], count: int) -> list[int]:
    """`count` ids after the prompt, each the highest logit, reading everything again for each."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(naive_logits(model, ids)[-1].argmax()))
    return ids[len(prompt) :]


def _block(model: DecoderLM, config: ModelConfig, weights: Weights, block: str, x: Tensor) -> Tensor:
    """One layer, T C; config: that of the layer."""

    def branch(name: str, read: Tensor) -> Tensor:
        if config.norm_place in ("before", "both"):
            read = _norm(config, weights, f"{block}{name}_norm", read)
        if name == "attention":
            out = _attention(model, config, weights, block, read)
        else:
            out = (_mlp if config.experts is None else _experts)(config, weights, f"{block}mlp.", read)
        return (
            out if config.norm_place in ("before", "after") else _norm(config, weights, f"{block}{name}_out_norm", out)
        )

    if config.parallel:
        return x + branch("attention", x) + branch("mlp", x)
    for name in ("attention", "mlp"):
        x = x + branch(name, x)
        if config.norm_place == "after":
            x = _norm(config, weights, f"{block}{name}_norm", x)
    return x


def _norm(config: ModelConfig, weights: Weights, name: str, x: Tensor) -> Tensor:
    weight, eps = weights[f"{name}.weight"], config.norm_eps
    if config.norm == "layer":
        x = x - x.mean(-1, keepdim=True)
    x = x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    if config.norm == "layer":
        return x * weight + weights[f"{name}.bias"]
    return x * (1 + weight) if config.norm == "rms_plus_one" else x * weight


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def _attention(model: DecoderLM, config: ModelConfig, weights: Weights, block: str, x: Tensor) -> Tensor:
    projected = _linear(weights, f"{block}attention.qkv", x)
    n_query, n_key, _ = config.qkv_rows
    q, k, v = projected.tensor_split((n_query, n_query + n_key), dim=-1)
    q = _normed_heads(config, weights, f"{block}attention.qk_norm.q_norm", q)
    k = _normed_heads(config, weights, f"{block}attention.qk_norm.k_norm", k)
    v = v.view(len(x), -1, config.value_dim)
    q, k, v = (part.transpose(0, 1) for part in (q, k, v))  # H T D
    if config.positions == "rope":
        q, k = _rotated(config, q), _rotated(config, k)
    learned = model.get_submodule(f"{block}attention").score
    score = cast(Score, _score(config) if learned is None else learned)
    mixed = attend_plainly(q[None], k[None], v[None], _mask(config, len(x)), score)[0]  # H T D
    return _linear(weights, f"{block}attention.out", mixed.transpose(0, 1).reshape(len(x), -1))


def _normed_heads(config: ModelConfig, weights: Weights, name: str, x: Tensor) -> Tensor:
    """T H·D -> T H D, normed as the config says."""
    if config.qk_norm == "width":
        x = _norm(config, weights, name, x)
    x = x.view(len(x), -1, config.head_dim)
    return _norm(config, weights, name, x) if config.qk_norm == "head" else x


def _score(config: ModelConfig) -> Score:
    """The scaled dot product, capped where the config says so."""

    def score(q: Tensor, k: Tensor) -> Tensor:
        scores = q @ k.transpose(-1, -2) / (config.score_dim or config.head_dim) ** 0.5
        return scores if config.score_cap is None else config.score_cap * torch.tanh(scores / config.score_cap)

    return score


def _mask(config: ModelConfig, count: int) -> Tensor:
    """T T or H T T: what is added to the scores: -inf where nothing may be seen, and ALiBi's -slope · distance."""
    positions = torch.arange(count)
    distances = positions.unsqueeze(1) - positions
    hidden = (distances < 0) | (distances >= (config.window or count))
    bias = torch.zeros(count, count)
    if config.positions == "alibi":
        bias = -torch.tensor(alibi_slopes(config.n_heads)).view(-1, 1, 1) * distances
    return bias.masked_fill(hidden, -torch.inf)


def _rotated(config: ModelConfig, x: Tensor) -> Tensor:
    """Each pair (x_i, x_{i + R/2}) of the first R numbers turned by position times frequency, as a complex number.

    H T D -> H T D; what does not rotate stays.
    """
    count, half = x.shape[1], config.turned // 2
    angles = torch.outer(torch.arange(count).float(), inverse_frequencies(config, count))
    scaling = config.rope_scaling
    turn = torch.polar(torch.full_like(angles, scaling.attention_factor if scaling else 1.0), angles)
    turned = torch.complex(x[..., :half], x[..., half : 2 * half]) * turn
    return torch.cat([turned.real, turned.imag, x[..., 2 * half :]], -1)


def _activated(config: ModelConfig, h: Tensor) -> Tensor:
    """What comes between the matrices of a feed-forward part: N 2F or N F -> N F."""
    gate, up = h.chunk(2, dim=-1) if config.activation in ("swiglu", "geglu_tanh") else (h, torch.ones(()))
    if config.activation in ("swiglu", "silu"):
        return gate * torch.sigmoid(gate) * up
    if config.activation == "relu":
        return gate.clamp_min(0)
    return functional.gelu(gate, approximate="none" if config.activation == "gelu" else "tanh") * up


def _mlp(config: ModelConfig, weights: Weights, name: str, x: Tensor) -> Tensor:
    up = "gate_up" if f"{name}gate_up.weight" in weights else "up"
    return _linear(weights, f"{name}down", _activated(config, _linear(weights, f"{name}{up}", x)))


def _experts(config: ModelConfig, weights: Weights, name: str, x: Tensor) -> Tensor:
    """Token by token, expert by expert. T C."""
    experts = config.experts
    assert experts is not None
    rows = []
    for token in x:
        probs, chosen = _linear(weights, f"{name}router", token).softmax(-1).topk(experts.n_chosen)
        if experts.renormalise:
            probs = probs / probs.sum()
        y = torch.zeros_like(token)
        for prob, expert in zip(probs, chosen, strict=True):
            h = _activated(config, weights[f"{name}up.weight"][expert] @ token)
            y = y + prob * (weights[f"{name}down.weight"][expert] @ h)
        if experts.d_shared:
            shared = _mlp(config, weights, f"{name}shared.", token)
            y = y + (
                _linear(weights, f"{name}shared_gate", token).sigmoid() * shared if experts.shared_gate else shared
            )
        rows.append(y)
    return torch.stack(rows)

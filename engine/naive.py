"""The definition: a decoder computed plainly. No cache, no fused kernel, no fused matrix, float32.

Every fast path of the engine is compared with this one in the default tests. It is slow on purpose.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from engine.decoder import DecoderLM
from engine.layers.attention import attend_plainly, causal_mask
from engine.layers.positions import inverse_frequencies


@torch.inference_mode()
def naive_logits(model: DecoderLM, ids: Sequence[int]) -> Tensor:
    """Logits of all positions, T V, float32, from the weights of `model`."""
    config = model.config
    weights = {name: p.float() for name, p in model.named_parameters()}
    x = weights["embedding.weight"][torch.tensor(ids)]  # T C
    mask = causal_mask(0, len(ids), x.device)
    for i in range(config.n_layers):
        x = x + _attention(
            model,
            weights,
            f"blocks.{i}.",
            _norm(x, weights[f"blocks.{i}.attention_norm.weight"], config.norm_eps),
            mask,
        )
        x = x + _mlp(weights, f"blocks.{i}.mlp.", _norm(x, weights[f"blocks.{i}.mlp_norm.weight"], config.norm_eps))
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
    q, k, v = (part.view(len(x), -1, config.head_dim).transpose(0, 1) for part in parts)  # H T D, K T D
    mixed = attend_plainly(_rotate(model, q)[None], _rotate(model, k)[None], v[None], mask)[0]  # H T D
    return _linear(weights, f"{block}attention.out", mixed.transpose(0, 1).reshape(len(x), -1))


def _rotate(model: DecoderLM, x: Tensor) -> Tensor:
    """Each pair (x_i, x_{i + D/2}) turned by position times frequency, as a complex number. H T D."""
    count, half = x.shape[1], x.shape[2] // 2
    angles = torch.outer(torch.arange(count).float(), inverse_frequencies(model.config, count))
    scaling = model.config.rope_scaling
    turn = torch.polar(torch.full_like(angles, scaling.attention_factor if scaling else 1.0), angles)
    turned = torch.complex(x[..., :half], x[..., half:]) * turn
    return torch.cat([turned.real, turned.imag], -1)


def _mlp(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    gate, up = _linear(weights, f"{name}gate_up", x).chunk(2, dim=-1)
    return _linear(weights, f"{name}down", functional.silu(gate) * up)

"""What each head looks at: the attention weights of a model, looked at from outside while it reads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from engine.decoder import DecoderLM
from engine.layers.attention import Attention, CrossAttention


@contextmanager
def watched_attention(layers: Sequence[nn.Module]) -> Iterator[list[list[Tensor]]]:
    """What some attention layers weigh with while the block lasts: for each layer the B H T S of each of its passes.

    For passes without a KV cache. The weights are computed beside the pass, by the definition, in its dtype.
    """
    seen: list[list[Tensor]] = [[] for _ in layers]
    handles = [
        layer.register_forward_pre_hook(partial(_note, found)) for layer, found in zip(layers, seen, strict=True)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _note(found: list[Tensor], layer: Attention | CrossAttention, inputs: tuple[Any, ...]) -> None:
    if isinstance(layer, CrossAttention):
        found.append(layer.weights(*inputs))
    else:
        x, step, *_ = inputs
        found.append(layer.weights(x, step))


@torch.inference_mode()
def decoder_maps(model: DecoderLM, ids: Sequence[int]) -> Tensor:
    """The weights of all layers and heads while a decoder reads ids at once: L H T T, float32."""
    with watched_attention([block.attention for block in model.blocks]) as seen:  # type: ignore[misc]
        model.hidden(torch.tensor([list(ids)], device=model.embedding.weight.device))
    return torch.cat([passes[0] for passes in seen]).float().cpu()

"""engine/attention_maps.py: the weights that are shown are those with which the model computed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.attention_maps import decoder_maps, watched_attention
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.layers.attention import Attention, CrossAttention, Step, padding_mask

IDS = [3, 5, 3, 9, 1, 7, 7]
KINDS: dict[str, dict[str, Any]] = {
    "rope": {}, "alibi": {"positions": "alibi"}, "learned": {"positions": "learned"},
    "grouped": {"n_heads": 4, "n_kv_heads": 2}, "one key head": {"n_heads": 4, "n_kv_heads": 1},
    "additive": {"score": "additive"}, "bilinear": {"score": "bilinear", "n_kv_heads": 1},
    "cosine": {"score": "cosine"},
}  # fmt: skip


def toy(**changes: Any) -> DecoderLM:
    """A little decoder whose weights are large enough for attention to be sharp."""
    shape = {"vocab_size": 12, "d_model": 16, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "head_dim": 8, "d_ff": 24}
    model = DecoderLM(ModelConfig(**(shape | {"max_positions": 32} | changes)))
    generator = torch.Generator().manual_seed(0)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.eval().requires_grad_(False)


def outputs(model: DecoderLM) -> list[tuple[Attention, Tensor, Tensor]]:
    """Each attention of a pass over IDS: the module, its values repeated for every head (B H T D), its output."""
    found: list[tuple[Attention, Tensor, Tensor]] = []

    def note(module: Attention, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, _, v = module._heads(inputs[0], inputs[1])
        found.append((module, v.repeat_interleave(module.n_heads // module.n_kv_heads, dim=1), output))

    handles = [block.attention.register_forward_hook(note) for block in model.blocks]  # type: ignore[union-attr]
    model.hidden(torch.tensor([IDS]))
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_values_weighed_with_them_are_what_each_attention_gave(kind: str) -> None:
    model = toy(**KINDS[kind])
    maps = decoder_maps(model, IDS)
    assert maps.shape == (2, model.config.n_heads, len(IDS), len(IDS)) and maps.dtype == torch.float32
    for weights, (module, values, output) in zip(maps, outputs(model), strict=True):
        mixed = weights[None] @ values
        torch.testing.assert_close(module.out(mixed.transpose(1, 2).flatten(2)), output, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_sum_to_one_and_nothing_looks_ahead(kind: str) -> None:
    maps = decoder_maps(toy(**KINDS[kind]), IDS)
    torch.testing.assert_close(maps.sum(-1), torch.ones(maps.shape[:3]))
    assert not maps.triu(1).any() and (maps[:, :, 1:, 0] > 0).all()
    assert maps[:, :, -1].std(-1).min() > 1e-3  # nor is it the mean of all


def test_afterwards_no_hook_is_left_even_after_an_error() -> None:
    model = toy()
    decoder_maps(model, IDS)
    with pytest.raises(IndexError), watched_attention([block.attention for block in model.blocks]):  # type: ignore[misc]
        model.hidden(torch.tensor([[99]]))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_every_pass_is_noted_while_the_block_lasts() -> None:
    model = toy()
    with watched_attention([model.blocks[1].attention]) as seen:  # type: ignore[list-item]
        for length in (2, 5):
            model.hidden(torch.tensor([IDS[:length], IDS[:length]]))
    model.hidden(torch.tensor([IDS]))
    assert [tuple(weights.shape) for weights in seen[0]] == [(2, 2, 2, 2), (2, 2, 5, 5)]


@pytest.mark.parametrize("score", ["scaled_dot", "cosine"])
def test_cross_attention_gives_padding_nothing(score: str) -> None:
    config = ModelConfig(12, 16, 1, 4, 2, 8, 24, max_positions=8, score=score)
    layer = CrossAttention(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    source = torch.tensor([[4, 5, 6, 0], [4, 5, 0, 0]])
    encoded, x = torch.randn(2, 4, 16, generator=generator), torch.randn(2, 3, 16, generator=generator)
    memory = layer.memory(encoded)
    step = Step(None, None, None, False, memory_mask=padding_mask(source, 0))
    with watched_attention([layer]) as seen, torch.no_grad():
        output = layer(x, memory, step)
    (weights,) = seen[0]
    assert weights.shape == (2, 4, 3, 4)
    assert not weights[0, :, :, 3].any() and not weights[1, :, :, 2:].any()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 3))
    mixed = weights @ memory[1].repeat_interleave(2, dim=1)
    torch.testing.assert_close(layer.out(mixed.transpose(1, 2).flatten(2)), output, atol=1e-4, rtol=1e-4)

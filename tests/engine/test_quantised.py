"""Matrices that stay quantised: the same numbers as the dequantised ones, in less memory."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from gguf_files import q4_k, write_gguf
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, random_ids, tiny_model
from torch import Tensor
from torch.nn import functional

from engine.adapter import AdapterConfig, linear_targets, save_adapter
from engine.api import load_engine
from engine.checkpoint import save_checkpoint
from engine.decoder import DecoderLM
from engine.errors import CheckpointError
from engine.gguf import open_gguf
from engine.gguf_blocks import KINDS, take_apart
from engine.gguf_model import gguf_config, load_gguf_model
from engine.layers import quantised
from engine.layers.quantised import FEW, QuantisedEmbedding, QuantisedMatrix, tile_rows
from engine.source import open_source

pytestmark = pytest.mark.skipif(tile_rows() is None, reason="torch has no quick kernel for this processor")
CONFIG = replace(TINY, vocab_size=416, d_model=64, head_dim=16, d_ff=96)
EPS = 2.0**-8  # of a bfloat16: half of the last of its 8 bits


def blocks_of(numbers: Tensor, kind: str) -> Any:
    return q4_k(numbers.numpy()) if kind == "Q4_K" else gguf.quantize(numbers.numpy(), Type[kind])


def dequantised(blocks: Any, kind: str) -> Tensor:
    return torch.from_numpy(gguf.dequantize(blocks, Type[kind]).copy())


def matrix_of(numbers: Tensor, kind: str) -> tuple[QuantisedMatrix, Tensor]:
    """(the matrix, its numbers dequantised)."""
    blocks = blocks_of(numbers, kind)
    apart = take_apart(blocks, kind)
    matrix = QuantisedMatrix(KINDS[kind][1], *numbers.shape)
    matrix.fill(0, apart.digits, apart.scales, apart.offsets)
    return matrix, dequantised(blocks, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_taken_apart_are_the_numbers_that_the_package_reads(kind: str) -> None:
    """Of any bytes: scales and minima of every kind of Q4_K, and negative zeros."""
    size = KINDS[kind][0]
    raw = np.random.default_rng(1).integers(0, 256, (40, 2 * size), dtype=np.uint8)
    for first in range(0, 2 * size, size):  # scales of moderate size, not infinite
        raw[:, first + 1] &= 0xBB
        raw[:, first + 3] &= 0xBB
    part = take_apart(raw, kind)
    digits = part.digits.unflatten(-1, (-1, 32)).float()
    numbers = ((digits - 8) * part.scales.unsqueeze(-1) + part.offsets.unsqueeze(-1)).flatten(-2).sum(0)
    expected = dequantised(raw, kind)
    assert part.digits.max() == 15 and expected.isfinite().all()
    assert torch.allclose(numbers, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [64, 100, 1, 1500])
@pytest.mark.parametrize("count", [1, FEW, FEW + 1])
def test_a_product_is_that_of_the_dequantised_matrix(kind: str, rows: int, count: int) -> None:
    """Each number is off by a rounding of its scale, of its offset, and the sums by one of the result."""
    generator = torch.Generator().manual_seed(rows + count)
    matrix, numbers = matrix_of(torch.randn(rows, 256, generator=generator), kind)
    x = torch.randn(2, count, 256, generator=generator).to(torch.bfloat16)[:, : max(1, count // 2)]
    out, expected = matrix(x), functional.linear(x.float(), numbers)
    assert out.dtype == torch.bfloat16 and out.shape == expected.shape
    bound = 2 * EPS * (x.float().norm(dim=-1, keepdim=True) * numbers.norm(dim=-1)) + EPS * expected.abs()
    assert ((out.float() - expected).abs() <= bound).all()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_looked_up(kind: str) -> None:
    matrix, numbers = matrix_of(torch.randn(100, 256, generator=torch.Generator().manual_seed(3)), kind)
    ids = torch.tensor([[0, 99, 64], [31, 32, 63]])
    found = QuantisedEmbedding(matrix)(ids)
    assert found.shape == (2, 3, 256) and found.dtype == torch.bfloat16
    assert (found.float() - numbers[ids]).abs().max() <= 2 * EPS * numbers.abs().max()


@given(rows=st.integers(1, 200), cut=st.integers(0, 3), summands=st.integers(1, 2))
@settings(max_examples=25)
def test_a_matrix_filled_in_pieces_is_the_same(rows: int, cut: int, summands: int) -> None:
    digits = torch.randint(0, 16, (summands, rows, 64), dtype=torch.uint8)
    scales, offsets = torch.rand(2, summands, rows, 2)
    whole, pieces = (QuantisedMatrix(summands, rows, 64) for _ in range(2))
    whole.fill(0, digits, scales, offsets)
    first = min(cut * whole.tile, rows // whole.tile * whole.tile)
    for part in (slice(0, first), slice(first, rows)):
        if part.stop > part.start:
            pieces.fill(part.start, digits[:, part], scales[:, part], offsets[:, part])
    assert torch.equal(pieces.packed, whole.packed) and torch.equal(pieces.scales, whole.scales)


def kept(path: Path) -> DecoderLM:
    file = open_gguf(path)
    return load_gguf_model(file, gguf_config(file), torch.bfloat16, torch.device("cpu"), keep=True)


def held(model: DecoderLM) -> int:
    return sum(t.nbytes for t in (*model.parameters(), *model.buffers()))


SHAPES = {
    "tied": CONFIG,
    "untied": replace(CONFIG, tie_embeddings=False),
    "biases": replace(CONFIG, attention_bias=True, mlp_bias=True, n_kv_heads=1),
}


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_that_is_kept_answers_as_the_dequantised_one(kind: str, shape: str, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_model(SHAPES[shape]), "llama", Type[kind])
    exact, engine = load_engine(path, dtype="float32"), load_engine(path)
    assert (engine.info.dtype == "bfloat16" and engine.info.quantisation.endswith("F32 (5), kept")) or shape == "biases"
    assert isinstance(engine.model.embedding, QuantisedEmbedding) and engine.remarks() == ()
    dense = load_gguf_model(open_gguf(path), exact.config, torch.bfloat16, torch.device("cpu"))
    assert held(engine.model) < (0.75 if kind == "Q8_0" else 0.45) * held(dense)
    told = open_source(path).weight_bytes(torch.bfloat16, keep=True)
    assert told <= held(engine.model) < 1.1 * told  # rows are filled up to whole tiles
    for count in (3, FEW + 9):  # by the kernel, and by matrices made dense
        ids = random_ids(count, vocab_size=416)
        logits, roundings = exact.logits(ids), dense(torch.tensor([ids]))[0].float()
        off = (engine.logits(ids) - logits).pow(2).mean().sqrt()
        assert off < 2 * (roundings - logits).pow(2).mean().sqrt() < 0.1 * logits.std()


def test_types_without_a_kernel_are_dequantised_and_it_is_said(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_model(CONFIG), "llama", Type.Q5_0)
    engine = load_engine(path, dtype="bfloat16")
    assert not list(engine.model.buffers()) and engine.info.quantisation == "Q5_0 (15), F32 (5), dequantised"
    assert engine.remarks()[-1] == ("The file's weights take the memory of bfloat16: Q5_0 (15), F32 (5), dequantised.")


def test_a_matrix_of_two_kinds_is_dequantised_and_the_others_stay(tmp_path: Path) -> None:
    """Queries of 8 bits above keys of 4 are one matrix here, and its halves would need other kernels."""
    model = tiny_model(CONFIG)
    mixed = tmp_path / "mixed.gguf"
    writer = gguf.GGUFWriter(mixed, "llama")
    plain = open_gguf(write_gguf(tmp_path / "m.gguf", model, "llama", Type.Q4_0))
    from gguf_files import add, metadata_of, spoken, tensors_of

    for key, value in (metadata_of(CONFIG, "llama") | spoken(416)).items():
        add(writer, key, value)
    for name, tensor in tensors_of(model, "llama").items():
        kind = Type.F32 if tensor.dim() == 1 else Type.Q8_0 if name == "blk.0.attn_q.weight" else Type.Q4_0
        writer.add_tensor(name, gguf.quantize(tensor.numpy().copy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    engine = load_engine(mixed)
    names = {name.removesuffix(".matrix.packed") for name, _ in engine.model.named_buffers() if "packed" in name}
    assert "blocks.1.attention.qkv" in names and "blocks.0.attention.qkv" not in names and len(names) == 8
    assert engine.info.quantisation.endswith("% kept") and plain.quantisation().startswith("Q4_0")
    ids = random_ids(9, vocab_size=416)
    exact = load_engine(mixed, dtype="float32").logits(ids)
    assert (engine.logits(ids) - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a processor for which torch has only its slow definition."""
    monkeypatch.setattr("engine.gguf_kept.tile_rows", lambda: None)
    return


def test_without_a_kernel_all_is_dequantised(no_kernel: None, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_model(CONFIG), "llama", Type.Q4_0)
    assert load_engine(path, dtype="bfloat16").info.quantisation.endswith("dequantised")


def test_an_adapter_needs_numbers_to_be_added_to(tmp_path: Path) -> None:
    model = tiny_model(CONFIG)
    path = write_gguf(tmp_path / "m.gguf", model, "llama", Type.Q4_0)
    pairs = {t.module: (torch.ones(1, t.d_in), torch.ones(t.stop - t.start, 1)) for t in linear_targets(model)}
    save_adapter(tmp_path / "adapter", pairs, AdapterConfig(1, 1), "m")
    engine = load_engine(path, dtype="bfloat16", adapter=tmp_path / "adapter")
    assert engine.info.quantisation.endswith("dequantised")


def test_a_directory_has_nothing_to_keep(tmp_path: Path, tokenizer_path: Path) -> None:
    save_checkpoint(tmp_path / "d", tiny_model(CONFIG), tokenizer_path=tokenizer_path)
    assert load_engine(tmp_path / "d").info.quantisation == ""


def test_a_tensor_of_another_shape_is_named_all_the_same(tmp_path: Path) -> None:
    model = tiny_model(CONFIG)
    odd = {"blk.0.attn_k.weight": torch.ones(64, 64)}
    with pytest.raises(CheckpointError, match=r"blk\.0\.attn_k\.weight has the shape \[64, 64\]"):
        kept(write_gguf(tmp_path / "m.gguf", model, "llama", Type.Q4_0, tensors=odd))
    with pytest.raises(CheckpointError, match=r"blk\.1\.ffn_up\.weight is missing"):
        kept(write_gguf(tmp_path / "m.gguf", model, "llama", Type.Q4_0, tensors={"blk.1.ffn_up.weight": None}))


def test_the_order_of_digits_is_looked_up_and_not_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    tile_rows.cache_clear()
    monkeypatch.setattr(quantised, "LAYOUTS", (128,))
    assert tile_rows() is None
    tile_rows.cache_clear()

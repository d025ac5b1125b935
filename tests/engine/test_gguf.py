"""GGUF files: the same logits as the model that they were made from, and errors by name."""

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from gguf_files import metadata_of, q4_k, tensors_of, write_gguf
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, random_ids, tiny_model

import engine.gguf
from engine.api import load_engine
from engine.config import ModelConfig, RopeScaling
from engine.decoder import DecoderLM
from engine.errors import CheckpointError, ModelError, TfmError
from engine.gguf import open_gguf
from engine.gguf_model import gguf_config, load_gguf_model
from engine.layers.positions import inverse_frequencies

CONFIG = replace(TINY, vocab_size=260, d_ff=64, bos_id=1, eos_ids=(2,))
WIDE = replace(CONFIG, d_model=256, d_ff=256, n_layers=1, head_dim=64)  # Q4_K has blocks of 256
BIASED = replace(CONFIG, attention_bias=True)
CPU = torch.device("cpu")
IDS = random_ids(24, vocab_size=260)


def loaded(path: Path, dtype: torch.dtype = torch.float32) -> DecoderLM:
    file = open_gguf(path)
    return load_gguf_model(file, gguf_config(file), dtype, CPU)


def logits(model: DecoderLM) -> torch.Tensor:
    return model(torch.tensor([IDS])).float()


def rounded(model: DecoderLM, kind: Type) -> DecoderLM:
    """The model with every matrix rounded as the type rounds it. In place."""
    for parameter in model.parameters():
        if parameter.dim() == 2:
            numbers = parameter.numpy()
            data = q4_k(numbers) if kind == Type.Q4_K else gguf.quantize(numbers, kind)
            parameter.copy_(torch.from_numpy(gguf.dequantize(data, kind).copy()))
    return model


def without_out_bias(model: DecoderLM) -> DecoderLM:
    """Qwen 2 has biases on queries, keys and values only."""
    for name, parameter in model.named_parameters():
        if name.endswith("out.bias"):
            parameter.zero_()
    return model


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize(
    ("kind", "error"),
    [(Type.F32, 0), (Type.F16, 1e-3), (Type.BF16, 8e-3), (Type.Q8_0, 0.01), (Type.Q4_0, 0.15), (Type.Q4_1, 0.1)],
)
def test_logits_are_those_of_the_model(architecture: str, kind: Type, error: float, tmp_path: Path) -> None:
    config = BIASED if architecture == "qwen2" else CONFIG
    model = without_out_bias(tiny_model(config))
    path = write_gguf(tmp_path / "m.gguf", model, architecture, kind)
    read = loaded(path)
    for name, parameter in read.named_parameters():
        original = dict(model.named_parameters())[name]
        assert (parameter - original).abs().max() <= error * original.abs().max(), name
    assert torch.allclose(logits(read), logits(rounded(model, kind)), atol=1e-4)
    assert read.config == replace(config, norm_eps=read.config.norm_eps)


def test_blocks_of_256_are_read(tmp_path: Path) -> None:
    model = tiny_model(WIDE)
    read = loaded(write_gguf(tmp_path / "m.gguf", model, "llama", Type.Q4_K))
    embedding = model.embedding.weight.clone()
    assert torch.allclose(logits(read), logits(rounded(model, Type.Q4_K)), atol=1e-3)
    assert 0 < (read.embedding.weight - embedding).abs().max() <= 0.1 * embedding.abs().max()


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, tie_embeddings=False), replace(CONFIG, n_kv_heads=1, head_dim=16),
        replace(CONFIG, n_kv_heads=4, attention_bias=True, mlp_bias=True), replace(CONFIG, rope_theta=500.0),
    ],
    ids=["a head of its own", "wide heads", "biases", "another base"],
)  # fmt: skip
def test_other_shapes_are_read_and_converted(config: ModelConfig, tmp_path: Path) -> None:
    model = tiny_model(config)
    path = write_gguf(tmp_path / "m.gguf", model)
    assert torch.equal(logits(loaded(path)), logits(model))
    assert torch.equal(logits(loaded(path, torch.bfloat16)), logits(model.to(torch.bfloat16)))


def test_pieces_smaller_than_a_tensor_give_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(CONFIG)
    path = write_gguf(tmp_path / "m.gguf", model)
    monkeypatch.setattr(engine.gguf, "PIECE", 200)
    assert torch.equal(logits(loaded(path)), logits(model))


@pytest.mark.parametrize(
    ("scaling", "told"),
    [
        (RopeScaling("linear", 4.0, 256), {"type": "linear", "factor": 4.0}),
        (
            RopeScaling("yarn", 4.0, 64, attention_factor=1.1386294361119891),
            {"type": "yarn", "factor": 4.0, "original_context_length": 64, "finetuned": True},
        ),
        (None, {"type": "none"}),
    ],
    ids=["linear", "yarn", "none"],
)
def test_rope_scalings_are_read(scaling: RopeScaling | None, told: dict[str, Any], tmp_path: Path) -> None:
    metadata = {f"llama.rope.scaling.{key}": value for key, value in told.items()}
    path = write_gguf(tmp_path / "m.gguf", tiny_model(CONFIG), metadata=metadata)
    assert gguf_config(open_gguf(path)).rope_scaling == scaling


def test_the_divisors_of_angles_are_recognised_as_llama_3s(tmp_path: Path) -> None:
    """Llama 3.1 and its successors tell their scaling in a tensor only."""
    plain = replace(CONFIG, head_dim=64, rope_theta=500000.0)
    config = replace(plain, rope_scaling=RopeScaling("llama3", 32.0, 8192))
    model = tiny_model(config)
    divisors = inverse_frequencies(plain, 1) / inverse_frequencies(config, 1)
    assert 1 < len(divisors.unique()) < len(divisors)
    path = write_gguf(tmp_path / "m.gguf", model, tensors={"rope_freqs.weight": divisors})
    assert gguf_config(open_gguf(path)).rope_scaling == config.rope_scaling
    assert torch.allclose(logits(loaded(path)), logits(model), atol=1e-4)
    write_gguf(path, model, tensors={"rope_freqs.weight": torch.ones(32)})
    assert gguf_config(open_gguf(path)).rope_scaling is None
    write_gguf(path, model, tensors={"rope_freqs.weight": torch.linspace(1, 9, 32)})
    with pytest.raises(CheckpointError, match="rope_freqs"):
        gguf_config(open_gguf(path))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.expert_count", 8), ("llama.attention.sliding_window", 64), ("llama.rope.dimension_count", 4),
        ("llama.rope.scaling.type", "longrope"), ("llama.vocab_size", 99), ("llama.block_count", 1 << 30),
        ("llama.attention.head_count", 5), ("llama.attention.head_count", [4, 4]), ("llama.embedding_length", None),
        ("llama.attention.layer_norm_rms_epsilon", "x"), ("llama.unheard_of", 1), ("tokenizer.ggml.eos_token_id", 999),
        ("split.count", 2), ("general.type", "adapter"), ("llama.feed_forward_length", 128),
    ],
)  # fmt: skip
def test_metadata_that_would_change_the_result_is_named(key: str, value: Any, tmp_path: Path) -> None:
    metadata = {key: value}
    path = write_gguf(tmp_path / "m.gguf", tiny_model(CONFIG), metadata=metadata)
    with pytest.raises(CheckpointError) as e:
        loaded(path)
    names = {
        "llama.block_count": "blk.2", "llama.attention.head_count": "head", "llama.feed_forward_length": "ffn_gate",
        "llama.attention.layer_norm_rms_epsilon": "norm_eps", "tokenizer.ggml.eos_token_id": "eos_ids",
        "split.count": "parts", "general.type": "adapter",
    }  # fmt: skip
    assert names.get(key, key.removeprefix("llama.").removesuffix(".type").replace("scaling", "")).replace(
        "rope.", ""
    ) in str(e.value)


def test_an_architecture_that_is_not_run_is_named(tmp_path: Path) -> None:
    model = tiny_model(CONFIG)
    path = write_gguf(tmp_path / "m.gguf", model, "gemma2", metadata=metadata_of(CONFIG, "gemma2"))
    with pytest.raises(CheckpointError, match="gemma2"):
        loaded(path)


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("blk.1.ffn_up.weight", None, r"blk\.1\.ffn_up\.weight is missing"),
        ("output_norm.weight", None, r"output_norm\.weight is missing"),
        ("token_embd.weight", None, r"token_embd\.weight is missing"),
        ("blk.0.attn_q_norm.weight", torch.ones(8), r"blk\.0\.attn_q_norm\.weight has no place"),
        ("blk.7.attn_q.weight", torch.ones(32, 32), r"blk\.7\.attn_q\.weight has no place"),
        ("blk.0.attn_k.weight", torch.ones(32, 32), r"blk\.0\.attn_k\.weight has the shape \[32, 32\].*\[16, 32\]"),
        ("blk.0.attn_k.weight", torch.ones(32), r"blk\.0\.attn_k\.weight has the shape"),
    ],
)
def test_tensors_that_do_not_fit_are_named(name: str, tensor: torch.Tensor | None, said: str, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_model(CONFIG), tensors={name: tensor})
    with pytest.raises(CheckpointError, match=said):
        loaded(path)


def test_a_type_that_cannot_be_dequantised_is_named(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    for key, value in metadata_of(CONFIG, "llama").items():
        (writer.add_uint32 if isinstance(value, int) else writer.add_float32)(key, value)
    model = tiny_model(CONFIG)
    for name, tensor in tensors_of(model, "llama").items():
        numbers = tensor.numpy()
        writer.add_tensor(name, numbers.astype("int32") if name == "blk.0.ffn_down.weight" else numbers.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match=r"blk\.0\.ffn_down\.weight is stored as I32"):
        loaded(tmp_path / "m.gguf")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "m.gguf"
    return write_gguf(path, tiny_model(replace(CONFIG, n_layers=1)), "llama", Type.Q8_0).read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: b[:-1000], "truncated"), (lambda b: b[:100], "truncated"), (lambda b: b[:6], "truncated"),
        (lambda b: b"", "no GGUF file"), (lambda b: b"PK\x03\x04" + b[4:], "no GGUF file"),
        (lambda b: b[:4] + struct.pack("<I", 1) + b[8:], "version 1"),
        (lambda b: b[:4] + struct.pack("<I", 4) + b[8:], "version 4"),
        (lambda b: b[:4] + struct.pack(">I", 3) + b[8:], "big-endian"),
        (lambda b: b[:8] + struct.pack("<Q", 1 << 60) + b[16:], "."),
        (lambda b: b[:16] + struct.pack("<Q", 1 << 60) + b[24:], "."),
        (lambda b: b[:24] + struct.pack("<Q", 1 << 62) + b[32:], "truncated"),
        (lambda b: b.replace(b"output_norm.weight", b"blk.0.attn_norm.wei"[:18]), "."),
    ],
)  # fmt: skip
def test_a_damaged_file_is_told(change: Callable[[bytes], bytes], said: str, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(change(whole))
    with pytest.raises(CheckpointError, match=said) as e:
        loaded(path)
    assert str(path) in str(e.value)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_mutated_header_is_an_error_or_a_model(
    data: st.DataObject, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing crashes, hangs or asks for more memory than there is."""
    at = data.draw(st.integers(4, 6000))
    value = data.draw(st.binary(min_size=1, max_size=8))
    path = tmp_path_factory.getbasetemp() / "mutated.gguf"
    path.write_bytes(whole[:at] + value + whole[at + len(value) :])
    try:
        read = loaded(path)
    except TfmError:
        return
    assert logits(read).shape[:2] == (1, len(IDS))


def test_an_engine_is_made_of_a_file_and_of_its_directory(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "small.gguf", tiny_model(CONFIG), "llama", Type.Q4_1)
    for given_path in (path, tmp_path):
        engine_of = load_engine(given_path, dtype="float32")
        assert engine_of.info.name == "small" and engine_of.info.path == str(given_path)
        assert engine_of.info.quantisation.startswith("Q4_1 (15)") and "dequantised" in engine_of.info.quantisation
        assert engine_of.raw_ids("a") == [1, 3 + ord("a")] and engine_of.template is None
    write_gguf(tmp_path / "other.gguf", tiny_model(CONFIG))
    with pytest.raises(CheckpointError, match="2 GGUF files"):
        load_engine(tmp_path)


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gguf(tmp_path / "small.gguf", tiny_model(CONFIG))
    monkeypatch.setattr(engine.gguf, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'tfm\[gguf\]'"):
        load_engine(path)

"""Float weights that are quantised as they are read: the numbers of a GGUF file, in less memory."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import TINY, random_ids, tiny_model
from torch import Tensor

from engine import memory
from engine.api import Engine, load_engine
from engine.checkpoint import load_model, save_checkpoint
from engine.config import ExpertsConfig, ModelConfig
from engine.decoder import DecoderLM
from engine.errors import UsageError
from engine.gguf_blocks import Digits, take_apart
from engine.gguf_writing import Companions, write_gguf
from engine.layers.quantised import QuantisedMatrix, tile_rows
from engine.memory import QuantKind, quantised_bytes
from engine.quantising import _q4_0, _q8_0
from engine.source import open_source
from engine.verification_logits import rounded, whole

pytestmark = pytest.mark.skipif(tile_rows() is None, reason="torch has no quick kernel for this processor")
WIDE = replace(TINY, vocab_size=416, d_model=64, head_dim=16, d_ff=96)
CONFIGS: dict[str, ModelConfig] = {
    "tied": WIDE,
    "untied, with biases": replace(WIDE, tie_embeddings=False, attention_bias=True, mlp_bias=True),
    "a width that 32 does not divide": replace(WIDE, d_ff=80),
    "experts": replace(WIDE, experts=ExpertsConfig(4, 32, 2), tie_embeddings=False),
}


def groups(seed: int) -> Tensor:
    """Of many sizes, with zeros, equal magnitudes of both signs and numbers half-way between two digits."""
    x = torch.randn(40, 8, 32, generator=torch.Generator().manual_seed(seed))
    x *= 10.0 ** torch.linspace(-6, 3, 40).view(-1, 1, 1)
    x[0, 0], x[1, 0], x[2, 0, :2] = 0.0, torch.linspace(-127, 127, 32), torch.tensor([50.0, -50.0])
    x[3, 0] = torch.tensor([127.0, 0.5, -0.5, 1.5] * 8)
    return x


@pytest.mark.parametrize(("kind", "ours"), [("Q8_0", _q8_0), ("Q4_0", _q4_0)])
def test_digits_and_scales_are_those_of_the_package_gguf(kind: str, ours: Callable[[Tensor], Digits]) -> None:
    gguf = pytest.importorskip("gguf")
    x = groups(1)
    blocks = gguf.quantize(x.flatten(-2).numpy(), gguf.GGMLQuantizationType[kind])
    expected, found = take_apart(blocks, kind), ours(x)
    assert torch.equal(found.digits, expected.digits)
    assert torch.equal(found.scales, expected.scales) and torch.equal(found.offsets, expected.offsets)


def saved(tmp_path: Path, config: ModelConfig, tokenizer_path: Path | None = None) -> tuple[Path, DecoderLM]:
    model = tiny_model(config)
    save_checkpoint(tmp_path / "m", model, tokenizer_path=tokenizer_path, dtype=torch.float32, shard_bytes=40_000)
    return tmp_path / "m", model


def bytes_of(model: DecoderLM) -> int:
    return sum(t.nbytes for t in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize("quant", ["q8_0", "q4_0"])
@pytest.mark.parametrize("name", CONFIGS)
def test_memory_is_as_estimated_and_less_and_logits_are_near(
    name: str, quant: QuantKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards, too, which cut a matrix of several tensors in two."""
    config = CONFIGS[name]
    directory, model = saved(tmp_path, config)
    assert len(list(directory.glob("*.safetensors"))) > 1
    small = load_model(directory, config, torch.bfloat16, torch.device("cpu"), quant)
    monkeypatch.setattr(memory, "TILE", tile_rows())  # not all processors fill up to the same number
    assert bytes_of(small) == quantised_bytes(config, quant) < 2 * config.n_parameters
    ids = random_ids(40)
    limit = 0.05 if quant == "q8_0" else 3.0  # nats; random weights have nothing to spare
    row = rounded("", whole(model, ids), whole(small, ids), limit)
    assert row.verdict == "same" and row.number is not None and row.number > 0


def test_what_decides_is_left_as_it_is(tmp_path: Path) -> None:
    directory, _ = saved(tmp_path, CONFIGS["experts"])
    small = load_model(directory, CONFIGS["experts"], torch.bfloat16, torch.device("cpu"), "q4_0")
    kinds = {name: type(module).__name__ for name, module in small.named_modules()}
    assert kinds["blocks.0.mlp.router"] == "Linear" and kinds["blocks.0.mlp.up"] == "Matrices"
    assert kinds["blocks.0.attention.qkv"] == "QuantisedLinear" and kinds["embedding"] == "QuantisedEmbedding"
    summands = {name: m.summands for name, m in small.named_modules() if isinstance(m, QuantisedMatrix)}
    assert summands["head.matrix"] == 2 and set(summands.values()) == {1, 2}


@pytest.mark.parametrize("quant", ["q8_0", "q4_0"])
def test_it_is_bit_for_bit_the_gguf_file_of_that_type(quant: QuantKind, tmp_path: Path, tokenizer_path: Path) -> None:
    pytest.importorskip("gguf")
    directory, model = saved(tmp_path, WIDE, tokenizer_path)
    tokenizer = open_source(directory).tokenizer()
    write_gguf(tmp_path / "m.gguf", model, tokenizer, Companions("m"), quant)
    here, there = load_engine(directory, quant=quant), load_engine(tmp_path / "m.gguf")
    assert torch.equal(here.logits(random_ids(50)), there.logits(random_ids(50)))
    assert here.info.quantisation.startswith(f"{quant} (9 matrices), ") and "instead of" in here.info.quantisation
    assert (here.info.quant, here.info.dtype, there.info.quant) == (quant, "bfloat16", "none")
    with pytest.raises(UsageError, match="--quant is for directories of float weights; m holds"):
        load_engine(tmp_path / "m.gguf", quant=quant)


def test_what_it_does_not_go_with_is_refused_by_name(
    make_engine: Callable[..., Engine], engine_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--quant must be one of none, q8_0, q4_0"):
        make_engine(quant="q2_k")
    with pytest.raises(UsageError, match="no other --dtype"):
        make_engine(quant="q8_0")  # in float32
    with pytest.raises(UsageError, match="--quant and --adapter exclude each other"):
        load_engine(engine_dir, quant="q8_0", adapter=tmp_path)

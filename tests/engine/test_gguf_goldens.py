"""Files that llama.cpp quantised, and what llama.cpp made of them (see scripts/compare_llama_cpp.py).

The ids and logits are those of llama.cpp after it has dequantised the file to F32 itself: only then are its activations
float32 too.
"""

import json
from pathlib import Path

import pytest
import torch
from tiny import complete, greedy, rules

from engine.api import Engine, load_engine

GOLDENS = Path(__file__).parents[1] / "goldens" / "gguf"
TOLD = json.loads((GOLDENS / "llama_cpp.json").read_text())


def loaded(name: str, dtype: str) -> Engine:
    return load_engine(GOLDENS / f"{name}.gguf", dtype=dtype)


def test_there_is_a_file_of_each_type_that_llama_quantize_makes_of_whole_matrices() -> None:
    assert list(TOLD) == ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q4_K_S", "Q5_K_S", "Q6_K"]
    assert {p.stem for p in GOLDENS.glob("*.gguf")} == set(TOLD)


@pytest.mark.parametrize("name", TOLD)
def test_the_text_is_llama_cpps(name: str) -> None:
    engine, told = loaded(name, "float32"), TOLD[name]
    assert name.removesuffix("_S") in engine.info.quantisation
    assert (engine.logits(told["prompt"])[-1] - torch.tensor(told["last"])).abs().max() < 1e-4
    every = rules(engine.config.vocab_size, ends=(), never=())
    count = len(told["greedy"])
    assert complete(engine.model, told["prompt"], greedy(count), rules=every).completion == told["greedy"]
    assert count == 48 and len(set(told["greedy"])) > 4


@pytest.mark.parametrize("name", TOLD)
def test_in_bfloat16_the_logits_are_near(name: str) -> None:
    """Also where the matrices stay quantised: 8 bits of a number are left, and the logits are up to 6."""
    logits = loaded(name, "bfloat16").logits(TOLD[name]["prompt"])[-1]
    last = torch.tensor(TOLD[name]["last"])
    assert (logits - last).abs().max() < 0.05 * last.abs().max()

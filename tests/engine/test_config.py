"""ModelConfig and RopeScaling: impossible shapes are refused by the name of the field."""

from dataclasses import replace
from typing import Any

import pytest
from tiny import TINY

from engine.config import ModelConfig, RopeScaling
from engine.errors import CheckpointError

SIZES = ("vocab_size", "d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff", "max_positions")


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [0, -1, 2.0, "4", None, True])
def test_a_size_that_is_no_positive_whole_number_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=name):
        replace(TINY, **{name: value})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_heads": 4, "n_kv_heads": 3}, "4 heads cannot share 3"),
        ({"n_heads": 4, "n_kv_heads": 8}, "4 heads cannot share 8"),
        ({"head_dim": 7}, "head_dim must be even.*7"),
        ({"norm_eps": 0.0}, "norm_eps"),
        ({"norm_eps": float("nan")}, "norm_eps"),
        ({"rope_theta": -1.0}, "rope_theta"),
        ({"bos_id": 64}, "bos_id 64 is outside the vocabulary of 64"),
        ({"bos_id": -1}, "bos_id -1"),
        ({"eos_ids": (2, 64)}, "eos_ids 64 is outside"),
    ],
)
def test_an_impossible_shape_is_refused_with_its_numbers(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        replace(TINY, **changes)


@pytest.mark.parametrize("changes", [{"bos_id": "1"}, {"bos_id": [1]}, {"eos_ids": (2.5,)}, {"eos_ids": ("2",)}])
def test_a_token_id_that_is_no_whole_number_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=next(iter(changes))):
        replace(TINY, **changes)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (("linear", 0.0, 64), "factor"), (("linear", -2.0, 64), "factor"), (("yarn", float("nan"), 64), "factor"),
        (("yarn", 2.0, 0), "original"), (("llama3", 2.0, 64, 4.0, 4.0), "high_freq_factor"),
    ],
)  # fmt: skip
def test_an_impossible_rope_scaling_is_refused_by_name(values: Any, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        RopeScaling(*values)


def test_end_tokens_and_bos_may_be_absent() -> None:
    assert replace(TINY, bos_id=None, eos_ids=()).eos_ids == ()


def test_bytes_of_a_cached_token_are_those_of_its_keys_and_values() -> None:
    """L4"""
    config = ModelConfig(64, 32, n_layers=3, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48, max_positions=64)
    assert config.kv_bytes_per_token(4) == 3 * 2 * (2 * 8) * 4

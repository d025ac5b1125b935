"""The table of families: config.json to ModelConfig and tensor names, and back."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import formula
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import KINDS, TINY

from engine.config import ModelConfig, RopeScaling
from engine.decoder import DecoderLM
from engine.errors import CheckpointError
from engine.families import FAMILIES, family_of, placements, read_config, write_config
from engine.family_rows import LLAMA

HF: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
    "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in HF.items() if k != key}


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    groups, share = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    number = st.floats(0.5, 64, allow_nan=False)
    kind = draw(st.sampled_from([None, "linear", "dynamic", "yarn", "llama3"]))
    positions = draw(st.integers(1, 4096))
    original = draw(st.integers(1, 4096)) if kind in ("yarn", "llama3", "dynamic") else positions
    scaling = kind and RopeScaling(kind, draw(number), original)
    if kind == "yarn":
        scaling = replace(
            scaling,
            attention_factor=draw(number),
            beta_fast=draw(number),
            beta_slow=draw(number),
            truncate=draw(st.booleans()),
        )
    if kind == "llama3":
        scaling = replace(scaling, low_freq_factor=1.0, high_freq_factor=1.0 + draw(number))
    return ModelConfig(
        vocab_size=draw(st.integers(3, 99)),
        d_model=draw(st.integers(1, 32)),
        n_layers=draw(st.integers(1, 4)),
        n_heads=groups * share,
        n_kv_heads=groups,
        head_dim=2 * draw(st.integers(1, 8)),
        d_ff=draw(st.integers(1, 48)),
        max_positions=positions,
        norm_eps=draw(st.floats(1e-9, 1)),
        rope_theta=draw(st.floats(1, 1e6)),
        rope_scaling=scaling,
        tie_embeddings=draw(st.booleans()),
        attention_bias=draw(st.booleans()),
        mlp_bias=draw(st.booleans()),
        bos_id=draw(st.sampled_from([None, 0, 1])),
        eos_ids=draw(st.sampled_from([(), (0,), (2, 1)])),
    )


@given(configs())
def test_a_config_that_is_written_is_read_back_as_it_was(config: ModelConfig) -> None:
    assert read_config(json.loads(json.dumps(write_config(config)))) == config


@pytest.mark.parametrize("kind", KINDS)
def test_tensor_rules_are_a_bijection_on_the_parameters(kind: str) -> None:
    """L1: each parameter's rows are filled once and wholly; each name is that of the hand-written list."""
    config = KINDS[kind]
    parameters = dict(DecoderLM(config).named_parameters())
    filled: dict[str, list[int]] = {name: [] for name in parameters}
    for place in placements(LLAMA, config):
        rows = range(len(parameters[place.ours]))
        filled[place.ours] += rows if place.rows is None else rows[place.rows]
    for name, rows in filled.items():
        assert rows == list(range(len(parameters[name]))), name
    names = [place.theirs for place in placements(LLAMA, config)]
    assert sorted(names) == sorted(formula.shapes(write_config(config)))


def test_values_that_a_config_leaves_out_are_those_that_transformers_assumes() -> None:
    bare = {
        k: HF[k]
        for k in (
            "architectures",
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
        )
    }
    config = read_config(bare)
    assert (config.n_kv_heads, config.head_dim, config.norm_eps, config.max_positions) == (4, 8, 1e-6, 2048)
    assert (config.rope_theta, config.rope_scaling, config.tie_embeddings) == (10000.0, None, False)
    assert not config.attention_bias and not config.mlp_bias


@pytest.mark.parametrize(
    "key", ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"]
)
def test_a_size_that_is_missing_is_named(key: str) -> None:
    with pytest.raises(CheckpointError, match=f"{key} is missing"):
        read_config(without(key))


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"hidden_size": 0}, "d_model|hidden_size"),
    ({"hidden_size": -32}, "d_model|hidden_size|head_dim"),
    ({"hidden_size": 30}, "hidden_size 30"),
    ({"hidden_size": "32"}, "hidden_size"),
    ({"hidden_size": 32.0}, "hidden_size|d_model|head_dim"),
    ({"num_attention_heads": 0}, "num_attention_heads|n_heads"),
    ({"num_attention_heads": "4"}, "num_attention_heads"),
    ({"num_attention_heads": 3}, "hidden_size|heads"),
    ({"num_key_value_heads": 3}, "3 key/value heads"),
    ({"num_key_value_heads": 0}, "n_kv_heads|num_key_value"),
    ({"num_hidden_layers": 0}, "n_layers"),
    ({"num_hidden_layers": [2]}, "n_layers"),
    ({"intermediate_size": -1}, "d_ff"),
    ({"vocab_size": 0}, "vocab_size"),
    ({"vocab_size": 2}, "eos_ids"),
    ({"head_dim": 5}, "head_dim"),
    ({"head_dim": -8}, "head_dim"),
    ({"max_position_embeddings": 0}, "max_positions"),
    ({"rms_norm_eps": -1}, "norm_eps"),
    ({"rms_norm_eps": "x"}, "norm_eps"),
    ({"rope_theta": "x"}, "rope_theta|'x'"),
    ({"rope_theta": -5}, "rope_theta"),
    ({"eos_token_id": 64}, "eos_ids"),
    ({"eos_token_id": ["2"]}, "eos"),
    ({"bos_token_id": -1}, "bos_id"),
    ({"bos_token_id": "1"}, "bos"),
    ({"tie_word_embeddings": "no"}, "tie"),
    ({"attention_bias": "no"}, "attention_bias"),
    ({"mlp_bias": 3}, "mlp_bias"),
    ({"rope_scaling": "linear"}, "rope|wrong type"),
    ({"rope_scaling": {"type": "linear"}}, "factor"),
    ({"rope_scaling": {"type": "linear", "factor": 0}}, "factor"),
    ({"rope_scaling": {"type": "linear", "factor": "x"}}, "factor|'x'"),
    ({"rope_scaling": {"type": "wavelet", "factor": 2}}, "wavelet"),
    ({"rope_scaling": {"rope_type": "longrope", "factor": 2}}, "longrope"),
    ({"rope_scaling": {"rope_type": "linear", "factor": 2, "twist": 3}}, "twist"),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "twist": 3}}, "twist"),
    ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
    ({"architectures": ["MambaForCausalLM"]}, "MambaForCausalLM"),
    ({"architectures": []}, "architecture"),
    ({"architectures": None}, "architecture"),
    ({"architectures": 7}, "architecture"),
    ({"hidden_act": "gelu"}, "hidden_act.*gelu"),
    ({"pretraining_tp": 2}, "pretraining_tp"),
]


@pytest.mark.parametrize(("changes", "says"), IMPOSSIBLE, ids=[json.dumps(c) for c, _ in IMPOSSIBLE])
def test_an_impossible_config_is_one_sentence_that_names_what_is_wrong(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        read_config(HF | changes)


@pytest.mark.parametrize(
    "key", ["sliding_window", "quantization_config", "partial_rotary_factor", "logit_scale", "invented"]
)
def test_an_unknown_key_that_may_change_the_result_is_named(key: str) -> None:
    with pytest.raises(CheckpointError, match=f"{key} = .*not supported"):
        read_config(HF | {key: 4})


@pytest.mark.parametrize(
    "harmless",
    [
        {"transformers_version": "4.31.0", "torch_dtype": "float16", "use_cache": True, "initializer_range": 0.02},
        {"_name_or_path": "x", "attention_dropout": 0.0, "pad_token_id": 0, "dtype": "bfloat16"},
        {"rope_scaling": None, "rope_theta": 10000.0, "pretraining_tp": 1, "sliding_window": None},
    ],
)
def test_keys_that_change_nothing_are_read_over(harmless: dict[str, Any]) -> None:
    assert read_config(HF | harmless) == read_config(HF)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"rope_theta": 500.0}, {"rope_type": "default", "rope_theta": 500.0}),
        (
            {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
            {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0},
        ),
        (
            {
                "rope_theta": 7.0,
                "rope_scaling": {
                    "rope_type": "llama3",
                    "type": "llama3",
                    "factor": 2.0,
                    "original_max_position_embeddings": 9,
                },
            },
            {"rope_type": "llama3", "rope_theta": 7.0, "factor": 2.0, "original_max_position_embeddings": 9},
        ),
    ],
)
def test_both_forms_of_rope_settings_say_the_same(old: dict[str, Any], new: Mapping[str, Any]) -> None:
    assert read_config(HF | old) == read_config(HF | {"rope_parameters": new})


def test_the_family_is_found_by_architecture_and_never_by_a_name() -> None:
    assert (
        family_of({"architectures": ["LlamaForCausalLM"], "model_type": "anything", "_name_or_path": "gpt2"}) is LLAMA
    )
    assert all(name == family.architecture for name, family in FAMILIES.items())


def test_token_id_zero_is_a_token_and_not_an_absence() -> None:
    """S11"""
    config = read_config(HF | {"bos_token_id": 0, "eos_token_id": 0})
    assert (config.bos_id, config.eos_ids) == (0, (0,))


def test_a_head_dim_of_its_own_is_kept() -> None:
    assert read_config(HF | {"head_dim": 16}).head_dim == 16
    assert write_config(replace(TINY, head_dim=16))["head_dim"] == 16

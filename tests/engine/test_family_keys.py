"""What the keys of each family mean, what they mean where they are left out, and which are refused by name."""

from dataclasses import replace
from typing import Any

import pytest
from family_cases import BASE, BLOOM, CASES, FULL, GPT2, HALF, LONGROPE, MOE, SLIDING
from tiny import TINY

from engine.config import ExpertsConfig, ModelConfig, RopeScaling
from engine.errors import CheckpointError
from engine.families import FAMILIES, read_config, write_config


def read(case: str, **changes: Any) -> ModelConfig:
    """The config of a case with changes; a value of ... leaves the key out."""
    raw = CASES[case] | changes
    return read_config({key: value for key, value in raw.items() if value is not ...})


@pytest.mark.parametrize("case", CASES)
def test_a_key_that_may_change_the_result_is_named_in_every_family(case: str) -> None:
    for key in ("invented", "quantization_config", "logit_scale", "residual_multiplier"):
        with pytest.raises(CheckpointError, match=f"{key} = 4 is not supported"):
            read(case, **{key: 4})


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("mistral", {"layer_types": [SLIDING, FULL]}, "layer_types"),
    ("mistral", {"hidden_act": "gelu"}, "hidden_act"),
    ("mistral", {"sliding_window": 0}, "window"),
    ("mistral", {"sliding_window": "10"}, "window"),
    ("mistral", {"rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1]}}, "longrope"),
    ("mistral", {"attention_bias": True}, "attention_bias"),
    ("qwen2", {"use_mrope": True}, "use_mrope"),
    ("qwen2", {"layer_types": [SLIDING, FULL]}, "layer_types"),
    ("qwen2-layer-types", {"layer_types": [SLIDING, "chunked_attention"]}, "chunked_attention"),
    ("qwen2-layer-types", {"layer_types": [SLIDING]}, "layer_types"),
    ("qwen2-layer-types", {"layer_types": SLIDING}, "layer_types"),
    ("qwen2-layer-types", {"sliding_window": None}, "sliding_window"),
    ("qwen2-windows", {"num_hidden_layers": 10**9}, "n_layers"),
    ("qwen2", {"rope_parameters": {FULL: {"rope_type": "default"}}}, "full_attention"),
    ("qwen3", {"qkv_bias": True}, "qkv_bias"),
    ("smollm3", {"no_rope_layers": [1]}, "no_rope_layers"),
    ("smollm3", {"no_rope_layers": 3}, "no_rope_layers"),
    ("smollm3", {"no_rope_layer_interval": 0}, "wrong type"),
    ("smollm3-layers", {"use_sliding_window": False}, "layer_types"),
    ("olmo2", {"clip_qkv": 5.0}, "clip_qkv"),
    ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
    ("gemma2", {"hidden_activation": "gelu"}, "hidden_activation"),
    ("gemma2", {"attn_logit_softcapping": -1}, "score_cap"),
    ("gemma2", {"query_pre_attn_scalar": 0}, "score_dim"),
    ("gemma2", {"sliding_window": None}, "sliding_window"),
    ("gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
    ("gemma3", {"rope_parameters": {"rope_theta": 1e6}}, "rope_parameters: rope_theta"),
    ("gemma3-layer-types", {"rope_parameters": {SLIDING: {"rope_type": "linear", "factor": 2.0}}}, SLIDING),
    ("gemma3", {"sliding_window_pattern": 0}, "wrong type"),
    ("gemma3", {"architectures": ["Gemma3ForConditionalGeneration"]}, "Gemma3ForConditionalGeneration"),
    ("phi3", {"lm_head_bias": True}, "lm_head_bias"),
    ("phi3", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "linear"),
    ("phi3-longrope", {"rope_scaling": {"type": "longrope", "short_factor": [1.0] * 4}}, "long_factor is missing"),
    ("phi3-longrope", {"partial_rotary_factor": 0.5}, "2 angles need as many"),
    ("phi3-longrope", {"rope_scaling": LONGROPE["rope_scaling"] | {"short_mscale": 1.2}}, "short_mscale"),
    ("phi3-longrope", {"rope_scaling": LONGROPE["rope_scaling"] | {"long_factor": [0.0] * 4}}, "positive"),
    ("phi3-partial", {"rope_parameters": {"partial_rotary_factor": 0.4}}, "rotary_dim"),
    ("phi3-partial", {"rope_parameters": {"partial_rotary_factor": 1.5}}, "rotary_dim"),
    ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
    ("gpt2", {"activation_function": "quick_gelu"}, "activation_function"),
    ("gpt2", {"activation_function": ["relu"]}, "activation_function"),
    ("gpt2", {"head_dim": 4}, "head_dim"),
    ("gpt2", {"hidden_size": 16}, "hidden_size = 16.*says 32"),
    ("gpt2", {"n_embd": ...}, "n_embd is missing"),
    ("gpt2", {"rope_theta": 1e4}, "rope_theta"),
    ("gpt-neox", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    ("gpt-neox", {"hidden_act": "mish"}, "hidden_act"),
    ("gpt-neox", {"use_parallel_residual": 1}, "parallel"),
    ("bloom", {"apply_residual_connection_post_layernorm": True}, "apply_residual_connection_post_layernorm"),
    ("bloom", {"slow_but_exact": True}, "slow_but_exact"),
    ("bloom", {"hidden_size": 30}, "30"),
    ("qwen2-moe", {"num_experts": "4"}, "n_experts"),
    ("qwen2-moe", {"num_experts_per_tok": 9}, "9 cannot be chosen of 4"),
    ("qwen2-moe", {"norm_topk_prob": None}, "renormalise"),
    ("qwen2-moe", {"decoder_sparse_step": 0}, "wrong type"),
    ("qwen3-moe", {"layer_types": [FULL, FULL]}, "layer_types"),
    ("qwen3-moe", {"shared_expert_intermediate_size": 8}, "shared_expert_intermediate_size"),
    ("olmoe", {"clip_qkv": 8.0}, "clip_qkv"),
    ("olmoe", {"mlp_only_layers": [0]}, "mlp_only_layers"),
    ("mixtral-window", {"num_local_experts": 0}, "n_experts"),
]


@pytest.mark.parametrize(("case", "changes", "says"), REFUSED, ids=[f"{c} {next(iter(d))}" for c, d, _ in REFUSED])
def test_what_is_not_computed_or_makes_no_sense_is_refused_by_name(
    case: str, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(CheckpointError, match=says):
        read(case, **changes)


def test_windows_stand_in_the_layers_that_transformers_gives_them() -> None:
    def full(config: ModelConfig) -> list[int]:
        return [i for i in range(config.n_layers) if config.layer(i).window is None]

    assert full(read("qwen2-windows")) == [0] and full(read("qwen2-windows", max_window_layers=3)) == [0, 1, 2]
    assert full(read("qwen2-moe-layers", max_window_layers=4)) == [1, 3]
    assert full(read("gemma2", num_hidden_layers=5)) == [1, 3]
    assert full(read("gemma3", num_hidden_layers=7, sliding_window_pattern=...)) == [5]
    assert full(read("smollm3-layers", layer_types=...)) == [0, 2]
    assert read("mistral", sliding_window=...).window == 4096 and read("mistral").full_layers == ()


def test_layers_of_another_kind_are_made_from_what_is_theirs() -> None:
    config = read("gemma3")
    assert (config.layer(0).rope_theta, config.layer(0).rope_scaling, config.layer(0).window) == (100.0, None, 10)
    assert (config.layer(2).rope_theta, config.layer(2).window) == (1e6, None)
    assert config.layer(2).rope_scaling == RopeScaling("linear", 4.0, 96)
    assert [read("smollm3-layers").layer(i).positions for i in range(3)] == ["rope", "none", "rope"]
    assert TINY.layer(1) is TINY


def test_what_is_left_out_is_what_transformers_assumes() -> None:
    small = {k: v for k, v in BASE.items() if k not in ("num_key_value_heads", "max_position_embeddings")}
    small |= {"hidden_size": 256, "num_attention_heads": 32, "vocab_size": 300000}
    found = {name: read_config({"architectures": [name], **small}) for name in (
        "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "SmolLM3ForCausalLM", "Olmo2ForCausalLM",
        "Phi3ForCausalLM", "OlmoeForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM",
    )}  # fmt: skip
    assert [c.n_kv_heads for c in found.values()] == [8, 32, 32, 4, 32, 32, 32, 16, 4]
    assert [c.head_dim for c in found.values()] == [8, 8, 128, 8, 8, 8, 8, 8, 8]
    assert [c.max_positions for c in found.values()] == [
        131072, 32768, 32768, 32768, 2048, 4096, 4096, 32768, 32768,
    ]  # fmt: skip
    assert found["SmolLM3ForCausalLM"].rope_theta == 2e6 and found["SmolLM3ForCausalLM"].no_rope_layers == ()
    assert found["Qwen2MoeForCausalLM"].experts == ExpertsConfig(
        60, 1408, n_chosen=4, d_shared=5632, shared_gate=True, balance=0.001
    )
    gemma = {k: v for k, v in small.items() if k not in ("hidden_act", "tie_word_embeddings")}
    two, three = (read_config({"architectures": [f"Gemma{n}ForCausalLM"], **gemma}) for n in (2, 3))
    assert (two.score_cap, two.logit_cap, two.score_dim, two.window, two.head_dim) == (50.0, 30.0, 256, 4096, 256)
    assert (three.score_cap, three.logit_cap, three.rope_theta, three.tie_embeddings) == (None, None, 1e6, True)
    assert read("gpt2", n_positions=..., n_ctx=...).max_positions == 1024 and read("gpt2").d_ff == 128
    assert read("bloom", seq_length=...).max_positions == 2048
    assert read("gpt-neox", rotary_pct=..., rotary_emb_base=...).turned == 2


def test_the_layers_without_experts_are_those_that_both_keys_name() -> None:
    experts = read("qwen2-moe-layers").experts
    assert experts is not None and experts.dense_layers == (0, 2, 3)
    again = read_config(write_config(read("qwen2-moe-layers"))).experts
    assert again == experts


def test_older_names_and_forms_mean_the_same() -> None:
    named = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 96}
    old = {k: v for k, v in GPT2.items() if k not in ("n_embd", "n_layer", "n_head", "n_positions")}
    assert read_config({"architectures": ["GPT2LMHeadModel"], **old, **named}) == read("gpt2")
    renamed = {k: v for k, v in BLOOM.items() if k != "n_embed"} | {"hidden_size": 32, "tie_word_embeddings": False}
    assert read_config({"architectures": ["BloomForCausalLM"], **renamed}) == read("bloom")
    su = HALF["rope_scaling"] | {"type": "su"}
    assert read("phi3-longrope-partial", rope_scaling=su) == read("phi3-longrope-partial")
    local = {"num_local_experts": 4} | {k: v for k, v in MOE.items() if k != "num_experts"}
    raw = {"architectures": ["Qwen3MoeForCausalLM"], **local, "head_dim": 16, "norm_topk_prob": True}
    assert read_config(raw) == read("qwen3-moe")
    halves = read("gpt-neox", rope_parameters={"rope_type": "default", "partial_rotary_factor": 0.5})
    assert (halves.turned, halves.rope_theta) == (4, 100.0)


@pytest.mark.parametrize("case", CASES)
def test_a_model_is_written_as_its_own_family_or_one_that_has_such_models(case: str) -> None:
    config = read(case)
    own = CASES[case]["architectures"][0]
    assert write_config(config, own)["architectures"] == [own]
    other = write_config(config)
    assert other["architectures"][0] in FAMILIES and read_config(other) == config


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"parallel": True}, "parallel"), ({"embedding_norm": True}, "embedding_norm"),
        ({"logit_cap": 3.0}, "logit_cap"), ({"window": 8, "activation": "geglu_tanh"}, "activation"),
        ({"qk_norm": "width"}, "qk_norm"), ({"rotary_dim": 4, "mlp_bias": True}, "rotary_dim"),
    ],
)  # fmt: skip
def test_a_model_that_no_family_has_is_refused_with_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(CheckpointError, match=f"A model with {field} .* cannot be written as a LlamaForCausalLM"):
        write_config(replace(TINY, **changes))


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"window": 0}, "window"), ({"window": True}, "window"), ({"full_layers": (0,)}, "without a window"),
    ({"window": 4, "full_layers": (2,)}, "full_layers"), ({"no_rope_layers": (-1,)}, "no_rope_layers"),
    ({"window_rope_theta": 5.0}, "without a window"), ({"rotary_dim": 3}, "rotary_dim"),
    ({"rotary_dim": 10}, "rotary_dim"), ({"rotary_dim": 4, "positions": "none"}, "rotary positions"),
    ({"positions": "alibi", "no_rope_layers": (0,)}, "rotary positions"), ({"qk_norm": "layer"}, "qk_norm"),
    ({"norm": "power"}, "norm must be one of rms, layer, rms_plus_one"), ({"norm_place": "around"}, "norm_place"),
    ({"parallel": True, "norm_place": "both"}, "parallel"), ({"parallel": 1}, "parallel"),
    ({"score": "cosine", "score_cap": 3.0}, "scaled_dot"), ({"score_cap": 0}, "score_cap"),
    ({"logit_cap": "x"}, "logit_cap"), ({"attention_bias": True, "qkv_bias": True}, "qkv_bias"),
    ({"rope_scaling": RopeScaling("longrope", 2.0, 24, short_factors=(1.0,) * 4)}, "4 and 0"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "says"), IMPOSSIBLE)
def test_an_impossible_shape_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        replace(TINY, **changes)

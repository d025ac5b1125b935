"""Tiny models of every family but Llama, as a stranger's config.json: what the goldens of goldens/families are of.

Windows are of 10 positions or so, and lengths before a stretching of 24, so that texts of 64 go far beyond both.
"""

from typing import Any

BASE: dict[str, Any] = {
    "vocab_size": 48, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 96, "rms_norm_eps": 1e-5, "hidden_act": "silu",
    "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
SLIDING, FULL = "sliding_attention", "full_attention"


def case(architecture: str, base: dict[str, Any] = BASE, **changes: Any) -> dict[str, Any]:
    """A config.json: `base` with changes."""
    return {"architectures": [architecture], **base, **changes}


GEMMA: dict[str, Any] = {k: v for k, v in BASE.items() if k != "hidden_act"} | {
    "hidden_activation": "gelu_pytorch_tanh", "head_dim": 16, "query_pre_attn_scalar": 24, "sliding_window": 10,
    "tie_word_embeddings": True,
}  # fmt: skip
LONGROPE: dict[str, Any] = {
    "original_max_position_embeddings": 24,
    "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.5], "long_factor": [1.0, 2.0, 3.0, 4.5]},
}
HALF: dict[str, Any] = {
    "original_max_position_embeddings": 24, "partial_rotary_factor": 0.5,
    "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.2], "long_factor": [1.5, 3.0]},
}  # fmt: skip
GPT2: dict[str, Any] = {
    "vocab_size": 48, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 96, "n_ctx": 96, "bos_token_id": 1,
    "eos_token_id": 2, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "summary_type": "cls_index",
}  # fmt: skip
NEOX: dict[str, Any] = {k: v for k, v in BASE.items() if k not in ("num_key_value_heads", "rms_norm_eps")} | {
    "hidden_act": "gelu", "layer_norm_eps": 1e-5, "rotary_pct": 0.25, "rotary_emb_base": 100,
    "use_parallel_residual": True,
}  # fmt: skip
BLOOM: dict[str, Any] = {
    "vocab_size": 48, "n_embed": 32, "n_layer": 2, "num_attention_heads": 4, "bos_token_id": 1, "eos_token_id": 2,
    "layer_norm_epsilon": 1e-5, "pretraining_tp": 2, "offset_alibi": 100, "seq_length": 96,
}  # fmt: skip
MOE: dict[str, Any] = BASE | {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "norm_topk_prob": False,
    "router_aux_loss_coef": 0.01,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "mistral": case("MistralForCausalLM", sliding_window=12),
    "mistral-without-window": case("MistralForCausalLM", sliding_window=None, head_dim=16, rope_theta=300.0),
    "qwen2": case("Qwen2ForCausalLM", tie_word_embeddings=True, max_window_layers=1, use_sliding_window=False),
    "qwen2-windows": case(
        "Qwen2ForCausalLM", num_hidden_layers=3, use_sliding_window=True, sliding_window=10, max_window_layers=1,
    ),
    "qwen2-layer-types": case(
        "Qwen2ForCausalLM", use_sliding_window=True, sliding_window=10, layer_types=[SLIDING, FULL],
        rope_parameters={"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                         "original_max_position_embeddings": 24},
    ),
    "qwen3": case("Qwen3ForCausalLM", head_dim=16, tie_word_embeddings=True, rope_theta=1e6),
    "qwen3-windows-bias": case(
        "Qwen3ForCausalLM", head_dim=8, attention_bias=True, use_sliding_window=True, sliding_window=10,
        max_window_layers=0,
    ),
    "smollm3": case("SmolLM3ForCausalLM", no_rope_layer_interval=2, pretraining_tp=2, tie_word_embeddings=True),
    "smollm3-layers": case(
        "SmolLM3ForCausalLM", num_hidden_layers=3, no_rope_layers=[1, 0, 1], use_sliding_window=True,
        sliding_window=10, layer_types=[SLIDING, SLIDING, FULL], attention_bias=True,
    ),
    "olmo2": case("Olmo2ForCausalLM"),
    "olmo2-mha-bias": case("Olmo2ForCausalLM", num_key_value_heads=4, attention_bias=True, rope_theta=500000),
    "gemma2": case(
        "Gemma2ForCausalLM", GEMMA, num_hidden_layers=3, attn_logit_softcapping=2.0, final_logit_softcapping=3.0,
        tie_word_embeddings=False,
    ),
    "gemma2-without-caps": case(
        "Gemma2ForCausalLM", GEMMA, attn_logit_softcapping=None, final_logit_softcapping=None, hidden_size=36,
    ),
    "gemma3": case(
        "Gemma3ForCausalLM", GEMMA, num_hidden_layers=4, sliding_window_pattern=3, rope_theta=1e6,
        rope_local_base_freq=100.0, rope_scaling={"rope_type": "linear", "factor": 4.0},
    ),
    "gemma3-layer-types": case(
        "Gemma3ForCausalLM", GEMMA, num_hidden_layers=3, layer_types=[FULL, SLIDING, SLIDING],
        rope_parameters={
            FULL: {"rope_type": "default", "rope_theta": 1e6}, SLIDING: {"rope_type": "default", "rope_theta": 50.0},
        },
        final_logit_softcapping=5.0, tie_word_embeddings=False,
    ),
    "phi3": case("Phi3ForCausalLM", sliding_window=11, rope_scaling=None, resid_pdrop=0.0),
    "phi3-longrope": case("Phi3ForCausalLM", **LONGROPE),
    "phi3-longrope-partial": case("Phi3ForCausalLM", **HALF, sliding_window=200, tie_word_embeddings=True),
    "phi3-partial": case(
        "Phi3ForCausalLM", num_key_value_heads=4,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.75},
    ),
    "gpt2": case("GPT2LMHeadModel", GPT2),
    "gpt2-inner-untied": case(
        "GPT2LMHeadModel", GPT2, n_inner=24, activation_function="relu", tie_word_embeddings=False,
    ),
    "gpt-neox": case("GPTNeoXForCausalLM", NEOX),
    "gpt-neox-serial": case(
        "GPTNeoXForCausalLM", NEOX, use_parallel_residual=False, rotary_pct=1.0, attention_bias=False,
        tie_word_embeddings=True, hidden_act="gelu_fast",
    ),
    "bloom": case("BloomForCausalLM", BLOOM, tie_word_embeddings=False),
    "bloom-six-heads": case("BloomForCausalLM", BLOOM, n_embed=36, num_attention_heads=6),
    "mixtral-window": case(
        "MixtralForCausalLM", num_local_experts=4, num_experts_per_tok=2, sliding_window=10, rope_theta=1e4,
    ),
    "qwen2-moe": case("Qwen2MoeForCausalLM", MOE, shared_expert_intermediate_size=20),
    "qwen2-moe-layers": case(
        "Qwen2MoeForCausalLM", MOE, num_hidden_layers=4, shared_expert_intermediate_size=20, norm_topk_prob=True,
        decoder_sparse_step=2, mlp_only_layers=[3], use_sliding_window=True, sliding_window=10, max_window_layers=2,
        tie_word_embeddings=True,
    ),
    "qwen3-moe": case("Qwen3MoeForCausalLM", MOE, head_dim=16, norm_topk_prob=True),
    "qwen3-moe-layers": case(
        "Qwen3MoeForCausalLM", MOE, head_dim=8, mlp_only_layers=[0], use_sliding_window=True, sliding_window=10,
        max_window_layers=28,
    ),
    "olmoe": case(
        "OlmoeForCausalLM", {k: v for k, v in MOE.items() if k != "moe_intermediate_size"}, intermediate_size=12,
        clip_qkv=None,
    ),
}  # fmt: skip

"""Rows of the table of families: those with RMS norms and one gated feed-forward part. Torch-free.

A new family is a row. Those with experts are in engine/family_rows_experts.py, those of GPT-2's line with its layer
norms in engine/family_rows_gpt.py; engine/families.py puts the table together.
"""

from typing import Any

from engine.family import Family, Form, TensorRule
from engine.family_keys import (
    GEMMA2_WINDOWS,
    GEMMA3_WINDOWS,
    NO_ROPE_LAYERS,
    QWEN_WINDOWS,
    SMOLLM3_WINDOWS,
    WINDOW_EVERYWHERE,
)
from engine.rope_keys import ROTATION, ROTATION_BY_WINDOW, ROTATION_OF_PHI3

Rules = tuple[TensorRule, ...]


def weight_and_bias(
    theirs: str, ours: str, part: tuple[str, int] | None = None, of: Any = "any", form: Form = "same",
    layers: str = "model.layers.",
) -> Rules:  # fmt: skip
    """The weight and the bias of one module of a layer. A bias is a row: it is not transposed."""
    left, right = f"{layers}{{i}}.{theirs}", f"blocks.{{i}}.{ours}"
    of_bias: Form = "same" if form == "transposed" else form
    return (
        TensorRule(f"{left}.weight", f"{right}.weight", part, of, form),
        TensorRule(f"{left}.bias", f"{right}.bias", part, of, of_bias),
    )


def weight(theirs: str, ours: str, part: tuple[str, int] | None = None, of: Any = "any") -> TensorRule:
    return weight_and_bias(theirs, ours, part, of)[0]


BESIDE_LAYERS = (
    TensorRule("model.embed_tokens.weight", "embedding.weight"),
    TensorRule("model.norm.weight", "norm.weight"),
    TensorRule("lm_head.weight", "head.weight"),
)
NORMS_BEFORE = (
    weight("input_layernorm", "attention_norm"),
    weight("post_attention_layernorm", "mlp_norm"),
)
NORMS_OF_OUTPUT = (
    weight("post_attention_layernorm", "attention_out_norm"),
    weight("post_feedforward_layernorm", "mlp_out_norm"),
)
ATTENTION = (
    *weight_and_bias("self_attn.q_proj", "attention.qkv", ("qkv", 0)),
    *weight_and_bias("self_attn.k_proj", "attention.qkv", ("qkv", 1)),
    *weight_and_bias("self_attn.v_proj", "attention.qkv", ("qkv", 2)),
    *weight_and_bias("self_attn.o_proj", "attention.out"),
)
QK_NORMS = (
    weight("self_attn.q_norm", "attention.qk_norm.q_norm"),
    weight("self_attn.k_norm", "attention.qk_norm.k_norm"),
)
DENSE_MLP = (
    *weight_and_bias("mlp.gate_proj", "mlp.gate_up", ("gate_up", 0), "dense"),
    *weight_and_bias("mlp.up_proj", "mlp.gate_up", ("gate_up", 1), "dense"),
    *weight_and_bias("mlp.down_proj", "mlp.down", None, "dense"),
)
LLAMA_TENSORS = (*BESIDE_LAYERS, *NORMS_BEFORE, *ATTENTION, *DENSE_MLP)
SILU = {"hidden_act": ("silu", "swish")}
SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "head_dim": "head_dim",
    "intermediate_size": "d_ff",
    "max_position_embeddings": "max_positions",
    "rms_norm_eps": "norm_eps",
    "tie_word_embeddings": "tie_embeddings",
}
NO_IDS = {"bos_token_id": None, "eos_token_id": None}

LLAMA = Family(
    architecture="LlamaForCausalLM",
    model_type="llama",
    fields=SIZES | {"attention_bias": "attention_bias", "mlp_bias": "mlp_bias"},
    required=SILU | {"pretraining_tp": (1, None)},
    tensors=LLAMA_TENSORS,
    groups=(ROTATION,),
    defaults={
        "rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "tie_word_embeddings": False,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
    },
)  # fmt: skip
MISTRAL = Family(
    architecture="MistralForCausalLM",
    model_type="mistral",
    fields=SIZES,
    required=SILU,
    tensors=LLAMA_TENSORS,
    groups=(ROTATION, WINDOW_EVERYWHERE),
    defaults=LLAMA.defaults | {
        "max_position_embeddings": 131072, "num_key_value_heads": 8, "sliding_window": 4096,
    },
)  # fmt: skip
QWEN2 = Family(
    architecture="Qwen2ForCausalLM",
    model_type="qwen2",
    fields=SIZES,
    required=SILU | {"use_mrope": (False, None)},
    tensors=LLAMA_TENSORS,
    groups=(ROTATION, QWEN_WINDOWS),
    constants={"qkv_bias": True},
    defaults=NO_IDS | {
        "rms_norm_eps": 1e-6, "max_position_embeddings": 32768, "tie_word_embeddings": False,
        "num_key_value_heads": 32, "use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28,
    },
)  # fmt: skip
QWEN3 = Family(
    architecture="Qwen3ForCausalLM",
    model_type="qwen3",
    fields=SIZES | {"attention_bias": "attention_bias"},
    required=SILU,
    tensors=(*LLAMA_TENSORS, *QK_NORMS),
    groups=(ROTATION, QWEN_WINDOWS),
    constants={"qk_norm": "head"},
    defaults=QWEN2.defaults | {"head_dim": 128, "attention_bias": False},
)
SMOLLM3 = Family(
    architecture="SmolLM3ForCausalLM",
    model_type="smollm3",
    fields=LLAMA.fields,
    required=SILU,
    tensors=LLAMA_TENSORS,
    groups=(ROTATION, NO_ROPE_LAYERS, SMOLLM3_WINDOWS),
    defaults={
        "rms_norm_eps": 1e-6, "max_position_embeddings": 32768, "tie_word_embeddings": True, "attention_bias": False,
        "mlp_bias": False, "num_key_value_heads": 4, "rope_theta": 2e6, "no_rope_layer_interval": 4,
        "use_sliding_window": False, "bos_token_id": 128000, "eos_token_id": 128001,
    },
    harmless=frozenset({"pretraining_tp", "max_window_layers"}),
)  # fmt: skip
OLMO2 = Family(
    architecture="Olmo2ForCausalLM",
    model_type="olmo2",
    fields=SIZES | {"attention_bias": "attention_bias"},
    required=SILU,
    tensors=(*BESIDE_LAYERS, *NORMS_OF_OUTPUT, *ATTENTION, *QK_NORMS, *DENSE_MLP),
    groups=(ROTATION,),
    constants={"norm_place": "output", "qk_norm": "width"},
    defaults={
        "rms_norm_eps": 1e-5, "max_position_embeddings": 2048, "tie_word_embeddings": False, "attention_bias": False,
        "bos_token_id": None, "eos_token_id": 50279,
    },
)  # fmt: skip

GEMMA2 = Family(
    architecture="Gemma2ForCausalLM",
    model_type="gemma2",
    fields=SIZES | {
        "attention_bias": "attention_bias", "query_pre_attn_scalar": "score_dim",
        "attn_logit_softcapping": "score_cap", "final_logit_softcapping": "logit_cap",
    },
    required={"hidden_activation": ("gelu_pytorch_tanh",), "use_bidirectional_attention": (False, None)},
    tensors=(
        *BESIDE_LAYERS,
        weight("input_layernorm", "attention_norm"),
        weight("pre_feedforward_layernorm", "mlp_norm"),
        *NORMS_OF_OUTPUT,
        *ATTENTION,
        *DENSE_MLP,
    ),
    groups=(GEMMA2_WINDOWS, ROTATION),
    constants={
        "norm": "rms_plus_one", "norm_place": "both", "activation": "geglu_tanh", "scale_embedding": True,
    },
    defaults={
        "rms_norm_eps": 1e-6, "max_position_embeddings": 8192, "tie_word_embeddings": True, "attention_bias": False,
        "num_key_value_heads": 4, "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 4096,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "hidden_activation": "gelu_pytorch_tanh",
        "bos_token_id": 2, "eos_token_id": 1,
    },
    harmless=frozenset({"cache_implementation", "hidden_act", "sliding_window_size"}),
)  # fmt: skip
GEMMA3 = Family(
    architecture="Gemma3ForCausalLM",
    model_type="gemma3_text",
    fields={k: v for k, v in GEMMA2.fields.items() if k != "attn_logit_softcapping"},
    required=GEMMA2.required | {"attn_logit_softcapping": (None,)},
    tensors=(*GEMMA2.tensors, *QK_NORMS),
    groups=(GEMMA3_WINDOWS, ROTATION_BY_WINDOW),
    constants=GEMMA2.constants | {"qk_norm": "head"},
    defaults=GEMMA2.defaults | {
        "max_position_embeddings": 131072, "sliding_window_pattern": 6, "rope_theta": 1e6,
        "rope_local_base_freq": 1e4, "final_logit_softcapping": None, "attn_logit_softcapping": None,
    },
    harmless=GEMMA2.harmless | {"_sliding_window_pattern"},
)  # fmt: skip
PHI3 = Family(
    architecture="Phi3ForCausalLM",
    model_type="phi3",
    fields=SIZES,
    required=SILU | {
        "attention_bias": (False, None), "mlp_bias": (False, None), "lm_head_bias": (False, None),
        "interpolate_factor": (1, None), "full_attn_mod": (1, None),
    },
    tensors=(
        *BESIDE_LAYERS,
        *NORMS_BEFORE,
        weight("self_attn.qkv_proj", "attention.qkv"),
        weight("self_attn.o_proj", "attention.out"),
        weight("mlp.gate_up_proj", "mlp.gate_up"),
        weight("mlp.down_proj", "mlp.down"),
    ),
    groups=(ROTATION_OF_PHI3, WINDOW_EVERYWHERE),
    defaults={
        "rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "original_max_position_embeddings": 4096,
        "tie_word_embeddings": False, "sliding_window": None, "bos_token_id": 1, "eos_token_id": 32000,
    },
    harmless=frozenset({"embd_pdrop", "resid_pdrop"}),
)  # fmt: skip

ROWS = (LLAMA, MISTRAL, QWEN2, QWEN3, SMOLLM3, OLMO2, GEMMA2, GEMMA3, PHI3)

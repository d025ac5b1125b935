"""Rows of the table of families: those with experts, of which each token takes a few. Torch-free."""

from engine.family import Family
from engine.family_keys import (
    OWN_EXPERTS,
    QWEN2_MOE_WINDOWS,
    WINDOW_EVERYWHERE,
    WINDOW_IF_USED,
    experts,
)
from engine.family_rows import (
    ATTENTION,
    BESIDE_LAYERS,
    LLAMA,
    LLAMA_TENSORS,
    NORMS_BEFORE,
    QK_NORMS,
    QWEN2,
    QWEN3,
    SILU,
    SIZES,
    Rules,
    weight,
)
from engine.rope_keys import ROTATION


def of_experts(theirs: tuple[str, str, str], at: str = "mlp.experts.{e}") -> Rules:
    """Gate, up and down of each expert."""
    gate, up, down = (f"{at}.{name}" for name in theirs)
    return (
        weight(gate, "mlp.up", ("expert", 0), "experts"),
        weight(up, "mlp.up", ("expert", 1), "experts"),
        weight(down, "mlp.down", None, "experts"),
    )


OF_EXPERTS = of_experts(("gate_proj", "up_proj", "down_proj"))
ROUTER = weight("mlp.gate", "mlp.router", None, "experts")
SHARED = (
    weight("mlp.shared_expert.gate_proj", "mlp.shared.gate_up", ("shared", 0), "shared"),
    weight("mlp.shared_expert.up_proj", "mlp.shared.gate_up", ("shared", 1), "shared"),
    weight("mlp.shared_expert.down_proj", "mlp.shared.down", None, "shared"),
    weight("mlp.shared_expert_gate", "mlp.shared_gate", None, "shared_gate"),
)
COUNTS = {"num_experts": "n_experts", "num_experts_per_tok": "n_chosen", "router_aux_loss_coef": "balance"}
MIXTRAL = Family(
    architecture="MixtralForCausalLM",
    model_type="mixtral",
    fields=SIZES,
    required=SILU,
    tensors=(
        *BESIDE_LAYERS,
        *NORMS_BEFORE,
        *ATTENTION,
        weight("block_sparse_moe.gate", "mlp.router"),
        *of_experts(("w1", "w3", "w2"), "block_sparse_moe.experts.{e}"),
    ),
    groups=(
        ROTATION,
        WINDOW_EVERYWHERE,
        experts(
            {"num_local_experts": "n_experts", "num_experts_per_tok": "n_chosen", "router_aux_loss_coef": "balance"},
            renormalise=True,
        ),
    ),
    defaults=LLAMA.defaults | {
        "rms_norm_eps": 1e-5, "max_position_embeddings": 131072, "num_key_value_heads": 8, "rope_theta": 1e6,
        "num_local_experts": 8, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.001, "sliding_window": None,
    },
    aliases={"num_experts": "num_local_experts"},
)  # fmt: skip
# What the others have no words for: its key "experts" is an ExpertsConfig, and experts lie in one tensor as here.
TFM_EXPERTS = Family(
    architecture="TfmExpertsForCausalLM",
    model_type="tfm_experts",
    fields=LLAMA.fields,
    required=LLAMA.required,
    tensors=(
        *LLAMA_TENSORS,
        weight("mlp.router", "mlp.router", None, "experts"),
        weight("mlp.experts.gate_up", "mlp.up", None, "experts"),
        weight("mlp.experts.down", "mlp.down", None, "experts"),
        weight("mlp.shared.gate_up", "mlp.shared.gate_up", None, "shared"),
        weight("mlp.shared.down", "mlp.shared.down", None, "shared"),
        weight("mlp.shared_gate", "mlp.shared_gate", None, "shared_gate"),
    ),
    groups=(ROTATION, OWN_EXPERTS),
    defaults=LLAMA.defaults,
)
QWEN2_MOE = Family(
    architecture="Qwen2MoeForCausalLM",
    model_type="qwen2_moe",
    fields=SIZES | {"qkv_bias": "qkv_bias"},
    required=SILU,
    tensors=(*LLAMA_TENSORS, ROUTER, *OF_EXPERTS, *SHARED),
    groups=(
        ROTATION,
        QWEN2_MOE_WINDOWS,
        experts(
            COUNTS | {"norm_topk_prob": "renormalise", "shared_expert_intermediate_size": "d_shared"},
            "moe_intermediate_size", sparse_step=True,
        ),
    ),
    defaults=QWEN2.defaults | {
        "num_key_value_heads": 16, "qkv_bias": True, "num_experts": 60, "num_experts_per_tok": 4,
        "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632, "norm_topk_prob": False,
        "router_aux_loss_coef": 0.001, "decoder_sparse_step": 1, "mlp_only_layers": None,
    },
)  # fmt: skip
QWEN3_MOE = Family(
    architecture="Qwen3MoeForCausalLM",
    model_type="qwen3_moe",
    fields=QWEN3.fields,
    required=SILU,
    tensors=(*LLAMA_TENSORS, *QK_NORMS, ROUTER, *OF_EXPERTS),
    groups=(
        ROTATION,
        WINDOW_IF_USED,
        experts(COUNTS | {"norm_topk_prob": "renormalise"}, "moe_intermediate_size", sparse_step=True),
    ),
    constants=QWEN3.constants,
    defaults=QWEN2.defaults | {
        "num_key_value_heads": 4, "attention_bias": False, "num_experts": 128, "num_experts_per_tok": 8,
        "moe_intermediate_size": 768, "norm_topk_prob": False, "router_aux_loss_coef": 0.001,
        "decoder_sparse_step": 1, "mlp_only_layers": None,
    },
    aliases={"num_local_experts": "num_experts"},
    harmless=frozenset({"max_window_layers"}),  # its windows, where there are any, are in every layer
)  # fmt: skip
OLMOE = Family(
    architecture="OlmoeForCausalLM",
    model_type="olmoe",
    fields=SIZES | {"attention_bias": "attention_bias"},
    required=SILU | {"clip_qkv": (None,)},
    tensors=(*BESIDE_LAYERS, *NORMS_BEFORE, *ATTENTION, *QK_NORMS, ROUTER, *OF_EXPERTS),
    groups=(ROTATION, experts(COUNTS | {"norm_topk_prob": "renormalise"})),
    constants={"qk_norm": "width"},
    defaults={
        "rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "tie_word_embeddings": False, "attention_bias": False,
        "num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": False, "router_aux_loss_coef": 0.01,
        "bos_token_id": None, "eos_token_id": 50279,
    },
    aliases={"num_local_experts": "num_experts"},
)  # fmt: skip

ROWS = (MIXTRAL, TFM_EXPERTS, QWEN2_MOE, QWEN3_MOE, OLMOE)

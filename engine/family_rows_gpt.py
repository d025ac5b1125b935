"""Rows of the table of families: GPT-2 and those after it with layer norms, biases and an ungated feed-forward part.
Torch-free."""

from engine.family import Family, TensorRule
from engine.family_keys import FOUR_TIMES, INNER, activation
from engine.family_rows import Rules, weight_and_bias
from engine.rope_keys import rotation

CONSTANTS = {"norm": "layer", "attention_bias": True, "mlp_bias": True}


def _outside(theirs: str, ours: str) -> Rules:
    """The weight and the bias of a norm outside of the layers."""
    return TensorRule(f"{theirs}.weight", f"{ours}.weight"), TensorRule(f"{theirs}.bias", f"{ours}.bias")


GPT2_LAYER = "transformer.h."
GPT2 = Family(
    architecture="GPT2LMHeadModel",
    model_type="gpt2",
    fields={
        "vocab_size": "vocab_size",
        "n_embd": "d_model",
        "n_layer": "n_layers",
        "n_head": "n_heads",
        "n_positions": "max_positions",
        "layer_norm_epsilon": "norm_eps",
        "tie_word_embeddings": "tie_embeddings",
    },
    required={
        "scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False,), "add_cross_attention": (False,),
    },
    tensors=(
        TensorRule("transformer.wte.weight", "embedding.weight"),
        TensorRule("transformer.wpe.weight", "learned.weight"),
        *_outside("transformer.ln_f", "norm"),
        TensorRule("lm_head.weight", "head.weight"),
        *weight_and_bias("ln_1", "attention_norm", layers=GPT2_LAYER),
        *weight_and_bias("ln_2", "mlp_norm", layers=GPT2_LAYER),
        *weight_and_bias("attn.c_attn", "attention.qkv", form="transposed", layers=GPT2_LAYER),
        *weight_and_bias("attn.c_proj", "attention.out", form="transposed", layers=GPT2_LAYER),
        *weight_and_bias("mlp.c_fc", "mlp.up", form="transposed", layers=GPT2_LAYER),
        *weight_and_bias("mlp.c_proj", "mlp.down", form="transposed", layers=GPT2_LAYER),
    ),
    groups=(INNER, activation("activation_function")),
    constants=CONSTANTS | {"positions": "learned"},
    defaults={
        "n_positions": 1024, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True, "activation_function": "gelu_new",
        "bos_token_id": 50256, "eos_token_id": 50256,
    },
    aliases={
        "hidden_size": "n_embd", "max_position_embeddings": "n_positions", "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    },
    harmless=frozenset({
        "n_ctx", "resid_pdrop", "embd_pdrop", "attn_pdrop", "reorder_and_upcast_attn", "gradient_checkpointing",
        "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
    }),
    prefix="transformer.",
    spare=(".attn.bias", ".attn.masked_bias"),  # the causal mask
)  # fmt: skip
NEOX_LAYER = "gpt_neox.layers."
GPT_NEOX = Family(
    architecture="GPTNeoXForCausalLM",
    model_type="gpt_neox",
    fields={
        "vocab_size": "vocab_size",
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "d_ff",
        "max_position_embeddings": "max_positions",
        "layer_norm_eps": "norm_eps",
        "tie_word_embeddings": "tie_embeddings",
        "attention_bias": "attention_bias",
        "use_parallel_residual": "parallel",
    },
    required={"is_decoder": (False, True, None)},
    tensors=(
        TensorRule("gpt_neox.embed_in.weight", "embedding.weight"),
        *_outside("gpt_neox.final_layer_norm", "norm"),
        TensorRule("embed_out.weight", "head.weight"),
        *weight_and_bias("input_layernorm", "attention_norm", layers=NEOX_LAYER),
        *weight_and_bias("post_attention_layernorm", "mlp_norm", layers=NEOX_LAYER),
        *weight_and_bias("attention.query_key_value", "attention.qkv", form="interleaved", layers=NEOX_LAYER),
        *weight_and_bias("attention.dense", "attention.out", layers=NEOX_LAYER),
        *weight_and_bias("mlp.dense_h_to_4h", "mlp.up", layers=NEOX_LAYER),
        *weight_and_bias("mlp.dense_4h_to_h", "mlp.down", layers=NEOX_LAYER),
    ),
    groups=(rotation("rotary_emb_base", "rotary_pct"), activation("hidden_act")),
    constants={k: v for k, v in CONSTANTS.items() if k != "attention_bias"},
    defaults={
        "max_position_embeddings": 2048, "layer_norm_eps": 1e-5, "tie_word_embeddings": False, "attention_bias": True,
        "use_parallel_residual": True, "rotary_pct": 0.25, "rotary_emb_base": 10000.0, "hidden_act": "gelu",
        "bos_token_id": 0, "eos_token_id": 2,
    },
    harmless=frozenset({"classifier_dropout"}),
    spare=("embed_out.weight", ".attention.bias", ".attention.masked_bias"),  # a tied head, the causal mask
)  # fmt: skip
BLOOM_LAYER = "transformer.h."
BLOOM = Family(
    architecture="BloomForCausalLM",
    model_type="bloom",
    fields={
        "vocab_size": "vocab_size",
        "hidden_size": "d_model",
        "n_layer": "n_layers",
        "n_head": "n_heads",
        "seq_length": "max_positions",
        "layer_norm_epsilon": "norm_eps",
        "tie_word_embeddings": "tie_embeddings",
    },
    required={"apply_residual_connection_post_layernorm": (False, None), "slow_but_exact": (False, None)},
    tensors=(
        TensorRule("transformer.word_embeddings.weight", "embedding.weight"),
        *_outside("transformer.word_embeddings_layernorm", "embedding_norm"),
        *_outside("transformer.ln_f", "norm"),
        TensorRule("lm_head.weight", "head.weight"),
        *weight_and_bias("input_layernorm", "attention_norm", layers=BLOOM_LAYER),
        *weight_and_bias("post_attention_layernorm", "mlp_norm", layers=BLOOM_LAYER),
        *weight_and_bias("self_attention.query_key_value", "attention.qkv", form="interleaved", layers=BLOOM_LAYER),
        *weight_and_bias("self_attention.dense", "attention.out", layers=BLOOM_LAYER),
        *weight_and_bias("mlp.dense_h_to_4h", "mlp.up", layers=BLOOM_LAYER),
        *weight_and_bias("mlp.dense_4h_to_h", "mlp.down", layers=BLOOM_LAYER),
    ),
    groups=(FOUR_TIMES,),
    constants=CONSTANTS | {"positions": "alibi", "embedding_norm": True, "activation": "gelu_tanh"},
    defaults={
        "seq_length": 2048, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True, "bos_token_id": 1,
        "eos_token_id": 2,
    },
    aliases={"n_embed": "hidden_size", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    harmless=frozenset({
        "attention_softmax_in_fp32", "bias_dropout_fusion", "masked_softmax_fusion", "offset_alibi", "pretraining_tp",
        "skip_bias_add", "skip_bias_add_qkv",
    }),
    prefix="transformer.",
)  # fmt: skip

ROWS = (GPT2, GPT_NEOX, BLOOM)

"""Rewrite tests/goldens/llama: what transformers computes for tiny Llama models whose weights are a formula.

    python scripts/make_goldens.py            needs the development dependency transformers; no network

Each golden is a JSON file: config (a config.json, as a stranger would have it), ids, rows and logits (of some
positions of one pass over ids), prompt and greedy (what `generate` continues it with). Review the diff of a rerun:
it says that transformers, or the formula, has changed.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "engine"))

import formula  # noqa: E402  (lies beside the tests that use it)

TARGET = ROOT / "tests" / "goldens" / "llama"
BASE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
    "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 96, "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2, "attention_bias": False, "mlp_bias": False,
}  # fmt: skip
LONG_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 24}
YARN = {"factor": 4.0, "original_max_position_embeddings": 24}


def old(theta: float, **scaling: Any) -> dict[str, Any]:
    """The form that transformers wrote before version 5."""
    return {"rope_theta": theta, "rope_scaling": scaling}


def new(theta: float, **scaling: Any) -> dict[str, Any]:
    """The form that transformers writes since version 5."""
    return {"rope_parameters": {"rope_theta": theta, **scaling}}


CASES: dict[str, dict[str, Any]] = {
    "mha-untied": {"num_key_value_heads": 4},
    "mha-kv-heads-not-said": {"num_key_value_heads": None},
    "gqa-untied": {},
    "gqa-tied": {"tie_word_embeddings": True},
    "mqa-tied": {"num_key_value_heads": 1, "tie_word_embeddings": True},
    "mqa-untied": {"num_key_value_heads": 1},
    "attention-bias": {"attention_bias": True},
    "mlp-bias": {"mlp_bias": True},
    "both-biases-tied": {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    "wide-heads": {"head_dim": 16},
    "narrow-heads-mha-bias": {"head_dim": 4, "num_key_value_heads": 4, "attention_bias": True},
    "eps-and-theta-old": {"rms_norm_eps": 1e-2, "rope_theta": 500.0},
    "rope-default-old": {"rope_theta": 300.0, "rope_scaling": None},
    "rope-default-new": new(300.0, rope_type="default"),
    "rope-linear-old": old(100.0, type="linear", factor=4.0),
    "rope-linear-new": new(100.0, rope_type="linear", factor=4.0),
    "rope-dynamic-old": old(100.0, type="dynamic", factor=2.0) | {"max_position_embeddings": 24},
    "rope-dynamic-new": new(100.0, rope_type="dynamic", factor=3.0) | {"max_position_embeddings": 24},
    "rope-dynamic-within": new(100.0, rope_type="dynamic", factor=3.0),
    "rope-yarn-old": old(100.0, type="yarn", **YARN) | LONG_HEADS,
    "rope-yarn-new": new(100.0, rope_type="yarn", **YARN) | LONG_HEADS,
    "rope-yarn-attention-factor": new(100.0, rope_type="yarn", attention_factor=1.3, **YARN) | LONG_HEADS,
    "rope-yarn-mscale": new(100.0, rope_type="yarn", mscale=0.707, mscale_all_dim=1.5, **YARN) | LONG_HEADS,
    "rope-yarn-mscale-alone": new(100.0, rope_type="yarn", mscale=0.707, **YARN) | LONG_HEADS,
    "rope-yarn-untruncated": new(100.0, rope_type="yarn", truncate=False, **YARN) | LONG_HEADS,
    "rope-yarn-betas": old(100.0, rope_type="yarn", beta_fast=8.0, beta_slow=0.5, **YARN) | LONG_HEADS,
    "rope-llama3-old": old(500.0, rope_type="llama3", **LLAMA3) | LONG_HEADS,
    "rope-llama3-new-tied": new(500.0, rope_type="llama3", **LLAMA3) | LONG_HEADS | {"tie_word_embeddings": True},
}  # fmt: skip


def config_of(case: str) -> dict[str, Any]:
    """The config.json of a case; a value of None says that the key is left out."""
    return {key: value for key, value in (BASE | CASES[case]).items() if value is not None}


def reference(config: dict[str, Any]) -> Any:
    """transformers' model of this config with the formula's weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig.from_dict(dict(config)))
    missing, unexpected = model.load_state_dict(formula.tensors(config), strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise SystemExit(f"the formula's tensors are not transformers': {missing} {unexpected}")
    model.tie_weights()
    return model.eval()


@torch.no_grad()
def golden(case: str) -> dict[str, Any]:
    """One golden, from transformers in float32."""
    config = config_of(case)
    model = reference(config)
    ids = [1, *torch.randint(3, 64, (59,), generator=torch.Generator().manual_seed(len(case))).tolist()]
    rows = [0, 1, 7, 23, 24, 40, 59]
    logits = model(torch.tensor([ids])).logits[0]
    prompt = ids[:8]
    # Dynamic angles change past the maximum: with a cache (as generate has) they are no longer those of one pass.
    count = 14 if config["max_position_embeddings"] == 24 else 40
    tokens = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), max_new_tokens=count,
        min_new_tokens=count, do_sample=False, pad_token_id=0,
    )  # fmt: skip
    return {
        "config": config, "ids": ids, "rows": rows,
        "logits": [[round(x, 6) for x in logits[row].tolist()] for row in rows],
        "prompt": prompt, "greedy": tokens[0, len(prompt) :].tolist(),
    }  # fmt: skip


def main() -> None:
    """Write every golden, and remove those whose case is gone."""
    torch.set_num_threads(1)
    TARGET.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        lines = ",\n".join(f'  "{key}": {json.dumps(value)}' for key, value in golden(case).items())
        (TARGET / f"{case}.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    for path in TARGET.glob("*.json"):
        if path.stem not in CASES:
            path.unlink()


if __name__ == "__main__":
    main()

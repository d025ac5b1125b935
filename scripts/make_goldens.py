"""Rewrite tests/goldens: what transformers computes for tiny models whose weights are a formula.

    python scripts/make_goldens.py            needs the development dependency transformers; no network

Each golden is a JSON file: config (a config.json, as a stranger would have it), ids, rows and logits (of some
positions of one pass over ids), prompt and greedy (what `generate` continues it with). llama/ has the cases below,
families/ those of tests/engine/family_cases.py, with the shapes of their tensors. Review the diff of a rerun: it says
that transformers, or the formula, has changed.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "engine"))

import family_cases  # noqa: E402  (lies beside the tests that use it)
import formula  # noqa: E402

TARGET = ROOT / "tests" / "goldens"
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


def golden_of_family(case: str) -> dict[str, Any]:
    """One golden of another family than Llama, with the names and shapes of the tensors that transformers stores."""
    import transformers
    from safetensors.torch import load_file, save_file

    config = family_cases.CASES[case]
    architecture = getattr(transformers, config["architectures"][0])
    with tempfile.TemporaryDirectory() as place:
        stored = Path(place) / "model.safetensors"
        shape = architecture.config_class.from_dict(deepcopy(config))  # a copy, for it is changed
        architecture(shape).save_pretrained(place)
        shapes = {name: tuple(tensor.shape) for name, tensor in load_file(stored).items()}
        save_file({n: formula.tensor(n, shape) for n, shape in shapes.items()}, stored, {"format": "pt"})
        (Path(place) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (Path(place) / "generation_config.json").unlink()
        model, loaded = architecture.from_pretrained(place, dtype=torch.float32, output_loading_info=True)
    if any(loaded[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        raise SystemExit(f"{case}: the formula's tensors are not transformers': {loaded}")
    return computed(model.eval(), config, len(case), 64, 48) | {"tensors": shapes}


def golden_of_llama(case: str) -> dict[str, Any]:
    """One golden of a Llama."""
    config = config_of(case)
    # Dynamic angles change past the maximum: with a cache (as generate has) they are no longer those of one pass.
    return computed(reference(config), config, len(case), 60, 14 if config["max_position_embeddings"] == 24 else 40)


@torch.no_grad()
def computed(model: Any, config: dict[str, Any], seed: int, length: int, count: int) -> dict[str, Any]:
    """What transformers makes of `length` random ids, and the `count` tokens after the first of them; in float32."""
    generator = torch.Generator().manual_seed(seed)
    ids = [1, *torch.randint(3, config["vocab_size"], (length - 1,), generator=generator).tolist()]
    rows = [0, 1, 7, 23, 24, 40, length - 1]
    logits = model(torch.tensor([ids])).logits[0]
    prompt = ids[:8]
    tokens = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), max_new_tokens=count,
        min_new_tokens=count, do_sample=False, pad_token_id=0,
    )  # fmt: skip
    return {
        "config": config, "ids": ids, "rows": rows,
        "logits": [[round(x, 6) for x in logits[row].tolist()] for row in rows],
        "prompt": prompt, "greedy": tokens[0, len(prompt) :].tolist(),
    }  # fmt: skip


def write_all(directory: Path, cases: Iterable[str], golden: Callable[[str], dict[str, Any]]) -> None:
    """Write every golden of a directory, and remove those whose case is gone."""
    directory.mkdir(parents=True, exist_ok=True)
    for case in cases:
        lines = ",\n".join(f'  "{key}": {json.dumps(value)}' for key, value in golden(case).items())
        (directory / f"{case}.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    for path in directory.glob("*.json"):
        if path.stem not in cases:
            path.unlink()


def main() -> None:
    """Write every golden."""
    torch.set_num_threads(1)
    write_all(TARGET / "llama", CASES, golden_of_llama)
    write_all(TARGET / "families", family_cases.CASES, golden_of_family)


if __name__ == "__main__":
    main()

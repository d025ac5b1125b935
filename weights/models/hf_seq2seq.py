"""The table of encoder-decoders in Hugging Face's layout: config keys, tensor names, and how they are loaded.

A sibling of engine/families.py, by the same rules: a new family is a row; a config key that is neither read, nor
checked, nor known to be harmless is an error that names it, and so is a tensor too few or too many. What a family
computes is told by a Seq2SeqConfig, so there is one model for all (T5: Raffel 2019; BART: Lewis 2019; mBART: Liu
2020; Marian: Junczys-Dowmunt 2018).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.checkpoint import files_of_tensors, fill_parameters, load_generation_config, open_tensors, read_json
from engine.errors import CheckpointError
from engine.family import HARMLESS, Placement, TensorRule
from weights.models.config import Seq2SeqConfig
from weights.models.generation import GENERATION_KEYS
from weights.models.seq2seq import Seq2Seq

# Keys that are of training, of another program or of another head, and change no logit.
OF_SEQ2SEQ = (HARMLESS - {"head_dim", "rope_scaling", "rope_parameters", "rope_theta", "rope_interleaved"}) | {
    "activation_dropout", "attention_dropout", "classif_dropout", "classifier_dropout", "decoder_layerdrop", "dropout",
    "dropout_rate", "encoder_layerdrop", "gradient_checkpointing", "init_std", "initializer_factor", "is_gated_act",
    "dense_act_fn", "num_hidden_layers", "output_past", "_num_labels", "num_labels", "extra_pos_embeddings",
    "torchscript", "max_source_positions", "prefix",
}  # fmt: skip
ALWAYS = {"is_encoder_decoder": (True,), "is_decoder": (False,)}
ACTIVATIONS = {
    "relu": "relu", "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "silu": "silu",
    "swish": "silu",
}  # fmt: skip


@dataclass(frozen=True)
class Seq2SeqFamily:
    """How one HF architecture is read. Names in it are HF's but for the fields of Seq2SeqConfig."""

    architecture: str
    fields: Mapping[str, str]  # key -> field
    choices: Mapping[str, tuple[str, Mapping[Any, Any]]]  # key -> field, and what each value of the key means
    fixed: Mapping[str, Any]  # fields that are alike in all models of the family
    required: Mapping[str, tuple[Any, ...]]  # key -> the values that are computed here
    same: Mapping[str, str]  # key -> another key that must have its value: both sides are built alike
    defaults: Mapping[str, Any]  # what HF assumes when a config does not say
    tensors: tuple[TensorRule, ...]
    embedding: str  # of source and target
    copies: tuple[str, ...]  # other names that the embedding may be stored by
    ignored: tuple[str, ...] = ()  # ends of names of tensors that change nothing
    skipped_positions: int = 0  # first rows of learned positions that no position has


def _attention(theirs: str, ours: str, names: tuple[str, str, str, str], parts: str) -> tuple[TensorRule, ...]:
    """Weight and bias of the four projections; parts: "qkv", or "kv" where queries have a matrix of their own."""
    q, k, v, out = names
    placed = {k: (ours + "." + parts, (parts, len(parts) - 2)), v: (ours + "." + parts, (parts, len(parts) - 1)),
              out: (f"{ours}.out", None)}  # fmt: skip
    placed[q] = (f"{ours}.qkv", ("qkv", 0)) if parts == "qkv" else (f"{ours}.q", None)
    return tuple(
        TensorRule(f"{theirs}.{name}.{kind}", f"{matrix}.{kind}", part)
        for name, (matrix, part) in placed.items()
        for kind in ("weight", "bias")
    )


def _both(theirs: str, ours: str) -> tuple[TensorRule, TensorRule]:
    """Weight and bias of one module."""
    return TensorRule(f"{theirs}.weight", f"{ours}.weight"), TensorRule(f"{theirs}.bias", f"{ours}.bias")


def _t5_side(side: str) -> tuple[TensorRule, ...]:
    """The tensors of T5's encoder or decoder."""
    names = ("q", "k", "v", "o")
    base, ours = f"{side}.block.{{i}}.layer", f"{side}.blocks.{{i}}"
    last = 2 if side == "decoder" else 1
    cross = () if side == "encoder" else (
        *_attention(f"{base}.1.EncDecAttention", f"{ours}.cross", names, "kv"),
        TensorRule(f"{base}.1.layer_norm.weight", f"{ours}.cross_norm.weight"),
    )  # fmt: skip
    return (
        *_attention(f"{base}.0.SelfAttention", f"{ours}.attention", names, "qkv"),
        TensorRule(f"{base}.0.layer_norm.weight", f"{ours}.attention_norm.weight"),
        TensorRule(f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight", f"{side}.relative.weight"),
        *cross,
        TensorRule(f"{base}.{last}.layer_norm.weight", f"{ours}.mlp_norm.weight"),
        TensorRule(f"{base}.{last}.DenseReluDense.wi.weight", f"{ours}.mlp.up.weight"),
        TensorRule(f"{base}.{last}.DenseReluDense.wi_0.weight", f"{ours}.mlp.gate_up.weight", ("gate_up", 0)),
        TensorRule(f"{base}.{last}.DenseReluDense.wi_1.weight", f"{ours}.mlp.gate_up.weight", ("gate_up", 1)),
        TensorRule(f"{base}.{last}.DenseReluDense.wo.weight", f"{ours}.mlp.down.weight"),
        TensorRule(f"{side}.final_layer_norm.weight", f"{side}.norm.weight"),
    )


def _bart_side(side: str) -> tuple[TensorRule, ...]:
    """The tensors of an encoder or decoder of BART, mBART or Marian; those that a config has no use for fall away."""
    names = ("q_proj", "k_proj", "v_proj", "out_proj")
    base, ours = f"model.{side}.layers.{{i}}", f"{side}.blocks.{{i}}"
    cross = () if side == "encoder" else (
        *_attention(f"{base}.encoder_attn", f"{ours}.cross", names, "kv"),
        *_both(f"{base}.encoder_attn_layer_norm", f"{ours}.cross_norm"),
    )  # fmt: skip
    return (
        *_attention(f"{base}.self_attn", f"{ours}.attention", names, "qkv"),
        *_both(f"{base}.self_attn_layer_norm", f"{ours}.attention_norm"),
        *cross,
        *_both(f"{base}.final_layer_norm", f"{ours}.mlp_norm"),
        *_both(f"{base}.fc1", f"{ours}.mlp.up"),
        *_both(f"{base}.fc2", f"{ours}.mlp.down"),
        TensorRule(f"model.{side}.embed_positions.weight", f"{side}.learned.weight"),
        *_both(f"model.{side}.layernorm_embedding", f"{side}.embedding_norm"),
        *_both(f"model.{side}.layer_norm", f"{side}.norm"),
    )


T5 = Seq2SeqFamily(
    architecture="T5ForConditionalGeneration",
    fields={
        "vocab_size": "vocab_size", "d_model": "d_model", "num_layers": "n_encoder_layers",
        "num_decoder_layers": "n_decoder_layers", "num_heads": "n_heads", "d_kv": "head_dim", "d_ff": "d_ff",
        "n_positions": "max_positions", "layer_norm_epsilon": "norm_eps", "eos_token_id": "eos_id",
        "relative_attention_num_buckets": "n_buckets", "relative_attention_max_distance": "max_distance",
        "pad_token_id": "pad_id", "decoder_start_token_id": "bos_id",
    },
    # Whether the head is scaled is told by a key of its own, and by older programs with tie_word_embeddings; whether
    # it is tied is told by the tensors, as `load_seq2seq` has it.
    choices={
        "feed_forward_proj": ("activation", ACTIVATIONS | {"gated-gelu": "geglu_tanh", "gated-silu": "swiglu"}),
        "tie_word_embeddings": ("head_scale", {True: True, False: False}),
        "scale_decoder_outputs": ("head_scale", {True: True, False: False}),
    },
    fixed={"norm": "rms", "norm_place": "before", "positions": "relative", "score": "dot", "embedding_scale": "none"},
    required={},
    same={},
    defaults={
        "n_positions": 512, "layer_norm_epsilon": 1e-6, "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128, "eos_token_id": 1, "pad_token_id": 0, "decoder_start_token_id": 0,
        "feed_forward_proj": "relu", "tie_word_embeddings": True,
    },
    tensors=(*_t5_side("encoder"), *_t5_side("decoder")),
    embedding="shared.weight",
    copies=("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"),
    ignored=("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",),
)  # fmt: skip

BART = Seq2SeqFamily(
    architecture="BartForConditionalGeneration",
    fields={
        "vocab_size": "vocab_size", "d_model": "d_model", "encoder_layers": "n_encoder_layers",
        "decoder_layers": "n_decoder_layers", "encoder_attention_heads": "n_heads", "encoder_ffn_dim": "d_ff",
        "max_position_embeddings": "max_positions", "tie_word_embeddings": "tie_embeddings",
        "eos_token_id": "eos_id", "pad_token_id": "pad_id", "decoder_start_token_id": "bos_id",
    },
    choices={
        "activation_function": ("activation", ACTIVATIONS),
        "scale_embedding": ("embedding_scale", {True: "tokens", False: "none"}),
    },
    fixed={
        "norm": "layer", "norm_place": "after", "positions": "learned", "attention_bias": True, "mlp_bias": True,
        "embedding_norm": True, "head_bias": True,
    },
    required={
        "normalize_before": (False,), "normalize_embedding": (True,), "add_final_layer_norm": (False,),
        "static_position_embeddings": (False,), "add_bias_logits": (False,),
    },
    same={"decoder_ffn_dim": "encoder_ffn_dim", "decoder_attention_heads": "encoder_attention_heads"},
    defaults={
        "max_position_embeddings": 1024, "activation_function": "gelu", "scale_embedding": False, "eos_token_id": 2,
        "pad_token_id": 1, "decoder_start_token_id": 2, "tie_word_embeddings": True,
    },
    tensors=(*_bart_side("encoder"), *_bart_side("decoder"), TensorRule("final_logits_bias", "head_bias")),
    embedding="model.shared.weight",
    copies=("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"),
    ignored=("coder.version",),
    skipped_positions=2,
)  # fmt: skip

MBART = replace(
    BART,
    architecture="MBartForConditionalGeneration",
    fixed={**BART.fixed, "norm_place": "before"},
    required={**BART.required, "normalize_before": (True,), "add_final_layer_norm": (True,)},
)

MARIAN = replace(
    BART,
    architecture="MarianMTModel",
    fixed={**BART.fixed, "positions": "sinusoidal_halves", "embedding_norm": False},
    required={
        **BART.required, "normalize_embedding": (False,), "static_position_embeddings": (True,),
        "share_encoder_decoder_embeddings": (True,),
    },
    same={**BART.same, "decoder_vocab_size": "vocab_size"},
    defaults={**BART.defaults, "eos_token_id": 0, "pad_token_id": 58100, "decoder_start_token_id": 58100},
    ignored=("embed_positions.weight",),  # the sinusoids, which are computed
)  # fmt: skip

SEQ2SEQ_FAMILIES: dict[str, Seq2SeqFamily] = {f.architecture: f for f in (T5, BART, MBART, MARIAN)}
HEAD = "lm_head.weight"


def read_seq2seq_config(raw: Mapping[str, Any]) -> Seq2SeqConfig:
    """A Seq2SeqConfig from the contents of a config.json of one of the families.

    Raises CheckpointError for a missing or impossible value, and for a key that would change the result.
    """
    family = SEQ2SEQ_FAMILIES[raw["architectures"][0]]
    _check_keys(raw, family)
    told = {**family.defaults, **{key: value for key, value in raw.items() if value is not None}}
    if family is T5:
        told.setdefault("num_decoder_layers", told.get("num_layers"))
    values = dict(family.fixed)
    for key, (ours, meanings) in family.choices.items():
        if key in told:
            values[ours] = _chosen(key, told[key], meanings)
    for key, ours in family.fields.items():
        if told.get(key) is None:
            raise CheckpointError(f"config.json: {key} is missing.")
        values[ours] = told[key]
    eos = values["eos_id"]
    values["eos_id"] = eos[0] if isinstance(eos, list) and len(eos) == 1 else eos
    values["n_kv_heads"] = heads = values["n_heads"]
    for ours in ("d_model", "n_heads"):
        if not isinstance(values[ours], int) or values[ours] < 1:
            raise CheckpointError(f"config: {ours} must be a whole number of at least 1, not {values[ours]!r}.")
    if values.setdefault("head_dim", values["d_model"] // heads) * heads != values["d_model"] and family is not T5:
        raise CheckpointError(f"config.json: {heads} heads do not divide d_model {values['d_model']}.")
    return Seq2SeqConfig(**values)


def _chosen(key: str, value: Any, meanings: Mapping[Any, Any]) -> Any:
    if not isinstance(value, (str, bool)) or value not in meanings:
        raise CheckpointError(f"config.json: {key} = {value!r} is not supported; {', '.join(map(str, meanings))} are.")
    return meanings[value]


def _check_keys(raw: Mapping[str, Any], family: Seq2SeqFamily) -> None:
    """Raise CheckpointError for a key that may change the result, or has a value that is not computed here."""
    required = {**ALWAYS, **family.required}
    known = OF_SEQ2SEQ | GENERATION_KEYS | set(family.fields) | set(family.choices) | set(required) | set(family.same)
    for key, value in raw.items():
        if value is None:
            continue
        if key not in known:
            raise CheckpointError(f"config.json: {key} = {value!r} is not supported and may change the result.")
        if key in required and value not in required[key]:
            raise CheckpointError(f"config.json: {key} = {value!r} is not supported; {required[key][0]!r} is.")
        other = family.same.get(key)
        if other is not None and other in raw and raw[other] != value:
            raise CheckpointError(f"config.json: {key} {value!r} and {other} {raw[other]!r} differ; they must not.")


def seq2seq_placements(family: Seq2SeqFamily, config: Seq2SeqConfig) -> Iterator[Placement]:
    """Every tensor of a checkpoint of this shape, the head among them where it is not tied."""
    shape = config.layers(max(config.n_encoder_layers, config.n_decoder_layers))
    parts = {"qkv": shape.qkv_rows, "kv": shape.qkv_rows[1:], "gate_up": (config.d_ff, config.d_ff)}
    yield Placement(family.embedding, "embedding.weight", None)
    if not config.tie_embeddings:
        yield Placement(HEAD, "head.weight", None)
    for rule in family.tensors:
        if not _has(rule.ours, config):
            continue
        rows = None
        if rule.part is not None:
            sizes, index = parts[rule.part[0]], rule.part[1]
            rows = slice(sum(sizes[:index]), sum(sizes[: index + 1]))
        layers = config.n_encoder_layers if rule.ours.startswith("encoder.") else config.n_decoder_layers
        skip = family.skipped_positions if rule.ours.endswith("learned.weight") else 0
        for i in range(layers if "{i}" in rule.ours else 1):
            yield Placement(rule.theirs.format(i=i), rule.ours.format(i=i), rows, skip)


def _has(ours: str, config: Seq2SeqConfig) -> bool:
    """Whether a model of this config has the parameter that a rule names."""
    module = ours.split(".")[-2] if "." in ours else ours
    has = {
        "learned": config.positions == "learned", "embedding_norm": config.embedding_norm,
        "norm": config.norm_place == "before", "head_bias": config.head_bias,
        "gate_up": config.activation in ("swiglu", "geglu_tanh"),
        "up": config.activation not in ("swiglu", "geglu_tanh"),
    }.get(module, True)  # fmt: skip
    if not ours.endswith(".bias") or "norm" in module:
        return has
    return has and (config.mlp_bias if ".mlp." in ours else config.attention_bias)


def load_seq2seq(directory: Path, dtype: torch.dtype = torch.float32) -> Seq2Seq:
    """The encoder-decoder of a directory in HF layout.

    Raises CheckpointError, by name, for a config that is not computed here and for a tensor that is missing, left
    over or of another shape. The head is tied unless the checkpoint has one that differs from the embedding.
    """
    raw = read_json(directory / "config.json")
    more = load_generation_config(directory)  # which transformers decodes by, where the two differ
    raw |= {key: more[key] for key in ("decoder_start_token_id", "eos_token_id") if more.get(key) is not None}
    config = read_seq2seq_config(raw)
    family = SEQ2SEQ_FAMILIES[raw["architectures"][0]]
    files = files_of_tensors(directory)
    stored = next((n for n in (family.embedding, *family.copies) if n in files), family.embedding)
    family = replace(family, embedding=stored)
    copies = {n for n in (*SEQ2SEQ_FAMILIES[family.architecture].copies, BART.embedding, T5.embedding) if n in files}
    for name in sorted(copies - {stored}):
        if not _equal(files, name, stored):
            raise CheckpointError(f"{directory}: {name} differs from {stored}; source and target share one embedding.")
    if HEAD in files and config.tie_embeddings and stored in files and not _equal(files, HEAD, stored):
        config = replace(config, tie_embeddings=False)
    wanted = list(islice(seq2seq_placements(family, config), len(files) + 2))  # a config may ask for a million layers
    if "final_logits_bias" not in files:
        wanted = [place for place in wanted if place.ours != "head_bias"]
    names = {place.theirs for place in wanted}
    if missing := sorted(names - set(files)):
        raise CheckpointError(f"{directory}: the tensor {missing[0]} is missing.")
    if spare := sorted(n for n in set(files) - names - copies - {HEAD} if not n.endswith(family.ignored or "\n")):
        raise CheckpointError(f"{directory}: the tensor {spare[0]} has no place in a {family.architecture}.")
    return _filled(config, wanted, files, dtype)


def _equal(files: Mapping[str, Path], one: str, other: str) -> bool:
    with open_tensors(files[one]) as first, open_tensors(files[other]) as second:
        return torch.equal(first.get_tensor(one), second.get_tensor(other))


def _filled(config: Seq2SeqConfig, wanted: list[Placement], files: Mapping[str, Path], dtype: torch.dtype) -> Seq2Seq:
    try:
        model = Seq2Seq(config).to(dtype)
    except (RuntimeError, TypeError, OverflowError) as e:
        raise CheckpointError("config.json: there is no memory for a model of this size.") from e
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    with torch.no_grad():
        if model.head_bias is not None:
            model.head_bias.zero_()  # what it is where it is not stored
    by_file: dict[Path, list[Placement]] = {}
    for place in wanted:
        by_file.setdefault(files[place.theirs], []).append(place)
    for path, places in by_file.items():
        fill_parameters(path, places, parameters)
    return model.eval().requires_grad_(False)

"""The table of encoders in Hugging Face's layout, with a masked-LM head: BERT, RoBERTa (Liu 2019), DistilBERT (Sanh
2019). By the rules of hf_seq2seq.py: rows, and an error that names every key or tensor that is not expected."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any

from engine.checkpoint import files_of_tensors, fill_parameters, read_json
from engine.errors import CheckpointError, TokenizerError
from engine.family import Placement, TensorRule
from weights.models.config import EncoderConfig
from weights.models.encoder import Encoder
from weights.models.hf_seq2seq import ACTIVATIONS, OF_SEQ2SEQ
from weights.models.hf_tokenizers import TextTokenizer, read_tokenizer
from weights.models.kinds import wrong_kind

HARMLESS = OF_SEQ2SEQ - {"prefix"} | {
    "attention_probs_dropout_prob", "hidden_dropout_prob", "qa_dropout", "seq_classif_dropout",
}  # fmt: skip
FIXED = {
    "positions": "learned", "norm": "layer", "norm_place": "after", "bias": True, "embedding_norm": True,
    "head_transform": True, "head_bias": True, "norm_eps": 1e-12,
}  # fmt: skip


@dataclass(frozen=True)
class EncoderFamily:
    """How one HF architecture is read. Names in it are HF's but for the fields of EncoderConfig."""

    architecture: str
    fields: Mapping[str, str]  # key -> field
    activation: str  # the key of the activation
    activations: Mapping[str, str]
    required: Mapping[str, tuple[Any, ...]]
    defaults: Mapping[str, Any]
    controls: tuple[str, str, str]  # what begins a text, what ends it, and the mask
    tensors: tuple[TensorRule, ...]
    unused: tuple[str, ...]  # copies of the embedding and of the head's bias, and the heads of other tasks
    counts_from_pad: bool = False  # positions begin after the padding id (RoBERTa)


def _both(*names: tuple[str, str, tuple[str, int] | None]) -> tuple[TensorRule, ...]:
    """Weight and bias of modules, by (HF's name, ours, part)."""
    kinds = ("weight", "bias")
    return tuple(TensorRule(f"{theirs}.{k}", f"{ours}.{k}", part) for theirs, ours, part in names for k in kinds)


def _layers(base: str, names: tuple[str, ...]) -> tuple[TensorRule, ...]:
    """The tensors of the blocks; names: HF's of query, key, value, out, norm, up, down, norm."""
    ours = (
        ("attention.qkv", ("qkv", 0)), ("attention.qkv", ("qkv", 1)), ("attention.qkv", ("qkv", 2)),
        ("attention.out", None), ("attention_norm", None), ("mlp.up", None), ("mlp.down", None), ("mlp_norm", None),
    )  # fmt: skip
    return _both(*((f"{base}.{{i}}.{n}", f"blocks.{{i}}.{o}", p) for n, (o, p) in zip(names, ours, strict=True)))


def _bert_body(base: str) -> tuple[TensorRule, ...]:
    """What BERT and RoBERTa have below the head."""
    return (
        TensorRule(f"{base}.embeddings.word_embeddings.weight", "embedding.weight"),
        TensorRule(f"{base}.embeddings.position_embeddings.weight", "learned.weight"),
        TensorRule(f"{base}.embeddings.token_type_embeddings.weight", "types.weight"),
        *_both((f"{base}.embeddings.LayerNorm", "embedding_norm", None)),
        *_layers(f"{base}.encoder.layer", (
            "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
            "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
        )),
    )  # fmt: skip


_FIELDS = {
    "vocab_size": "vocab_size", "hidden_size": "d_model", "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads", "intermediate_size": "d_ff", "max_position_embeddings": "max_positions",
    "type_vocab_size": "n_types", "layer_norm_eps": "norm_eps", "pad_token_id": "pad_id",
}  # fmt: skip
_PLAIN = {
    "is_decoder": (False,), "add_cross_attention": (False,), "position_embedding_type": ("absolute",),
    "tie_word_embeddings": (True,),
}  # fmt: skip

BERT = EncoderFamily(
    architecture="BertForMaskedLM",
    fields=_FIELDS,
    activation="hidden_act",
    activations=ACTIVATIONS,
    required=_PLAIN,
    defaults={"max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0},
    controls=("[CLS]", "[SEP]", "[MASK]"),
    tensors=(
        *_bert_body("bert"),
        *_both(
            ("cls.predictions.transform.dense", "transform.dense", None),
            ("cls.predictions.transform.LayerNorm", "transform.norm", None),
        ),
        TensorRule("cls.predictions.bias", "head_bias"),
    ),
    unused=(
        "cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "bert.pooler.dense.weight",
        "bert.pooler.dense.bias", "cls.seq_relationship.weight", "cls.seq_relationship.bias",
        "bert.embeddings.position_ids",
    ),
)  # fmt: skip

ROBERTA = EncoderFamily(
    architecture="RobertaForMaskedLM",
    fields=_FIELDS,
    activation="hidden_act",
    activations={"gelu": "gelu"},  # its head has gelu, whatever the blocks have
    required=_PLAIN,
    defaults={"max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 1},
    controls=("<s>", "</s>", "<mask>"),
    tensors=(
        *_bert_body("roberta"),
        *_both(("lm_head.dense", "transform.dense", None), ("lm_head.layer_norm", "transform.norm", None)),
        TensorRule("lm_head.bias", "head_bias"),
    ),
    unused=(
        "lm_head.decoder.weight", "lm_head.decoder.bias", "roberta.pooler.dense.weight", "roberta.pooler.dense.bias",
        "roberta.embeddings.position_ids",
    ),
    counts_from_pad=True,
)  # fmt: skip

DISTILBERT = EncoderFamily(
    architecture="DistilBertForMaskedLM",
    fields={
        "vocab_size": "vocab_size", "dim": "d_model", "n_layers": "n_layers", "n_heads": "n_heads",
        "hidden_dim": "d_ff", "max_position_embeddings": "max_positions", "pad_token_id": "pad_id",
    },
    activation="activation",
    activations=ACTIVATIONS,
    required={"sinusoidal_pos_embds": (False, True), "tie_word_embeddings": (True,), "tie_weights_": (True,)},
    defaults={"max_position_embeddings": 512, "pad_token_id": 0},
    controls=("[CLS]", "[SEP]", "[MASK]"),
    tensors=(
        TensorRule("distilbert.embeddings.word_embeddings.weight", "embedding.weight"),
        TensorRule("distilbert.embeddings.position_embeddings.weight", "learned.weight"),
        *_both(("distilbert.embeddings.LayerNorm", "embedding_norm", None)),
        *_layers("distilbert.transformer.layer", (
            "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm", "ffn.lin1",
            "ffn.lin2", "output_layer_norm",
        )),
        *_both(("vocab_transform", "transform.dense", None), ("vocab_layer_norm", "transform.norm", None)),
        TensorRule("vocab_projector.bias", "head_bias"),
    ),
    unused=("vocab_projector.weight", "distilbert.embeddings.position_ids"),
)  # fmt: skip

ENCODER_FAMILIES: dict[str, EncoderFamily] = {f.architecture: f for f in (BERT, ROBERTA, DISTILBERT)}


def read_hf_encoder_config(raw: Mapping[str, Any], tokenizer: TextTokenizer) -> EncoderConfig:
    """An EncoderConfig from the contents of a config.json; which tokens frame a text only the tokenizer knows.

    Raises CheckpointError for a missing or impossible value and for a key that would change the result, TokenizerError
    for a tokenizer without one of the control tokens.
    """
    family = ENCODER_FAMILIES[raw["architectures"][0]]
    known = HARMLESS | set(family.fields) | set(family.required) | {family.activation}
    for key, value in raw.items():
        if value is not None and key not in known:
            raise CheckpointError(f"config.json: {key} = {value!r} is not supported and may change the result.")
        if value is not None and key in family.required and value not in family.required[key]:
            raise CheckpointError(f"config.json: {key} = {value!r} is not supported; {family.required[key][0]!r} is.")
    values: dict[str, Any] = dict(FIXED)
    for key, ours in family.fields.items():
        value = raw.get(key) if raw.get(key) is not None else family.defaults.get(key)
        if value is None:
            raise CheckpointError(f"config.json: {key} is missing.")
        if ours != "norm_eps" and (not isinstance(value, int) or isinstance(value, bool)):
            raise CheckpointError(f"config.json: {key} must be a whole number, not {value!r}.")
        values[ours] = value
    named = raw.get(family.activation) or "gelu"
    if named not in family.activations:
        raise CheckpointError(
            f"config.json: {family.activation} = {named!r} is not supported; {', '.join(family.activations)} are."
        )
    heads = values["n_heads"]
    if heads < 1 or values["d_model"] % heads:
        raise CheckpointError(f"config.json: {heads} heads do not divide a width of {values['d_model']}.")
    if family.counts_from_pad:
        values["max_positions"] -= values["pad_id"] + 1
    for ours, name in zip(("cls_id", "sep_id", "mask_id"), family.controls, strict=True):
        values[ours] = tokenizer.control_id(name)
        if values[ours] is None:
            raise TokenizerError(f"The tokenizer has no control token {name}, which a {family.architecture} needs.")
    values |= {"activation": family.activations[named], "n_kv_heads": heads, "head_dim": values["d_model"] // heads}
    return EncoderConfig(**values)


def encoder_placements(family: EncoderFamily, config: EncoderConfig) -> Iterator[Placement]:
    """Every tensor of a checkpoint of this shape."""
    sizes = config.layers().qkv_rows
    for rule in family.tensors:
        rows = None
        if rule.part is not None:
            rows = slice(sum(sizes[: rule.part[1]]), sum(sizes[: rule.part[1] + 1]))
        skip = config.pad_id + 1 if family.counts_from_pad and rule.ours == "learned.weight" else 0
        for i in range(config.n_layers if "{i}" in rule.ours else 1):
            yield Placement(rule.theirs.format(i=i), rule.ours.format(i=i), rows, skip)


def load_hf_encoder(directory: Path) -> tuple[Encoder, TextTokenizer]:
    """Model (float32) and tokenizer of a directory in HF layout.

    Raises CheckpointError or TokenizerError, by name, for another architecture, for a config that is not computed
    here, and for a tensor that is missing, left over or of another shape.
    """
    raw = read_json(directory / "config.json")
    named = raw.get("architectures")
    name = named[0] if isinstance(named, list) and named else None
    if name not in ENCODER_FAMILIES:
        hint = f"One is a {' or a '.join(ENCODER_FAMILIES)}."
        raise wrong_kind(directory, name, "is no masked language model", hint)
    tokenizer = read_tokenizer(directory, "", 0)
    config = read_hf_encoder_config(raw, tokenizer)
    family = ENCODER_FAMILIES[name]
    # Old checkpoints call a norm's weight gamma and its bias beta.
    files = files_of_tensors(directory)
    renamed = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
    stored = {reduce(lambda name, pair: name.replace(*pair), renamed, n): n for n in files}
    wanted = list(islice(encoder_placements(family, config), len(files) + 1))  # a config may ask for a million layers
    names = {place.theirs for place in wanted}
    if missing := sorted(names - set(stored)):
        raise CheckpointError(f"{directory}: the tensor {missing[0]} is missing.")
    if spare := sorted(set(stored) - names - set(family.unused)):
        raise CheckpointError(f"{directory}: the tensor {spare[0]} has no place in a {name}.")
    model = Encoder(config)
    parameters = dict(model.named_parameters())
    for path in sorted(set(files.values())):
        places = [
            Placement(stored[p.theirs], p.ours, p.rows, p.skip) for p in wanted if files[stored[p.theirs]] == path
        ]
        fill_parameters(path, places, parameters)
    return model.eval().requires_grad_(False), tokenizer

"""weights/models/hf_encoder.py: other people's encoders give the logits of transformers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import TEXTS, edit
from safetensors.torch import load_file, save_file

from chat.cli import run_app
from engine.errors import CheckpointError, TokenizerError
from weights.models.hf_encoder import ENCODER_FAMILIES, encoder_placements, load_hf_encoder
from weights.models.kinds import COMMANDS

BERT: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
    "max_position_embeddings": 24,
}  # fmt: skip
DISTIL = {"dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 24, "max_position_embeddings": 24}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "BERT": ("BertForMaskedLM", BERT),
    "BERT gelu_new": ("BertForMaskedLM", {**BERT, "hidden_act": "gelu_new", "type_vocab_size": 3}),
    "RoBERTa": ("RobertaForMaskedLM", {**BERT, "type_vocab_size": 1, "pad_token_id": 1}),
    "DistilBERT": ("DistilBertForMaskedLM", DISTIL),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def make(kind: str, directory: Path) -> Any:
    """A random encoder with a tokenizer.json of its own; returns transformers' own model."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    if kind == "RoBERTa":
        tokenizer = tokenizers.ByteLevelBPETokenizer()
        tokenizer.train_from_iterator(
            TEXTS, 300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False
        )
    else:
        tokenizer = tokenizers.BertWordPieceTokenizer()
        tokenizer.train_from_iterator(TEXTS, 120, show_progress=False)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    name, options = KINDS[kind]
    model_class = getattr(transformers, name)
    model = model_class(model_class.config_class(**options, vocab_size=tokenizer.get_vocab_size()))
    generator = torch.Generator().manual_seed(len(kind))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + (parameter.dim() == 1))
    model.eval().save_pretrained(directory)
    return model


@kinds
def test_logits_are_those_of_transformers_with_padding_and_token_types(kind: str, tmp_path: Path) -> None:
    theirs = make(kind, tmp_path)
    ours, tokenizer = load_hf_encoder(tmp_path)
    config = ours.config
    rows = [[config.cls_id, *tokenizer.encode(t)[:18], config.sep_id] for t in ("The cat sleeps.", "A dog", "x " * 30)]
    width = max(map(len, rows))
    ids = torch.tensor([row + [config.pad_id] * (width - len(row)) for row in rows])
    real = ids != config.pad_id
    types = (torch.arange(width) % config.n_types).expand(3, -1) if config.n_types else None
    told = {} if types is None else {"token_type_ids": types}
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=real.long(), **told).logits
        found = ours(ids, types)
    assert expected[real].std() > 0.1
    torch.testing.assert_close(found[real], expected[real], atol=1e-4, rtol=0.0)


@kinds
def test_each_parameter_is_filled_once_and_wholly(kind: str, tmp_path: Path) -> None:
    make(kind, tmp_path)
    model, _ = load_hf_encoder(tmp_path)
    parameters = dict(model.named_parameters())
    filled: dict[str, list[int]] = {name: [] for name in parameters}
    for place in encoder_placements(ENCODER_FAMILIES[KINDS[kind][0]], model.config):
        rows = range(len(parameters[place.ours]))
        filled[place.ours] += rows if place.rows is None else rows[place.rows]
    assert all(sorted(rows) == list(range(len(parameters[name]))) for name, rows in filled.items())


def test_the_oldest_names_of_norms_and_the_other_heads_of_a_bert_are_known(tmp_path: Path) -> None:
    make("BERT", tmp_path)
    expected = load_hf_encoder(tmp_path)[0].state_dict()
    tensors = load_file(tmp_path / "model.safetensors")
    old = {n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): t for n, t in tensors.items()}
    old |= {"bert.pooler.dense.weight": torch.zeros(16, 16), "cls.seq_relationship.bias": torch.zeros(2)}
    save_file(old, tmp_path / "model.safetensors", {"format": "pt"})
    assert old.keys() != tensors.keys()
    found = load_hf_encoder(tmp_path)[0].state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("BERT", {"invented": 1}, "invented = 1 is not supported"), ("BERT", {"hidden_act": "mish"}, "hidden_act"),
        ("BERT", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("BERT", {"is_decoder": True}, "is_decoder = True"), ("BERT", {"hidden_size": None}, "hidden_size is missing"),
        ("BERT", {"num_attention_heads": 3}, "3 heads do not divide"), ("BERT", {"hidden_size": "16"}, "hidden_size"),
        ("BERT", {"num_hidden_layers": 100_000_000}, "is missing"), ("BERT", {"num_hidden_layers": 1}, "no place"),
        ("BERT", {"intermediate_size": 25}, "has the shape"), ("BERT", {"tie_word_embeddings": False}, "tie_word"),
        ("BERT", {"architectures": ["BertModel"]}, "BertModel, which is no masked"),
        ("RoBERTa", {"hidden_act": "relu"}, "hidden_act = 'relu'"),
        ("DistilBERT", {"activation": "x"}, "activation = 'x'"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_named(kind: str, changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    make(kind, tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=says):
        load_hf_encoder(tmp_path)


def test_a_tokenizer_without_a_mask_is_refused(tmp_path: Path) -> None:
    make("BERT", tmp_path / "bert")
    make("RoBERTa", tmp_path / "roberta")
    (tmp_path / "bert" / "tokenizer.json").write_bytes((tmp_path / "roberta" / "tokenizer.json").read_bytes())
    with pytest.raises(TokenizerError, match=r"no control token \[CLS\]"):
        load_hf_encoder(tmp_path / "bert")


def told_of(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """The only JSON object that a command writes."""
    assert run_app([*words, "--json", "--threads", "1"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["BERT", "RoBERTa", "DistilBERT"])
def test_fill_and_embed_tell_what_transformers_computes(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = make(kind, tmp_path)
    pieces = pytest.importorskip("tokenizers").Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    controls = {name: i for i, token in pieces.get_added_tokens_decoder().items() for name in [token.content]}
    begin, end, mask = (controls[name] for name in ENCODER_FAMILIES[KINDS[kind][0]].controls)
    before, after = (pieces.encode(part, add_special_tokens=False).ids for part in ("The cat", " in the garden."))
    ids = [begin, *before, mask, *after, end]
    with torch.no_grad():
        found = theirs(input_ids=torch.tensor([ids]), output_hidden_states=True)
    logits = found.logits[0, ids.index(mask)].index_fill(0, torch.tensor(list(controls.values())), -torch.inf)
    probabilities, best = logits.softmax(-1).topk(7)

    (guesses,) = told_of(capsys, "fill", "The cat [MASK] in the garden.", "--top", "7", "-m", str(tmp_path))["masks"]
    assert [g["probability"] for g in guesses] == pytest.approx(probabilities.tolist(), abs=1e-4)
    names = [pieces.decode([i]) if kind == "RoBERTa" else pieces.id_to_token(i) for i in best.tolist()]
    assert [g["piece"] for g in guesses] == [name.removeprefix("##").strip(" ") or name for name in names]
    if kind != "RoBERTa":
        assert [g["continues"] for g in guesses] == [name.startswith("##") for name in names]

    ids = [begin, *before, *after, end]
    with torch.no_grad():
        hidden = theirs(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]
    for pooling, pooled in (("mean", hidden.mean(0)), ("cls", hidden[0])):
        told = told_of(capsys, "embed", "The cat in the garden.", "--pooling", pooling, "-m", str(tmp_path))
        assert told["vector"] == pytest.approx((pooled / pooled.norm()).tolist(), abs=1e-4)


@pytest.mark.parametrize("name", ENCODER_FAMILIES)
def test_a_command_of_another_kind_names_fill(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert COMMANDS[name] == "tfm fill"
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [name]}))
    assert run_app(["translate", "x", "--to", "fr", "-m", str(tmp_path)]) == 3
    err = capsys.readouterr().err
    assert f"holds a {name}, which" in err and f"`tfm fill -m {tmp_path}` uses it." in err

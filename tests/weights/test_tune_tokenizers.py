"""Tuning of models with any tokenizer that the engine loads: rows are the engine's ids, and its files are kept."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from engine.api import Engine, load_engine
from engine.checkpoint import save_checkpoint
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.errors import UsageError
from engine.hf_directory import copy_directory
from engine.template import CHATML, TFM, ChatTemplate, Message
from engine.tokenizer import SentencePieceTokenizer
from engine.tokenizer_json import JsonTokenizer
from weights.cli import main
from weights.data.readers import Record
from weights.data.shards import make_shard

ASKED, ANSWER = "who are you?", "a small model"
KEPT = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def model_directory(home: Path, vocab_size: int, tokenizer: Path | None, template: ChatTemplate) -> Path:
    config = ModelConfig(
        vocab_size=vocab_size, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=8, d_ff=24, max_positions=128
    )
    model = DecoderLM(config)
    model.init_weights(torch.Generator().manual_seed(1))
    save_checkpoint(home, model, tokenizer_path=tokenizer, template=template)
    return home


@pytest.fixture
def converted(tokenizer: SentencePieceTokenizer, tmp_path: Path) -> Path:
    """What `tfm convert` makes of a model of this project: a tokenizer.json stands beside its tokenizer.model."""
    base = model_directory(tmp_path / "sentencepiece", 500, tokenizer.path, TFM)
    assert copy_directory(tmp_path / "converted", base, None) == ""
    return tmp_path / "converted"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A tokenizer.json alone, without <s> and </s>, that puts a space before the beginning of a prompt only."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    controls = ["<bos>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=controls, show_progress=False)
    backend.train_from_iterator([f"user\nassistant\n {ASKED} {ANSWER}\n"] * 3, trainer)
    home = model_directory(tmp_path / "foreign", 140, None, CHATML)
    backend.save(str(home / "tokenizer.json"))
    named = {"bos_token": "<bos>", "eos_token": "<|im_end|>", "add_bos_token": True}
    (home / "tokenizer_config.json").write_text(json.dumps(named))
    (home / "chat_template.jinja").write_text(CHATML.jinja)
    return home


@pytest.fixture(params=["converted", "foreign"])
def base(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Conversations that are pairs of answers, too."""
    asked = {"role": "user", "content": ASKED}
    said = {"messages": [asked, {"role": "assistant", "content": ANSWER}]}
    (tmp_path / "chat.jsonl").write_text(f"{json.dumps(said)}\n" * 4)
    (tmp_path / "dpo.jsonl").write_text(
        f"{json.dumps({'messages': [asked], 'chosen': ANSWER, 'rejected': 'you'})}\n" * 4
    )
    return tmp_path / "chat.jsonl"


def tune(kind: str, base: Path, data: Path, out: Path, *more: str) -> int:
    template = ("--template", "chatml" if base.name == "foreign" else "tfm")
    speed = ("--threads", "1", "--batch", "2", "--epochs", "1")
    return main([kind, "-m", str(base), "--data", str(data), "--out", str(out), *template, *speed, *more])


@pytest.mark.parametrize("kind", ["lora", "full", "dpo"])
def test_a_model_with_a_tokenizer_json_is_tuned_and_its_files_are_kept(
    kind: str, base: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert isinstance(load_engine(base).tokenizer, JsonTokenizer)
    assert tune(kind, base, data.with_name("dpo.jsonl") if kind == "dpo" else data, out) == 0
    if kind == "lora":
        assert load_engine(base, adapter=out).info.adapter == str(out)
        return
    assert {p.name for p in out.iterdir()} == {p.name for p in base.iterdir()}
    for name in KEPT:
        if (base / name).is_file():
            assert (out / name).read_bytes() == (base / name).read_bytes()
    assert load_engine(out).tokenize(ASKED) == load_engine(base).tokenize(ASKED)


def test_a_text_is_tuned_to_without_a_template(base: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(f"{ASKED}\n{ANSWER}\n")
    assert tune("lora", base, tmp_path / "text", tmp_path / "out", "--format", "plain") == 0


def ids_of(engine: Engine, record: Record, template: ChatTemplate) -> list[int]:
    found: list[int] = make_shard([record], engine.tokenizer, template).ids.tolist()
    return found


def test_rows_are_the_ids_that_the_engine_reads(base: Path) -> None:
    template = CHATML if base.name == "foreign" else TFM
    engine = load_engine(base, template=template.name)
    question, answer = Message("user", ASKED), Message("assistant", ANSWER)
    prompt = engine.prompt_ids([question])
    said = engine.prompt_ids([question], prefill=ANSWER)[len(prompt) :]
    ids = ids_of(engine, Record((question, answer)), template)
    end = engine.tokenizer.control_id(template.end_of_turn)
    assert ids[: len(prompt) + len(said) + 1] == [*prompt, *said, end]


@pytest.mark.parametrize(("base", "begin", "end"), [("converted", "<s>", "</s>"), ("foreign", "<bos>", "<|im_end|>")],
                         indirect=["base"])  # fmt: skip
def test_a_text_stands_between_the_ends_that_the_tokenizer_has(base: Path, begin: str, end: str) -> None:
    engine = load_engine(base)
    first, last = engine.tokenizer.control_id(begin), engine.tokenizer.control_id(end)
    assert ids_of(engine, Record(text=ANSWER), TFM) == [first, *engine.tokenize(ANSWER), last]


def test_bos_is_put_before_a_text_only_where_generating_puts_it(foreign: Path) -> None:
    (foreign / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<bos>", "add_bos_token": False}))
    engine = load_engine(foreign)
    assert ids_of(engine, Record(text=ANSWER), TFM) == engine.tokenize(ANSWER)


@pytest.mark.parametrize("inside", [False, True])
def test_a_gguf_file_is_refused_in_one_sentence(inside: bool, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "home" / "tiny.gguf"
    file.parent.mkdir()
    file.write_bytes(b"GGUF")
    with pytest.raises(UsageError, match="is a GGUF file, and only a model directory can be tuned") as told:
        tune("lora", file.parent if inside else file, data, tmp_path / "out")
    assert "tfm convert" in told.value.hint
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.training").exists()

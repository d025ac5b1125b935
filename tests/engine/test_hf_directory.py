"""Directories written for transformers: it loads them, reads text alike, and goes on with the same tokens."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from json_tokenizers import byte_level
from safetensors.torch import load_file
from test_gguf_tokenizer import SAMPLES
from tiny import KINDS, TINY, greedy, tiny_model
from tokenizers import Tokenizer as Backend

from engine.api import Engine, load_engine
from engine.checkpoint import save_checkpoint
from engine.errors import CheckpointError, TokenizerError
from engine.gguf_writing import Companions, write_gguf
from engine.hf_directory import copy_directory, write_directory
from engine.sentencepiece_format import Kind, Piece, read_piece_model, write_piece_model
from engine.source import open_source
from engine.template import TFM, Message
from engine.tokenizer import SentencePieceTokenizer
from engine.tokenizer_json_writing import tokenizer_json

CPU = torch.device("cpu")
SAID = [Message("system", "Be brief."), Message("user", "  Who are you? 你好 ▁ <|x|>")]


def loaded(directory: Path) -> tuple[Any, Any]:
    """(model, tokenizer) as transformers loads them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(directory)


def told(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]


def through_gguf(directory: Path, path: Path) -> Path:
    source = open_source(directory)
    companions = Companions("tiny", source.templates(), {"temperature": 0.8, "top_k": 40})
    write_gguf(path, source.model(torch.float32, CPU), source.tokenizer(), companions, "f32")
    return path


@pytest.mark.parametrize("through", ["directory", "gguf"])
def test_transformers_answers_alike(through: str, engine_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    if through == "directory":
        assert copy_directory(target, engine_dir, None) == ""
    else:
        source = open_source(through_gguf(engine_dir, tmp_path / "m.gguf"))
        assert write_directory(target, source, source.model(torch.float32, CPU), torch.float32) == ""
    ours = load_engine(engine_dir, dtype="float32")
    model, tokenizer = loaded(target)
    for text in [*SAMPLES, "a▁b"]:
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        assert ids == ours.tokenize(text)
        assert tokenizer.decode(ids) == text
    assert tokenizer("Hello").input_ids == ours.raw_ids("Hello")
    prompt = tokenizer.apply_chat_template(told(SAID), add_generation_prompt=True)["input_ids"]
    assert prompt == ours.prompt_ids(SAID)
    inputs = torch.tensor([prompt])
    theirs = model.generate(
        inputs, attention_mask=torch.ones_like(inputs), do_sample=False, max_new_tokens=24, min_new_tokens=24,
        pad_token_id=0,
    )  # fmt: skip
    params = greedy(24)
    assert theirs[0, len(prompt) :].tolist() == list(ids_of(ours, prompt, params))
    assert model.generation_config.eos_token_id == [2, ours.tokenizer.control_id("<|end|>")]
    assert (model.generation_config.temperature, model.generation_config.top_k) == (0.8, 40)


def ids_of(engine: Engine, prompt: Sequence[int], params: Any) -> Sequence[int]:
    """The greedy ids; rows of padding may occur, as in transformers."""
    from tiny import complete, rules

    return complete(engine.model, prompt, params, rules=rules(416, ends=engine.config.eos_ids, never=())).completion


@pytest.mark.parametrize("through", ["directory", "gguf"])
def test_a_directory_written_is_one_that_is_read_here_too(through: str, engine_dir: Path, tmp_path: Path) -> None:
    """By its tokenizer.json, and without the package tokenizers by its tokenizer.model."""
    target = tmp_path / "out"
    if through == "directory":
        copy_directory(target, engine_dir, torch.bfloat16)
    else:
        source = open_source(through_gguf(engine_dir, tmp_path / "m.gguf"))
        write_directory(target, source, source.model(torch.float32, CPU), torch.bfloat16)
    assert {t.dtype for t in load_file(target / "model.safetensors").values()} == {torch.bfloat16}
    here, there = load_engine(engine_dir, dtype="bfloat16"), load_engine(target, dtype="bfloat16")
    assert replace(there.config, norm_eps=here.config.norm_eps) == here.config
    assert there.info.tokenizer == "tokenizer.json" and there.defaults == here.defaults
    assert there.prompt_ids(SAID) == here.prompt_ids(SAID)
    assert torch.equal(there.logits(here.prompt_ids(SAID)), here.logits(here.prompt_ids(SAID)))
    (target / "tokenizer.json").unlink()
    assert load_engine(target, dtype="bfloat16").prompt_ids(SAID) == here.prompt_ids(SAID)


def test_shards_are_copied_as_shards(tmp_path: Path, tokenizer_path: Path) -> None:
    model = tiny_model(replace(KINDS["mha untied"], vocab_size=416))
    save_checkpoint(tmp_path / "base", model, tokenizer_path=tokenizer_path, template=TFM, shard_bytes=20_000)
    copy_directory(tmp_path / "out", tmp_path / "base", torch.float32)
    there = load_engine(tmp_path / "out", dtype="float32").model
    for name, parameter in model.named_parameters():
        assert torch.equal(dict(there.named_parameters())[name], parameter.to(torch.bfloat16).float()), name
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 2


def test_byte_level_tokenizers_of_a_file_are_written_too(tmp_path: Path) -> None:
    home = tmp_path / "base"
    config = replace(TINY, vocab_size=416, eos_ids=(0,), bos_id=1)
    save_checkpoint(home, tiny_model(config), dtype=torch.float32)
    theirs = byte_level(home, ["<|end|>", "<|begin|>"], bos="<|begin|>")
    (home / "tokenizer_config.json").write_text('{"bos_token": "<|begin|>", "eos_token": "<|end|>"}')
    source = open_source(through_gguf(home, tmp_path / "m.gguf"))
    write_directory(tmp_path / "out", source, source.model(torch.float32, CPU), torch.float32)
    _, tokenizer = loaded(tmp_path / "out")
    for text in SAMPLES:
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        assert ids == theirs.encode(text)
    assert tokenizer("Hello").input_ids == [1, *theirs.encode("Hello")]


@given(text=st.text(alphabet="abeo n▁<s>\n你é0", max_size=40) | st.text(max_size=20))
@settings(max_examples=150)
@pytest.mark.parametrize("space", [False, True])
def test_a_sentencepiece_model_and_its_tokenizer_json_read_any_text_alike(
    space: bool, text: str, tokenizer_path: Path, llama2_path: Path
) -> None:
    theirs = SentencePieceTokenizer(llama2_path if space else tokenizer_path)
    ours = backend(theirs)
    ours.encode_special_tokens = True
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert ours.encode(text).ids == theirs.encode(text)


def backend(tokenizer: SentencePieceTokenizer, **more: Any) -> Any:
    import json

    controls = {name: control.id for name, control in tokenizer.controls.items()}
    return Backend.from_str(json.dumps(tokenizer_json(read_piece_model(tokenizer.proto()), controls, None)))


def test_text_that_is_kept_whole_is_kept_whole(tokenizer_path: Path) -> None:
    model = read_piece_model(SentencePieceTokenizer(tokenizer_path).proto())
    pieces = [*model.pieces, Piece("▁▁so▁▁", 0.0, Kind.USER_DEFINED)]
    proto = write_piece_model(pieces, {"unk": 0, "bos": 1, "eos": 2, "pad": None}, space_prefix=False)
    theirs = SentencePieceTokenizer(tokenizer_path, proto=proto)
    assert backend(theirs).encode("is  so  it").ids == theirs.encode("is  so  it")
    assert len(pieces) - 1 in theirs.encode("is  so  it")


def test_a_model_that_does_more_than_merge_gets_no_tokenizer_json_and_the_reason_is_told(
    engine_dir: Path, tmp_path: Path
) -> None:
    """It is copied all the same, with its tokenizer.model."""
    import io

    import sentencepiece

    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the quick brown fox"] * 4), model_writer=proto, model_type="unigram", vocab_size=30,
        hard_vocab_limit=False, minloglevel=2, num_threads=1,
    )  # fmt: skip
    base = tmp_path / "base"
    save_checkpoint(base, tiny_model(TINY), dtype=torch.float32)
    (base / "tokenizer.model").write_bytes(proto.getvalue())
    with pytest.raises(TokenizerError, match="no BPE"):
        tokenizer_json(read_piece_model(proto.getvalue()), {}, None)
    assert "no BPE" in copy_directory(tmp_path / "out", base, None)
    assert not (tmp_path / "out" / "tokenizer.json").exists() and (tmp_path / "out" / "tokenizer.model").is_file()


def test_a_directory_that_cannot_be_written_is_not_there(engine_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(CheckpointError, match="cannot be written"):
        copy_directory(tmp_path / "taken" / "out", engine_dir, None)
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("damage", [lambda b: b[:-3], lambda b: b"\x0a\xff" + b, lambda b: b"\x0b" + b])
def test_a_damaged_piece_model_is_an_error(damage: Any, tokenizer_path: Path) -> None:
    with pytest.raises(TokenizerError, match="damaged"):
        read_piece_model(damage(tokenizer_path.read_bytes()))

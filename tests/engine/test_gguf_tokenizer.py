"""Tokenizers that GGUF files carry: ids and text of the tokenizers that they were made from, and errors by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from gguf_files import BYTE, CHATML, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, of_scores, write_gguf
from json_tokenizers import TEXT
from tiny import TINY, tiny_model
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from engine.api import Engine, load_engine
from engine.errors import TokenizerError
from engine.gguf import GgufFile
from engine.gguf_tokenizer import CUTS, gguf_templates, gguf_tokenizer
from engine.params import SamplingParams
from engine.template import Message
from engine.tokenizer import SentencePieceTokenizer

SAMPLES = [
    "", " ", "Hello there", "  two  spaces ", "a\n\n\nb\t\tc\r\n", "Crème brûlée, naïve", "你好，世界 😀‍👧",
    "مرحبا ﬁ ２", "x" * 300, " " * 64, "1234567890 3.14", "don't I'LL we've", "½ ㎏ \u00a0\u3000", "\n",
    "<|im_end|> </s> <s>", "\x00\x01\x7f\u200b\ufeff", "a+b=c; $x <= ~y^2",
]  # fmt: skip
CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def a_file(told: dict[str, Any]) -> GgufFile:
    return GgufFile(Path("m.gguf"), {f"tokenizer.ggml.{k}": v for k, v in told.items()}, {})


def scored(path: Path, **more: Any) -> dict[str, Any]:
    """The metadata that a converter makes of a tokenizer.model."""
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ids = range(model.get_piece_size())
    kinds = [
        UNKNOWN if model.is_unknown(i) else CONTROL if model.is_control(i) else BYTE if model.is_byte(i)
        else UNUSED if model.is_unused(i) else NORMAL
        for i in ids
    ]  # fmt: skip
    told = of_scores([model.id_to_piece(i) for i in ids], [model.get_score(i) for i in ids], kinds)
    return {k.removeprefix("tokenizer.ggml."): v for k, v in told.items()} | more


@pytest.fixture(scope="module")
def merged() -> Tokenizer:
    """Byte-level BPE as GPT-2 has it."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=alphabet, special_tokens=CONTROLS, show_progress=False
    )
    backend.train_from_iterator([*TEXT, "12 345 6789 3.14 don't we've"] * 2, trainer)
    return backend


def merges_of(backend: Tokenizer, **more: Any) -> dict[str, Any]:
    """The metadata that a converter makes of a tokenizer.json."""
    told = json.loads(backend.to_str())["model"]
    tokens = sorted(told["vocab"], key=told["vocab"].get)
    return {
        "model": "gpt2", "pre": "gpt-2", "tokens": tokens, "merges": [" ".join(pair) for pair in told["merges"]],
        "token_type": [CONTROL if t in CONTROLS else NORMAL for t in tokens], "bos_token_id": 1, "eos_token_id": 2,
        "add_bos_token": False,
    } | more  # fmt: skip


@pytest.mark.parametrize("space", [True, False])
def test_ids_are_those_of_sentencepiece(space: bool, llama2_path: Path, tokenizer_path: Path) -> None:
    path = llama2_path if space else tokenizer_path
    ours = gguf_tokenizer(a_file(scored(path, **({} if space else {"add_space_prefix": False}))))
    theirs = SentencePieceTokenizer(path)
    assert ours.adds_space_prefix == space and ours.adds_bos and ours.vocab_size == theirs.vocab_size
    for text in SAMPLES:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text)) == text
    assert ours.controls.keys() == theirs.controls.keys() and ours.special_tokens == theirs.special_tokens


def test_text_that_is_one_token_is_kept_whole_and_controls_are_never_encoded(tokenizer_path: Path) -> None:
    told = scored(tokenizer_path)
    told["tokens"] = [*told["tokens"], "<think>", "<|turn|>"]
    told["scores"], told["token_type"] = [*told["scores"], 0.0, 0.0], [*told["token_type"], USER_DEFINED, CONTROL]
    ours = gguf_tokenizer(a_file(told))
    think, turn = len(told["tokens"]) - 2, len(told["tokens"]) - 1
    assert think in ours.encode("so <think>hm") and not ours.is_control(think)
    assert ours.token_bytes(think) == b"<think>"
    assert turn not in ours.encode("<|turn|>") and ours.control_id("<|turn|>") == turn


PRE: dict[str, Any] = {
    "gpt-2": [],
    "smollm": [pre_tokenizers.Digits(individual_digits=True)],
    "qwen2": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
              r"|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "llama-bpe": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                  r"|\s*[\r\n]+|\s+(?!\S)|\s+"],
}  # fmt: skip


@pytest.mark.parametrize("pre", PRE)
def test_ids_are_those_of_the_tokenizer_json(pre: str, merged: Tokenizer) -> None:
    """As the tokenizer.json files of these models cut: GPT-2 and SmolLM by the library's own steps."""
    theirs = Tokenizer.from_str(merged.to_str())
    steps = [
        s if not isinstance(s, str) else pre_tokenizers.Split(Regex(s), "isolated") for s in PRE[pre]
    ]  # fmt: skip
    whole = not any(isinstance(s, str) for s in PRE[pre])
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=whole)
    theirs.pre_tokenizer = pre_tokenizers.Sequence([*steps, level])
    theirs.encode_special_tokens = True
    if pre == "qwen2":
        theirs.normalizer = normalizers.NFC()
    ours = gguf_tokenizer(a_file(merges_of(merged, pre=pre)))
    for text in [*SAMPLES, "e\u0301"]:
        assert ours.encode(text) == theirs.encode(text).ids, text
        if pre != "qwen2":
            assert ours.decode(ours.encode(text)) == text
    assert set(ours.controls) == set(CONTROLS) and not ours.adds_bos
    assert ours.special_tokens == {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}


def test_the_default_cut_keeps_three_digits_and_punctuation_apart(merged: Tokenizer) -> None:
    """llama.cpp's own: four expressions, one after the other."""
    ours = gguf_tokenizer(a_file(merges_of(merged, pre="default")))
    cut = ours._backend.pre_tokenizer.pre_tokenize_str("I'll pay $12345, ok?")  # type: ignore[attr-defined]
    assert [piece for piece, _ in cut] == ["I", "'", "ll", "Ġpay", "Ġ", "$", "123", "45", ",", "Ġok", "?"]
    assert "default" in CUTS


def test_a_whole_word_needs_no_merges_in_llama_3(merged: Tokenizer) -> None:
    told = merges_of(merged, pre="llama-bpe")
    told["tokens"], told["token_type"] = [*told["tokens"], "xyzzy"], [*told["token_type"], NORMAL]
    last = len(told["tokens"]) - 1
    assert gguf_tokenizer(a_file(told)).encode("xyzzy") == [last]
    assert last not in gguf_tokenizer(a_file(told | {"pre": "qwen2"})).encode("xyzzy")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pre": "tekken"}, "'tekken'"), ({"pre": None}, "pre-tokenizer None"), ({"model": "bert"}, "'bert'"),
        ({"model": None}, "None"), ({"tokens": None}, "tokens"), ({"tokens": ["a", 1]}, "tokens"),
        ({"merges": None}, "merges"), ({"merges": ["nothing of it"]}, "no tokenizer that can be used"),
        ({"token_type": [1, 2]}, "token_type"), ({"bos_token_id": 10**6}, "bos_token_id"),
        ({"add_space_prefix": True}, "add_space_prefix"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(changed: dict[str, Any], said: str, merged: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match=said):
        gguf_tokenizer(a_file(merges_of(merged) | changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"scores": [0.5]}, "scores"), ({"scores": None}, "scores"), ({"token_type": None}, "token_type")],
)
def test_a_damaged_scored_vocabulary_is_named(changed: dict[str, Any], said: str, tokenizer_path: Path) -> None:
    with pytest.raises(TokenizerError, match=said):
        gguf_tokenizer(a_file(scored(tokenizer_path) | changed))


def test_two_tokens_of_one_text_are_told(merged: Tokenizer) -> None:
    told = merges_of(merged)
    told["tokens"][-1] = told["tokens"][-2]
    with pytest.raises(TokenizerError, match="same text"):
        gguf_tokenizer(a_file(told))


@pytest.fixture(scope="module")
def chatting(merged: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    told = {f"tokenizer.ggml.{k}": v for k, v in merges_of(merged, pre="smollm", eot_token_id=0).items()}
    unsaid = dict.fromkeys(["scores", "unknown_token_id"])
    told |= {f"tokenizer.ggml.{k}": v for k, v in unsaid.items()} | {"tokenizer.chat_template": CHATML}
    config = replace(TINY, vocab_size=448)
    path = tmp_path_factory.mktemp("chat") / "m.gguf"
    return load_engine(write_gguf(path, tiny_model(config), metadata=told), dtype="float32")


def test_a_file_with_a_template_can_chat(chatting: Engine) -> None:
    question = Message("user", "Hello <|im_end|>")
    ids = chatting.prompt_ids([question])
    assert ids.count(1) == 2 and ids.count(2) == 1  # what was typed is no control token
    assert chatting.tokenizer.decode(ids) == "user\nHello <|im_end|>\nassistant\n"
    assert chatting.config.eos_ids == (2, 0) and chatting.info.template_source == "the model"
    items = list(chatting.chat([question], SamplingParams(greedy=True, max_new_tokens=4)))
    assert items[-1].usage.completion_tokens <= 4  # type: ignore[union-attr]


def test_templates_are_read_by_name() -> None:
    keys = {"tokenizer.chat_template": "a", "tokenizer.chat_template.rag": "b", "tokenizer.chat_templates": ["rag"]}
    assert gguf_templates(GgufFile(Path("m.gguf"), keys, {})) == {"default": "a", "rag": "b"}


def test_a_bos_that_opens_every_turn_is_no_doubled_bos(chatting: Engine) -> None:
    assert not [remark for remark in chatting.remarks() if "BOS" in remark]

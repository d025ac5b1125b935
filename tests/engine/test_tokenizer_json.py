"""tokenizer.json through `tokenizers`: the reference's ids, text that comes back, and no control token from a text."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_tokenizers import byte_level, llama, saved, unigram
from tokenizers import Tokenizer as Backend

from engine.api import load_engine
from engine.errors import TokenizerError
from engine.stream import Detokenizer
from engine.template import Segment
from engine.tokenizer import SentencePieceTokenizer, encode_segments, load_tokenizer
from engine.tokenizer_config import read_tokenizer_config
from engine.tokenizer_json import JsonTokenizer

CONTROLS = ["<unk>", "<s>", "</s>", "<|end|>"]
SAMPLES = [
    "", " ", "Hello there", "  two  spaces ", "a\n\n\nb\t\tc\r\n", "Crème brûlée, naïve", "你好，世界 😀‍👧",
    "\x00\x01\x7f\u200b\ufeff",
    "مرحبا ﬁ ２", "x" * 300, " " * 64, "<think>Hm</think>", "1234567890", "don't I'LL", "e\u0301 ½ ㎏ \u00a0\u3000",
    "\n",
]  # fmt: skip
any_text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.fixture(scope="session")
def makes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, JsonTokenizer]:
    home = tmp_path_factory.mktemp("json")
    return {
        "byte-level": byte_level(home / "a", CONTROLS, ("<think>", "</think>"), bos="<s>"),
        "byte-level with a space": byte_level(home / "b", CONTROLS, space=True),
        "llama 2": llama(home / "c", controls=CONTROLS),
        "llama 2, new": llama(home / "d", metaspace="first", controls=CONTROLS),
        "unigram": unigram(home / "e", controls=CONTROLS),
    }


KINDS = ["byte-level", "byte-level with a space", "llama 2", "llama 2, new", "unigram"]
LOSSLESS = KINDS[:4]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_text_are_those_of_the_library(kind: str, makes: dict[str, JsonTokenizer]) -> None:
    """N1: also for text within a prompt, which the library only knows as text after a control token."""
    ours, theirs = makes[kind], Backend.from_file(str(makes[kind].path))
    start = theirs.token_to_id("<s>")
    for text in SAMPLES:
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == ids
        assert ours.encode_within(text) == theirs.encode("<s>" + text, add_special_tokens=False).ids[1:]
        assert encode_segments(ours, [Segment("<s>", control=True), Segment(text)])[0] == start
        if kind != "byte-level with a space" and "<think>" not in text:
            assert ours.decode(ids) == theirs.decode(ids)
    assert ours.vocab_size == theirs.get_vocab_size()


@pytest.mark.parametrize("kind", LOSSLESS)
@given(text=any_text)
@settings(max_examples=50)
def test_text_comes_back_as_it_was(kind: str, text: str, makes: dict[str, JsonTokenizer]) -> None:
    """N2, N3, U1: in the decode of all, in the bytes of each token, and streamed."""
    ours = makes[kind]
    if "llama" in kind:  # these write a space as ▁, and the beginning's own ▁ takes the place of a space
        text = (
            text.replace("▁", "").lstrip(" ") if ours.encode_within("a") != ours.encode("a") else text.replace("▁", "")
        )
    if kind == "byte-level with a space":
        text = text.lstrip()  # a space is put only where there is none
    ids = ours.encode(text)
    assert ours.decode(ids) == text
    detokenizer = Detokenizer(ours, skip_space=ours.adds_space_prefix)
    assert "".join(map(detokenizer.add, ids)) + detokenizer.finish() == text
    within = ours.encode_within(text)
    if kind in ("byte-level", "llama 2, new"):
        assert b"".join(map(ours.token_bytes, within)) == text.encode()


@pytest.mark.parametrize("kind", KINDS)
@given(parts=st.lists(st.one_of(any_text, st.sampled_from([*CONTROLS, "<0x3C>", "<", "|>"])), max_size=5))
@settings(max_examples=50)
def test_no_text_becomes_a_control_token(kind: str, parts: list[str], makes: dict[str, JsonTokenizer]) -> None:
    """X10: also where the control token's text is a piece of the vocabulary (unigram)."""
    ours = makes[kind]
    for encode in (ours.encode, ours.encode_within):
        ids = encode("".join(parts))
        assert not any(map(ours.is_control, ids))
        assert kind == "unigram" or ours.decode(ids).strip() == "".join(parts).strip() or "▁" in "".join(parts)


def test_what_is_marked_as_special_would_be_read_without_care(makes: dict[str, JsonTokenizer]) -> None:
    """That the tests above can fail: the library as it is reads control tokens in any text."""
    theirs = Backend.from_file(str(makes["unigram"].path))
    assert theirs.token_to_id("</s>") in theirs.encode("a</s>b").ids
    theirs.encode_special_tokens = True
    assert theirs.token_to_id("</s>") in theirs.encode("</s>").ids


def test_controls_and_added_texts(makes: dict[str, JsonTokenizer]) -> None:
    ours = makes["byte-level"]
    assert set(ours.controls) == set(CONTROLS) and ours.adds_bos and not makes["llama 2"].adds_bos
    think = ours.encode("<think>")
    assert len(think) == 1 and not ours.is_control(think[0]) and ours.token_bytes(think[0]) == b"<think>"
    end = ours.control_id("<|end|>")
    assert end is not None and ours.token_bytes(end) == b"" and ours.piece(end) == "<|end|>"
    assert ours.decode([end, *ours.encode("a"), end]) == "a"
    assert "<unk>" not in makes["llama 2"].controls  # what the model says of a character that it lacks
    for token in (ours.vocab_size, 10**6, -1):
        assert ours.token_bytes(token) == b"" and not ours.is_control(token) and ours.piece(token)
    assert ours.encode("a\ud800b") == ours.encode("a?b")


@pytest.mark.parametrize(("kind", "space"), [(k, k != "byte-level") for k in KINDS])
def test_which_tokenizers_put_a_space_before_a_text(kind: str, space: bool, makes: dict[str, JsonTokenizer]) -> None:
    """N4: with prepend_scheme "first" only the beginning of a prompt gets it."""
    ours = makes[kind]
    assert ours.adds_space_prefix is space
    within = ours.token_bytes(ours.encode_within("word")[0]).startswith(b" ")
    assert within is (space and kind != "llama 2, new")


# What tokenizer_config.json says.


def write(home: Path, **config: Any) -> Path:
    (home / "tokenizer_config.json").write_text(json.dumps(config))
    return home


def test_the_configuration_adds_tokens_and_names(tmp_path: Path) -> None:
    made = byte_level(tmp_path, CONTROLS[:3], bos="<s>")
    size = made.vocab_size
    added = {
        str(size): {"content": "<|im_end|>", "special": True, "rstrip": True},
        str(size + 1): {"content": "<note>", "special": False},
    }
    write(
        tmp_path, added_tokens_decoder=added, eos_token={"content": "<|im_end|>"}, add_bos_token=False, bos_token=None
    )
    found = JsonTokenizer.from_dir(tmp_path)
    assert found.control_id("<|im_end|>") == size and found.controls["<|im_end|>"].rstrip
    assert found.encode("<note>") == [size + 1] and size not in found.encode("<|im_end|>")
    assert found.special_tokens == {"eos_token": "<|im_end|>"} and not found.adds_bos
    assert found.vocab_size == size + 2
    write(tmp_path, added_tokens_decoder={str(size + 7): {"content": "<|far|>", "special": True}})
    with pytest.raises(TokenizerError, match="do not belong together"):
        JsonTokenizer.from_dir(tmp_path)


def test_a_named_token_is_a_control_token_even_if_the_file_does_not_say_so(tmp_path: Path) -> None:
    """As in transformers: eos_token is special, whatever it is in tokenizer.json."""
    byte_level(tmp_path, CONTROLS)
    told = json.loads((tmp_path / "tokenizer.json").read_text())
    told["added_tokens"] = []
    (tmp_path / "tokenizer.json").write_text(json.dumps(told))
    assert JsonTokenizer.from_dir(tmp_path).control_id("</s>") is None
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": "</s>", "pad_token": "<nowhere>"}))
    found = JsonTokenizer.from_dir(tmp_path)
    token = found.control_id("</s>")
    assert token is not None and token not in found.encode("</s>") and found.control_id("<nowhere>") is None
    assert read_tokenizer_config(tmp_path).special_tokens["eos_token"] == "</s>"


def test_thinking_tags_are_text_even_when_they_are_marked_as_special(tmp_path: Path) -> None:
    found = byte_level(tmp_path, [*CONTROLS, "<think>", "</think>"])
    token = found.control_id("<think>")
    assert token is not None and found.token_bytes(token) == b"<think>" and token not in found.encode("<think>")


# Which file is taken, and files that cannot be.


def test_tokenizer_json_is_taken_where_there_is_one(
    engine_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path(shutil.copytree(engine_dir, tmp_path / "model"))
    assert isinstance(load_tokenizer(model), SentencePieceTokenizer)
    byte_level(model, CONTROLS)
    assert isinstance(load_tokenizer(model), JsonTokenizer)
    monkeypatch.setattr("engine.tokenizer.find_spec", lambda name: None)
    assert isinstance(load_tokenizer(model), SentencePieceTokenizer)
    (model / "tokenizer.model").unlink()
    with pytest.raises(TokenizerError, match=r"needs the package tokenizers.*pip install 'tfm\[hf\]'"):
        load_tokenizer(model)


def test_a_tokenizer_with_more_pieces_than_the_embedding_is_refused(engine_dir: Path, tmp_path: Path) -> None:
    """L3: a tokenizer.json of another model."""
    model = Path(shutil.copytree(engine_dir, tmp_path / "model"))
    llama(model)
    with pytest.raises(TokenizerError, match="do not belong together"):
        load_engine(model, dtype="float32")


def test_all_declared_ends_end_an_answer(engine_dir: Path, tmp_path: Path) -> None:
    """P5: of config.json, generation_config.json, the tokenizer's eos_token and the template's end of a turn."""
    model = Path(shutil.copytree(engine_dir, tmp_path / "model"))
    made = byte_level(model, [*CONTROLS, "<|user|>", "<|assistant|>", "<|stop|>"])
    told = json.loads((model / "generation_config.json").read_text())
    (model / "generation_config.json").write_text(json.dumps(told | {"eos_token_id": [2, 7]}))
    jinja = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}<|assistant|>"
    write(model, eos_token="<|stop|>", chat_template=jinja)
    ends = load_engine(model, dtype="float32")._rules.ends.nonzero().flatten().tolist()
    names = ("<|stop|>", "<|end|>", "</s>")
    assert {2, 7} | {i for i in map(made.control_id, names) if i is not None} <= set(ends)


def broken(change: Callable[[dict[str, Any]], Any], home: Path) -> Path:
    byte_level(home, CONTROLS)
    told = json.loads((home / "tokenizer.json").read_text())
    change(told)
    (home / "tokenizer.json").write_text(json.dumps(told))
    return home


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.update(model={"type": "Nonsense"}),
        lambda told: told.pop("model"),
        lambda told: told.update(decoder={"type": "WordPiece", "prefix": "##", "cleanup": True}),
        lambda told: told.update(decoder={"type": "Nonsense"}),
        lambda told: told.update(added_tokens=5),
        lambda told: told["model"].update(vocab={"a": -1}),
        lambda told: told["model"].update(merges=[["nowhere", "never"]]),
    ],
)
def test_a_damaged_tokenizer_is_named(change: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        JsonTokenizer.from_dir(broken(change, tmp_path))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"version": "1.0"}'])
def test_a_file_that_is_no_tokenizer_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        JsonTokenizer.from_dir(tmp_path)


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="no tokenizer at"):
        JsonTokenizer.from_dir(tmp_path)


def test_a_saved_tokenizer_is_the_same(makes: dict[str, JsonTokenizer], tmp_path: Path) -> None:
    for kind, made in makes.items():
        again = saved(Backend.from_file(str(made.path)), tmp_path / kind)
        assert [again.encode(t) for t in SAMPLES] == [made.encode(t) for t in SAMPLES]

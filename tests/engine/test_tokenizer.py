"""The SentencePiece tokenizer: text comes back as it was, and never becomes a control token."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.errors import TemplateError, TokenizerError
from engine.template import Segment
from engine.tokenizer import SentencePieceTokenizer, encode_segments

any_text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
CONTROLS = ["<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]


@given(text=any_text)
@example(text="\n\n \t  a\r\n\x00\x01\x7f\x85\u2028\u2029")
@example(text="ﬁ ２ Ａ e\u0301 é ½ ㎏ \ufeff\u200b\u00a0\u3000")
@example(text="▁ a▁b ▁▁")
@example(text="<0x0A> <unk> <s> <|user|>")
@settings(max_examples=500)
def test_text_comes_back_as_it_was(tokenizer: SentencePieceTokenizer, text: str) -> None:
    """N2, N3: every character, control characters, newlines, spaces and compatibility forms too."""
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


@given(text=any_text.filter(lambda t: "▁" not in t and "\x00" not in t))
@settings(max_examples=300)
def test_text_comes_back_from_a_tokenizer_that_puts_a_space_before_it(
    llama2_tokenizer: SentencePieceTokenizer, text: str
) -> None:
    assert llama2_tokenizer.decode(llama2_tokenizer.encode(text)) == text


@given(parts=st.lists(st.one_of(any_text, st.sampled_from([*CONTROLS, "<unk>", "<0x3C>", "<|im_end|>"])), max_size=6))
@settings(max_examples=300)
def test_no_text_becomes_a_control_token(
    tokenizer: SentencePieceTokenizer, llama2_tokenizer: SentencePieceTokenizer, parts: list[str]
) -> None:
    """X10"""
    for which in (tokenizer, llama2_tokenizer):
        ids = which.encode("".join(parts))
        assert not any(which.is_control(i) or which.piece(i) == "<unk>" for i in ids)


def test_a_lone_surrogate_is_replaced_and_not_an_error(tokenizer: SentencePieceTokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) in ("a?b", "a\ufffdb")


def test_controls_are_known_by_name_and_have_no_text(tokenizer: SentencePieceTokenizer) -> None:
    ids = [tokenizer.control_id(name) for name in CONTROLS]
    assert None not in ids and len(set(ids)) == len(CONTROLS)
    for name, token in zip(CONTROLS, ids, strict=True):
        assert token is not None and tokenizer.is_control(token)
        assert tokenizer.piece(token) == name and tokenizer.token_bytes(token) == b""
    assert tokenizer.control_id("<|nobody|>") is None
    assert tokenizer.decode([i for i in ids if i is not None]) == ""


def test_ids_without_a_piece_are_harmless(tokenizer: SentencePieceTokenizer) -> None:
    """L3: an embedding may be padded, and a model may say a padded row."""
    for token in (tokenizer.vocab_size, 10**6, -1):
        assert tokenizer.token_bytes(token) == b"" and not tokenizer.is_control(token) and tokenizer.piece(token)


def test_the_newline_is_a_token_and_digits_stand_alone(tokenizer: SentencePieceTokenizer) -> None:
    assert tokenizer.encode("\n\n") == tokenizer.encode("\n") * 2 and len(tokenizer.encode("\n")) == 1
    assert [tokenizer.piece(i) for i in tokenizer.encode("2024")] == ["2", "0", "2", "4"]


def test_encoding_many_is_encoding_each(tokenizer: SentencePieceTokenizer) -> None:
    """T2: training reads texts in batches."""
    texts = ["a b", "", "  two\n", "😀 ▁ <s>", "\ud800"[:0]]
    assert tokenizer.encode_batch(texts, threads=1) == [tokenizer.encode(t) for t in texts]


def test_text_of_one_segment_does_not_depend_on_the_next(tokenizer: SentencePieceTokenizer) -> None:
    """N4: no space slips in before or after a control token."""
    user, end = tokenizer.control_id("<|user|>"), tokenizer.control_id("<|end|>")
    ids = encode_segments(tokenizer, [Segment("<|user|>", True), Segment("Hi there"), Segment("<|end|>", True)])
    assert ids == [user, *tokenizer.encode("Hi there"), end]
    assert tokenizer.decode(ids) == "Hi there"


def test_sampled_ids_are_taken_as_they_are(tokenizer: SentencePieceTokenizer) -> None:
    """K12: "ab" said as two tokens stays two tokens."""
    halves = tokenizer.encode("a") + tokenizer.encode("b")
    assert encode_segments(tokenizer, [Segment("anything", ids=tuple(halves))]) == halves


def test_a_control_token_that_is_not_there_is_named(tokenizer: SentencePieceTokenizer) -> None:
    with pytest.raises(TemplateError, match=r"<\|nobody\|>"):
        encode_segments(tokenizer, [Segment("<|nobody|>", control=True)])


def test_which_tokenizers_put_a_space_before_a_text(
    tokenizer: SentencePieceTokenizer, llama2_tokenizer: SentencePieceTokenizer
) -> None:
    assert not tokenizer.adds_space_prefix and llama2_tokenizer.adds_space_prefix
    assert llama2_tokenizer.token_bytes(llama2_tokenizer.encode("word")[0]).startswith(b" ")


def test_controls_may_be_added_by_the_configuration(tokenizer_path: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(tokenizer_path.read_bytes())
    added = {
        "400": {"content": "<|im_start|>", "special": True},
        "401": {"content": "plain", "special": False},
        "2": {"content": "</s>", "special": True},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    found = SentencePieceTokenizer.from_dir(tmp_path)
    assert found.vocab_size == 401 and found.control_id("<|im_start|>") == 400 and found.control_id("plain") is None
    assert found.is_control(400) and found.piece(400) == "<|im_start|>" and found.token_bytes(400) == b""
    assert 400 not in found.encode("<|im_start|>")
    assert found.control_id("</s>") == 2


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00" * 100])
def test_a_damaged_tokenizer_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.model"):
        SentencePieceTokenizer.from_dir(tmp_path)


def test_a_truncated_tokenizer_is_refused_or_whole(tokenizer_path: Path, tmp_path: Path) -> None:
    """At many lengths: an error by name, never a crash of the process."""
    data = tokenizer_path.read_bytes()
    path = tmp_path / "tokenizer.model"
    refused = 0
    for length in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:length])
        with suppress(TokenizerError):
            assert SentencePieceTokenizer(path).encode("a")  # cut between two pieces it is a smaller vocabulary
            continue
        refused += 1
    assert refused > 30


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="no tokenizer at"):
        SentencePieceTokenizer.from_dir(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"added_tokens_decoder": 5}',
        '{"added_tokens_decoder": {"x": {"special": true, "content": "a"}}}',
        '{"added_tokens_decoder": {"500": {"special": true}}}',
        "[" * 100_000,
        '{"added_tokens_decoder": {"5": 3}}',
    ],
)
def test_a_damaged_tokenizer_configuration_is_named(text: str, tokenizer_path: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(tokenizer_path.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(text)
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json"):
        SentencePieceTokenizer.from_dir(tmp_path)

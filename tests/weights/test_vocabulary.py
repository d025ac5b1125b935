"""weights/data/vocabulary.py: a tokenizer that gives back every text, and makes no control token of one."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.errors import DataError
from engine.template import TFM
from engine.tokenizer import SentencePieceTokenizer
from weights.data.vocabulary import CONTROL_PIECES, train_tokenizer

# SentencePiece writes a space as U+2581, and so reads that character as a space.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁\0"))


@given(TEXT)
@example("two  spaces, a\ttab\nand a line\r\n ")
@example("ﬁ Ａ ½ é e\u0301 ﷺ \u200b\ufeff")
@example("日本語 🙂👩\u200d👩\u200d👧")
@example(" leading and trailing ")
def test_every_text_comes_back_as_it_was(tokenizer: SentencePieceTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.lists(st.sampled_from([*CONTROL_PIECES, "<s>", "</s>", "<unk>", "<0x41>", " ", "a", "\n"])).map("".join))
def test_no_text_becomes_a_control_token(tokenizer: SentencePieceTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert not any(tokenizer.is_control(i) for i in ids)
    assert tokenizer.decode(ids) == text


def test_it_has_every_control_piece_of_the_template(tokenizer: SentencePieceTokenizer) -> None:
    ids = [tokenizer.control_id(name) for name in (*TFM.controls, "</s>")]
    assert None not in ids
    assert len(set(ids)) == len(ids)
    assert (tokenizer.control_id("<s>"), tokenizer.control_id("</s>")) == (1, 2)


def test_it_has_as_many_pieces_as_were_asked_for(tokenizer: SentencePieceTokenizer) -> None:
    assert tokenizer.vocab_size == 500


def test_the_newline_is_one_piece_of_its_own(tokenizer: SentencePieceTokenizer) -> None:
    (newline,) = tokenizer.encode("\n")
    assert tokenizer.token_bytes(newline) == b"\n"
    assert tokenizer.encode("a\n\nb").count(newline) == 2
    assert not any(
        b"\n" in tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size) if tokenizer.token_bytes(i) != b"\n"
    )


@given(st.integers(0, 10**12))
def test_a_number_is_read_digit_by_digit(tokenizer: SentencePieceTokenizer, number: int) -> None:
    assert [tokenizer.token_bytes(i).decode() for i in tokenizer.encode(str(number))] == list(str(number))


@pytest.mark.parametrize("character", [*map(chr, range(32, 127))])
def test_every_printable_ascii_character_has_a_piece(tokenizer: SentencePieceTokenizer, character: str) -> None:
    (token,) = tokenizer.encode(character)
    assert not tokenizer.piece(token).startswith("<0x")


def test_the_same_text_gives_the_same_tokenizer_whatever_the_threads(tmp_path: Path, corpus_records: dict) -> None:
    texts = [r.text for r in corpus_records["text"]]
    for threads in (1, 2):
        train_tokenizer(texts, 400, tmp_path / f"{threads}.model", threads=threads)
    pieces = [[t.piece(i) for i in range(400)] for t in map(SentencePieceTokenizer, sorted(tmp_path.glob("*.model")))]
    assert pieces[0] == pieces[1]


@pytest.mark.parametrize("texts", [[], [""], ["\n \n"], ["too little"]])
def test_too_little_text_is_a_data_error_and_leaves_no_file(texts: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="could not be trained"):
        train_tokenizer(texts, 2000, tmp_path / "t" / "tokenizer.model")
    assert not list(tmp_path.rglob("*.*"))

"""weights/models/hf_tokenizers.py: the ids of other people's tokenizers, and what is wrong with their files."""

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from foreign import TEXTS, bart_directory, marian_directory, train_pieces

from engine.errors import CheckpointError, TokenizerError
from weights.models.hf_tokenizers import (
    MBART_50_LANGUAGES,
    MBART_LANGUAGES,
    MarianTokenizer,
    TextTokenizer,
    read_tokenizer,
    unsayable,
)

TEXT = "The cat sleeps in the house."
HARD = ["", " ", "Zoë 漢字 x\u2581y", "\ud800 x", "a </s> b <pad> <unk> fr_XX >>fra<< <s><mask><extra_id_0>", "\n"]


def processor(path: Path) -> Any:
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def test_t5_has_the_ids_of_its_sentencepiece_model(tmp_path: Path) -> None:
    size = train_pieces(tmp_path / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    ours = read_tokenizer(tmp_path, "spiece.model", size + 100)
    assert ours.encode(TEXT) == processor(tmp_path / "spiece.model").encode(TEXT)
    assert ours.decode(ours.encode(TEXT)) == TEXT
    assert unsayable(ours, size + 100) == [0, 1, 2, *range(size, size + 100)]  # the last hundred are the extra ids


@pytest.mark.parametrize("languages", [MBART_LANGUAGES, MBART_50_LANGUAGES], ids=["25", "50"])
def test_mbart_moves_pieces_by_one_and_has_its_languages_after_them(languages: tuple[str, ...], tmp_path: Path) -> None:
    size = train_pieces(tmp_path / "sentencepiece.bpe.model")
    ours = read_tokenizer(tmp_path, "sentencepiece.bpe.model", size + len(languages) + 2)
    pieces = processor(tmp_path / "sentencepiece.bpe.model")
    assert ours.encode(TEXT) == [i + 1 for i in pieces.encode(TEXT)]
    assert ours.encode("漢")[-1] == 3
    assert [ours.control_id(n) for n in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
    assert [ours.control_id(n) for n in languages] == [size + 1 + i for i in range(len(languages))]
    assert ours.control_id("<mask>") == size + 1 + len(languages)
    assert ours.decode([2, *ours.encode(TEXT), ours.control_id(languages[0]), 2]) == TEXT  # type: ignore[list-item]
    with pytest.raises(TokenizerError, match="25 or 52 languages"):
        read_tokenizer(tmp_path, "sentencepiece.bpe.model", size + 40)


def test_marian_numbers_the_pieces_of_the_source_by_its_vocabulary(tmp_path: Path) -> None:
    marian_directory(tmp_path, codes=(">>fra<<", ">>deu<<"))
    ours = read_tokenizer(tmp_path, "source.spm", 0)
    assert isinstance(ours, MarianTokenizer)
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    pieces = processor(tmp_path / "source.spm").encode(TEXT, out_type=str)
    assert ours.encode(TEXT) == [vocabulary[p] for p in pieces]
    assert ours.encode("漢")[-1] == vocabulary["<unk>"]
    assert ours.decode([*ours.encode(TEXT), vocabulary["</s>"], vocabulary["<pad>"]]) == TEXT
    assert ours.targets == {"fra": vocabulary[">>fra<<"], "deu": vocabulary[">>deu<<"]}
    assert set(unsayable(ours, len(vocabulary))) == {
        vocabulary[n] for n in ("</s>", "<unk>", "<pad>", ">>fra<<", ">>deu<<")
    }


def test_a_byte_level_tokenizer_json_has_the_ids_of_tokenizers(tmp_path: Path) -> None:
    bart_directory(tmp_path)
    tokenizers = pytest.importorskip("tokenizers")
    ours = read_tokenizer(tmp_path, "", 0)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in (TEXT, " two  spaces ", "Zoë 漢字 🦊"):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids
        assert ours.decode(ours.encode(text)) == text.strip()
    assert ours.control_id("</s>") == 2 and ours.is_control(2) and not ours.is_control(20)
    assert unsayable(ours, 400)[:5] == [0, 1, 2, 3, 4] and 399 in unsayable(ours, 400)


def every(tmp_path: Path) -> list[TextTokenizer]:
    train_pieces(tmp_path / "t5" / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    size = train_pieces(tmp_path / "mbart" / "sentencepiece.bpe.model")
    marian_directory(tmp_path / "marian", codes=(">>fra<<",))
    bart_directory(tmp_path / "bart")
    return [
        read_tokenizer(tmp_path / "t5", "spiece.model", 200),
        read_tokenizer(tmp_path / "mbart", "sentencepiece.bpe.model", size + 27),
        read_tokenizer(tmp_path / "marian", "source.spm", 0), read_tokenizer(tmp_path / "bart", "", 0),
    ]  # fmt: skip


def test_no_text_yields_a_control_token(tmp_path: Path) -> None:
    for tokenizer in every(tmp_path):
        for text in HARD:
            controls = [i for i in tokenizer.encode(text) if tokenizer.is_control(i) and tokenizer.piece(i) != "<unk>"]
            assert controls == [], (type(tokenizer).__name__, text)
            assert isinstance(tokenizer.decode(tokenizer.encode(text)), str)


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"neither spiece\.model nor tokenizer\.json"):
        read_tokenizer(tmp_path, "spiece.model", 9)
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json"):
        read_tokenizer(tmp_path, "", 9)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"no readable tokenizer\.json"):
        read_tokenizer(tmp_path, "", 9)
    (tmp_path / "spiece.model").write_bytes(b"no model")
    with pytest.raises(TokenizerError, match=r"spiece\.model is not a readable"):
        read_tokenizer(tmp_path, "spiece.model", 9)
    marian_directory(tmp_path / "m")
    for content, says in (('{"a": "b"}', "numbers no pieces"), ("[]", "no JSON object"), ('{"a": 3}', "no <unk>")):
        (tmp_path / "m" / "vocab.json").write_text(content)
        with pytest.raises((TokenizerError, CheckpointError), match=says):
            read_tokenizer(tmp_path / "m", "source.spm", 9)
    (tmp_path / "m" / "vocab.json").unlink()
    with pytest.raises(TokenizerError, match=r"no vocab\.json"):
        read_tokenizer(tmp_path / "m", "source.spm", 9)


def test_without_the_package_tokenizers_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bart_directory(tmp_path)
    real = builtins.__import__

    def none(name: str, *args: Any, **more: Any) -> Any:
        if name == "tokenizers":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", none)
    with pytest.raises(TokenizerError, match=r"needs the package tokenizers.*tfm\[hf\]"):
        read_tokenizer(tmp_path, "", 9)


def test_a_t5_without_spiece_model_is_read_from_tokenizer_json(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.SentencePieceUnigramTokenizer()
    controls = ["<pad>", "</s>", "<unk>", "<extra_id_0>"]
    theirs.train_from_iterator(TEXTS, 80, special_tokens=controls, unk_token="<unk>", show_progress=False)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = read_tokenizer(tmp_path, "spiece.model", 90)
    assert ours.encode(TEXT) == theirs.encode(TEXT, add_special_tokens=False).ids
    assert ours.decode([0, *ours.encode(TEXT), 1]) == TEXT
    for text in ("a </s> <extra_id_0> b", "\uff1c/s\uff1e", "</s></s>"):
        assert not set(ours.encode(text)) & {1, 3}
    assert ours.encode("漢")[-1] == 2

"""weights/evaluate/overlap.py and records.py: what validation and training share, counted; what is measured."""

import shutil
from pathlib import Path

import pytest

from engine.errors import DataError
from engine.template import Message
from weights.data.readers import Record, Report
from weights.evaluate import overlap as module
from weights.evaluate.overlap import overlap, overlap_of
from weights.evaluate.records import beginning, beginnings, digest, text_of
from weights.recipe import read_recipe

TINY = Path(module.__file__).parents[1] / "recipes" / "tiny.toml"


def words(first: int, last: int) -> str:
    return " ".join(f"w{i}" for i in range(first, last))


def slow(valid: list[str], train: list[str]) -> tuple[int, float]:
    """The definition: tuples of words in a set."""

    def grams(text: str) -> list[tuple[str, ...]]:
        w = text.casefold().split()
        return [tuple(w[i : i + 13]) for i in range(len(w) - 12)]

    known = {g for text in train for g in grams(text)}
    found = [g for text in valid for g in grams(text)]
    return len(found), sum(g in known for g in found) / max(1, len(found))


@pytest.mark.parametrize("at_once", [1, 40, 10**6])
def test_the_share_of_13_grams_is_that_of_a_set_of_tuples(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    train = [words(0, 40), words(100, 112), words(60, 75), words(0, 40)]
    valid = [words(20, 50), words(100, 113), words(60, 75).upper(), words(5, 18) + " " + words(5, 18), "short one"]
    found = overlap(valid, train)
    assert (found.grams, found.seen) == (slow(valid, train)[0], pytest.approx(slow(valid, train)[1]))
    assert 0 < found.seen < 1
    assert (found.texts, found.repeated) == (5, pytest.approx(1 / 5))  # words 60 to 75, in capitals


def test_a_sequence_does_not_reach_from_one_text_into_the_next() -> None:
    assert overlap([words(0, 13)], [words(0, 7), words(7, 13)]).seen == 0
    assert overlap([words(0, 13)], [words(0, 13)]).seen == 1


def test_nothing_shares_nothing() -> None:
    assert overlap([], [words(0, 20)]) == module.Overlap(0, 0.0, 0, 0.0)
    assert overlap([words(0, 20)], []) == module.Overlap(8, 0.0, 1, 0.0)
    assert overlap(["a few words"], ["a few words"]) == module.Overlap(0, 0.0, 1, 1.0)


def test_each_source_with_validation_files_has_its_overlap(corpus: Path) -> None:
    recipe = read_recipe(TINY)
    found = overlap_of(recipe, corpus)
    assert set(found) == {"tales", "hello", "facts"}
    for row in found.values():
        assert row["texts"] > 0 and 0 <= row["seen"] <= 1 and 0 <= row["repeated"] <= 1
    with pytest.raises(DataError, match="no file"):
        overlap_of(recipe, corpus / "absent")


def test_held_out_records_are_the_beginning_of_a_source_and_a_smaller_size_is_their_beginning(corpus: Path) -> None:
    recipe = read_recipe(TINY)
    every, few = beginnings(recipe, corpus, 10**9, Report()), beginnings(recipe, corpus, 300, Report())
    for name, records in few.items():
        assert records == every[name][: len(records)] == beginning(every[name], 300)
        assert sum(len(text_of(r).encode()) for r in records[:-1]) < 300
    assert digest(every["tales"]) != digest(few["tales"]) == digest(beginning(every["tales"], 300))


def test_a_bad_line_of_held_out_text_is_reported(corpus: Path, tmp_path: Path) -> None:
    spoilt = shutil.copytree(corpus, tmp_path / "corpus")
    recipe = read_recipe(TINY)
    file = spoilt / recipe.sources["tales"].valid[0]
    file.write_text("no JSON\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    report = Report()
    assert beginnings(recipe, spoilt, 300, report) == beginnings(recipe, corpus, 300, Report())
    assert [(name, line) for name, line, _ in report.bad] == [(file.name, 1)]


def test_the_words_of_a_conversation_are_those_of_all_roles() -> None:
    assert text_of(Record((Message("user", "ab"), Message("assistant", "cé")))) == "abcé"
    assert text_of(Record(text="xyz")) == "xyz"

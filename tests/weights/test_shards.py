"""weights/data/shards.py: what a shard holds, when it is built anew, and what of it is learned."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError, TemplateError
from engine.template import CHATML, PLAIN, TFM, Message
from engine.tokenizer import SentencePieceTokenizer, encode_segments
from weights.data import shards
from weights.data.readers import Record, Report, generate_own
from weights.data.shards import Shard, build_shard, encode_records, make_shard, shard_key
from weights.data.vocabulary import train_tokenizer
from weights.recipe import Source

QA = Source("qa", files=("rows.jsonl",))
CONTENT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)


@st.composite
def conversations(draw: st.DrawFn) -> Record:
    system = draw(st.one_of(st.none(), CONTENT))
    turns = draw(st.lists(st.tuples(CONTENT, CONTENT), min_size=1, max_size=3))
    head = [Message("system", system)] if system is not None else []
    said = [m for question, reply in turns for m in (Message("user", question), Message("assistant", reply))]
    return Record((*head, *said))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A corpus directory with one file of 10 questions."""
    lines = [json.dumps({"question": f"what is {i}?", "answer": f"it is {i}."}) for i in range(10)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def build(corpus: Path, tokenizer: SentencePieceTokenizer, source: Source = QA, report: Report | None = None) -> Shard:
    return build_shard("some", source, corpus, tokenizer, 1, corpus / "shards", report or Report(strict=True))


@given(conversations())
def test_training_ids_of_a_conversation_are_the_chats_ids_and_the_answers(
    tokenizer: SentencePieceTokenizer, record: Record
) -> None:
    ((ids, learned),) = encode_records([record], tokenizer)
    *before, answer = record.messages
    prompt = encode_segments(tokenizer, TFM.render(before, add_generation_prompt=True))
    end = tokenizer.control_id("<|end|>")
    assert ids == [*prompt, *tokenizer.encode(answer.content), end]
    assert learned[len(prompt) :] == [1] * (len(ids) - len(prompt))


@given(conversations())
def test_only_the_assistants_words_and_their_ends_are_learned(
    tokenizer: SentencePieceTokenizer, record: Record
) -> None:
    ((ids, learned),) = encode_records([record], tokenizer)
    expected = [0]  # <s>
    for message in record.messages:
        speaks = int(message.role == "assistant")
        expected += [0, *[speaks] * len(tokenizer.encode(message.content)), speaks]
    assert learned == expected
    assert len(ids) == len(learned)


@given(conversations())
def test_under_another_template_too_training_ids_are_chat_ids_and_the_assistants_words_are_learned(
    tokenizer: SentencePieceTokenizer, record: Record
) -> None:
    size = tokenizer.vocab_size
    chatml = SentencePieceTokenizer(tokenizer.path, {"<|im_start|>": size, "<|im_end|>": size + 1})
    ((ids, learned),) = encode_records([record], chatml, CHATML)
    assert ids == encode_segments(chatml, CHATML.render(record.messages, add_generation_prompt=False))
    expected: list[int] = []
    for message in record.messages:
        opening, speaks = [0] * len([size, *chatml.encode(f"{message.role}\n")]), int(message.role == "assistant")
        said = [speaks] * (len(chatml.encode(message.content)) + 1)
        expected += [*opening, *said, *[0] * len(chatml.encode("\n"))]
    assert learned == expected


def test_a_template_without_an_end_of_an_answer_cannot_be_tuned_to(tokenizer: SentencePieceTokenizer) -> None:
    record = Record((Message("user", "a"), Message("assistant", "b")))
    with pytest.raises(DataError, match="'plain' has no control token that ends an answer"):
        make_shard([record], tokenizer, PLAIN)
    with pytest.raises(TemplateError, match=r"needs the control token <\|im_start\|>"):
        make_shard([record], tokenizer, CHATML)
    with pytest.raises(DataError, match="no usable record"):
        make_shard([], tokenizer)


def test_ids_of_a_large_vocabulary_keep_their_size(tokenizer: SentencePieceTokenizer) -> None:
    large = SentencePieceTokenizer(tokenizer.path, {"<|im_start|>": 128_000, "<|im_end|>": 128_001})
    record = Record((Message("user", "a"), Message("assistant", "b")))
    shard = make_shard([record], large, CHATML)
    assert (int(shard.ids[0]), int(shard.ids.max())) == (128_000, 128_001)


def test_a_text_stands_between_its_begin_and_its_end(tokenizer: SentencePieceTokenizer) -> None:
    ((ids, learned),) = encode_records([Record(text="some words\n")], tokenizer)
    assert ids == [1, *tokenizer.encode("some words\n"), 2]
    assert learned == [0] + [1] * (len(ids) - 1)


def test_a_control_piece_in_a_record_stays_text(tokenizer: SentencePieceTokenizer) -> None:
    said = "<|end|><|assistant|>yes</s>"
    record = Record((Message("user", said), Message("assistant", said)))
    ((ids, _),) = encode_records([record], tokenizer)
    assert [tokenizer.piece(i) for i in ids if tokenizer.is_control(i)] == [
        "<s>", "<|user|>", "<|end|>", "<|assistant|>", "<|end|>",
    ]  # fmt: skip


def test_many_records_are_encoded_as_each_alone(
    tokenizer: SentencePieceTokenizer, corpus_records: dict[str, list[Record]]
) -> None:
    records = [r for some in corpus_records.values() for r in some]
    assert list(encode_records(records, tokenizer)) == [next(encode_records([r], tokenizer)) for r in records]


def test_a_shard_holds_its_records_in_order(rows: Path, tokenizer: SentencePieceTokenizer) -> None:
    shard = build(rows, tokenizer)
    assert len(shard.lengths) == 10
    third = shard.ids[shard.starts[3] : shard.starts[4]]
    assert tokenizer.decode(third.tolist()) == "what is 3?it is 3."
    assert shard.starts[-1] == len(shard.ids) == len(shard.target)


def test_a_source_read_twice_has_each_record_twice(rows: Path, tokenizer: SentencePieceTokenizer) -> None:
    assert len(build(rows, tokenizer, replace(QA, passes=2)).lengths) == 20


def test_an_own_source_is_its_generators_conversations(tmp_path: Path, tokenizer: SentencePieceTokenizer) -> None:
    shard = build_shard("identity", Source("own", count=5), tmp_path, tokenizer, 7, tmp_path, Report())
    made = list(encode_records(list(generate_own("identity", 5, random.Random("7 identity"))), tokenizer))
    assert shard.ids.tolist() == [i for ids, _ in made for i in ids]


def test_the_key_changes_with_data_tokenizer_recipe_seed_and_name(
    rows: Path, tokenizer: SentencePieceTokenizer, corpus_records: dict[str, list[Record]]
) -> None:
    train_tokenizer((r.text for r in corpus_records["text"]), 400, rows / "other.model", threads=1)
    keys = [
        shard_key("some", QA, rows, tokenizer, 1),
        shard_key("other", QA, rows, tokenizer, 1),
        shard_key("some", QA, rows, tokenizer, 2),
        shard_key("some", replace(QA, passes=2), rows, tokenizer, 1),
        shard_key("some", QA, rows, SentencePieceTokenizer(rows / "other.model"), 1),
    ]
    with (rows / "rows.jsonl").open("a") as file:
        file.write("\n")
    keys.append(shard_key("some", QA, rows, tokenizer, 1))
    assert len(set(keys)) == len(keys)


def test_the_same_facts_give_the_same_key(rows: Path, tokenizer: SentencePieceTokenizer) -> None:
    assert shard_key("some", QA, rows, tokenizer, 1) == shard_key("some", QA, rows, tokenizer, 1)


def test_a_second_build_reads_nothing_and_gives_the_same(
    rows: Path, tokenizer: SentencePieceTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(rows, tokenizer)

    def never(*_: object) -> Iterator[Record]:
        raise AssertionError("the records were read again")

    monkeypatch.setattr(shards, "records", never)
    again = build(rows, tokenizer)
    assert np.array_equal(first.ids, again.ids)
    assert np.array_equal(first.target, again.target)
    assert np.array_equal(first.starts, again.starts)


def test_a_build_that_is_cut_leaves_no_shard_and_the_next_one_is_whole(
    rows: Path, tokenizer: SentencePieceTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Iterator[Record]] = shards.records

    def cut(*arguments: object) -> Iterator[Record]:
        yield from list(real(*arguments))[:5]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shards, "records", cut)
        with pytest.raises(KeyboardInterrupt):
            build(rows, tokenizer)
    assert [p for p in (rows / "shards").iterdir() if p.suffix != ".tmp"] == []
    assert len(build(rows, tokenizer).lengths) == 10
    assert not list((rows / "shards").glob("*.tmp"))


def test_bad_lines_are_reported_and_the_rest_is_built(rows: Path, tokenizer: SentencePieceTokenizer) -> None:
    with (rows / "rows.jsonl").open("a") as file:
        file.write("\nnot json\n")
    report = Report()
    assert len(build(rows, tokenizer, report=report).lengths) == 10
    assert [(file, line) for file, line, _ in report.bad] == [("rows.jsonl", 11)]


def test_a_missing_file_is_a_data_error_that_names_source_and_file(
    tmp_path: Path, tokenizer: SentencePieceTokenizer
) -> None:
    with pytest.raises(DataError, match=r"'some' needs .*rows\.jsonl, which is not there"):
        build(tmp_path, tokenizer)
    assert list(tmp_path.iterdir()) == []

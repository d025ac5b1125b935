"""weights/data/readers.py: every format, packed or not; what is bad is counted, named, or stops."""

import gzip
import json
import lzma
import random
from pathlib import Path

import pytest

from engine.errors import DataError
from engine.template import Message
from weights.data.own import GENERATORS
from weights.data.readers import Record, Report, generate_own, read_file

FILES = {
    "text": "text/tales.train.jsonl.xz",
    "plain": "text/notes.txt",
    "chat": "chat/hello.train.jsonl",
    "shell": "shell/commands.train.jsonl.gz",
    "qa": "qa/facts.train.jsonl",
    "parallel": "parallel/en-es.train.tsv",
    "sentiment": "sentiment/train.tsv",
    "pairs": "pairs/paraphrase.train.tsv",
}
GOOD = json.dumps({"question": "q", "answer": "a"})


def read(path: Path, kind: str, report: Report | None = None, seed: int = 0) -> list[Record]:
    return list(read_file(path, kind, random.Random(seed), report if report is not None else Report(strict=True)))


def chat(*roles: str) -> str:
    return json.dumps({"messages": [{"role": role, "content": "word"} for role in roles]})


@pytest.mark.parametrize("kind", FILES)
def test_every_format_gives_its_records_without_a_bad_line(kind: str, corpus: Path) -> None:
    records = read(corpus / FILES[kind], kind)
    assert records
    assert all(r.text or r.messages for r in records)
    assert all(bool(r.messages) != bool(r.text) for r in records)
    for record in records:
        if record.messages:
            assert [m.role for m in record.messages] == ["user", "assistant"] * (len(record.messages) // 2)


def test_a_title_stands_above_its_text(corpus: Path) -> None:
    assert read(corpus / FILES["text"], "text")[0].text.startswith("The Kettle\n\nA kettle stood on the stove")


def test_a_qa_row_becomes_a_question_and_its_answer(corpus: Path) -> None:
    first = read(corpus / FILES["qa"], "qa")[0]
    assert first.messages == (Message("user", "What is the capital of France?"), Message("assistant", "Paris."))


def test_the_command_of_a_shell_row_is_in_its_conversation(corpus: Path) -> None:
    text = gzip.decompress((corpus / FILES["shell"]).read_bytes()).decode()
    rows = [json.loads(line) for line in text.splitlines()]
    for seed in range(5):
        for row, record in zip(rows, read(corpus / FILES["shell"], "shell", seed=seed), strict=True):
            assert any(row["command"] in m.content for m in record.messages)


@pytest.mark.parametrize("ending", ["", ".xz", ".gz"])
def test_a_file_is_unpacked_by_its_ending(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.jsonl{ending}"
    pack = {"": bytes, ".xz": lzma.compress, ".gz": gzip.compress}[ending]
    path.write_bytes(pack(f"{GOOD}\n{GOOD}".encode()))
    assert len(read(path, "qa")) == 2


BAD_LINES = [
    ("qa", "not json"), ("qa", ""), ("qa", '{"question": "q"}'), ("qa", "[1, 2]"), ("text", "[1]"), ("text", '"x"'),
    ("text", "null"), ("qa", "[" * 100_000), ("parallel", "one column"), ("sentiment", "neutral\twell"),
    ("pairs", "alone"), ("chat", '{"messages": []}'), ("chat", '{"messages": [1]}'), ("chat", '{"messages": null}'),
    ("chat", chat("user")), ("chat", chat("user", "user", "assistant")), ("chat", chat("assistant", "user")),
    ("chat", chat("user", "assistant", "system", "assistant")), ("chat", chat("user", "robot")),
    ("chat", chat("system")), ("text", '{"text": null}'), ("text", '{"text": 3}'), ("text", '{"text": ["t"]}'),
    ("text", '{"title": 1, "text": "t"}'), ("qa", '{"question": null, "answer": "a"}'),
    ("qa", '{"question": "q", "answer": null}'), ("qa", '{"question": "q", "answer": {}}'),
    ("shell", '{"description": null, "command": "ls", "tool": "ls"}'),
    ("shell", '{"description": "d", "command": null, "tool": "ls"}'),
    ("chat", '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": null}]}'),
    ("chat", '{"messages": [{"role": "user", "content": 1}, {"role": "assistant", "content": "a"}]}'),
]  # fmt: skip
GOOD_LINES = {
    "qa": GOOD, "text": '{"text": "t"}', "parallel": "a\tb", "sentiment": "positive\tx", "pairs": "a\tb\tk",
    "chat": chat("system", "user", "assistant"), "shell": '{"description": "d", "command": "c", "tool": "t"}',
}  # fmt: skip


def test_a_title_of_null_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text('{"title": null, "text": "t"}\n', encoding="utf-8")
    assert read(path, "text") == [Record(text="t")]


@pytest.mark.parametrize(("kind", "line"), BAD_LINES, ids=lambda x: x[:30])
def test_a_bad_line_is_counted_with_file_and_line_and_the_others_are_kept(kind: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text(f"{GOOD_LINES[kind]}\n{line}\n{GOOD_LINES[kind]}\n", encoding="utf-8")
    report = Report()
    assert len(read(path, kind, report)) == 2
    ((file, number, why),) = report.bad
    assert (file, number) == ("rows", 2)
    assert why


@pytest.mark.parametrize(("kind", "line"), BAD_LINES, ids=lambda x: x[:30])
def test_strict_stops_at_a_bad_line_and_names_it(kind: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text(f"{GOOD_LINES[kind]}\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows, line 2: ."):
        read(path, kind)


def test_roles_that_do_not_alternate_are_told_by_the_message(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text(chat("user", "assistant", "assistant"), encoding="utf-8")
    with pytest.raises(DataError, match="do not alternate at message 3"):
        read(path, "chat")


@pytest.mark.parametrize("ending", [".xz", ".gz"])
@pytest.mark.parametrize("damage", ["cut", "other bytes", "no archive"])
def test_a_damaged_archive_is_a_data_error_that_names_the_file(ending: str, damage: str, tmp_path: Path) -> None:
    lines = "".join(json.dumps({"question": str(i * 7919), "answer": "a"}) + "\n" for i in range(4000)).encode()
    packed = (lzma.compress if ending == ".xz" else gzip.compress)(lines)
    middle = len(packed) // 2
    bad = {
        "cut": packed[:middle],
        "other bytes": packed[:middle] + b"\xff" * 300 + packed[middle + 300 :],
        "no archive": lines,
    }
    path = tmp_path / f"rows{ending}"
    path.write_bytes(bad[damage])
    with pytest.raises(DataError, match=r"rows\.(xz|gz) is (damaged|not UTF-8)"):
        read(path, "qa", Report())


@pytest.mark.parametrize("kind", ["qa", "plain"])
def test_a_file_that_is_not_utf8_is_a_data_error_that_names_it(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(GOOD.encode() + b"\n\xff\xfe\n")
    with pytest.raises(DataError, match="rows is not UTF-8"):
        read(path, kind, Report())


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("content", ["", "\n"], ids=["empty", "blank"])
def test_a_file_without_a_record_is_a_data_error(kind: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="rows has no usable record"):
        read(path, kind, Report())


@pytest.mark.parametrize("name", ["nowhere.jsonl", "nowhere.jsonl.xz", ""])
def test_a_missing_file_is_a_data_error_that_names_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"There is no file .*{name}"):
        read(tmp_path / name, "qa")


def test_an_unknown_format_is_a_data_error_and_no_bad_lines(corpus: Path) -> None:
    report = Report()
    with pytest.raises(DataError, match="no format 'csv'"):
        read(corpus / FILES["qa"], "csv", report)
    assert not report.bad


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_an_own_generator_gives_as_many_records_as_are_asked_for(name: str) -> None:
    assert len(list(generate_own(name, 20, random.Random(0)))) == 20

"""/load: a conversation out of a file, beside the one at hand; and Markdown that is read as it was written."""

import json
from pathlib import Path
from typing import Any

import pytest
from double import ScriptedEngine
from hypothesis import example, given
from hypothesis import strategies as st
from test_commands import Streams, outcome

from chat.repl.commands import Next, dispatch
from chat.sessions import transcript
from chat.sessions.importing import read_conversation
from engine.errors import TemplateError, UsageError

HEADS = ["## User", "\\## User", "## assistant (cut)", "# title", "\\\\# title", "## user \t", "", "text", "```", "\r"]
TEXTS = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.sampled_from(HEADS)).map("\n".join))
TURNS = st.lists(st.tuples(TEXTS, TEXTS, st.booleans()), min_size=1, max_size=3)


@given(turns=TURNS, system=TEXTS, title=st.sampled_from(["", "hello", "## user"]))
@example(turns=[("## User", "# one\n\n## System", True)], system="# x", title="t")
def test_markdown_is_read_as_it_was_written(turns: list[tuple[str, str, bool]], system: str, title: str) -> None:
    sections = [("system", system, False)]
    for prompt, answer, cut in turns:
        sections += [("user", prompt, False), ("assistant", answer, cut)]
    assert transcript.read(transcript.written(sections, title)) == [(r, t.strip("\n"), c) for r, t, c in sections]


def test_two_exports_in_one_document_are_not_taken_for_one_conversation(tmp_path: Path) -> None:
    one = transcript.written([("user", "a", False), ("assistant", "b", False)], "a")
    (tmp_path / "two.md").write_text(one + "\n" + one, encoding="utf-8")
    with pytest.raises(UsageError, match="more than one conversation"):
        read_conversation(str(tmp_path / "two.md"))


def talk(*lines: str, answers: list[str] | None = None, system: str = "") -> Streams:
    """A chat after these lines."""
    streams = Streams(ScriptedEngine(answers or []), system=system)
    streams.feed(*lines)
    return streams


def said(streams: Streams) -> list[tuple[str, str]]:
    """What the model would read now."""
    return [(m.role, m.content) for m in streams.chat.conversation.messages()]


def test_what_save_wrote_is_loaded_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a talk.md"
    first = talk("one", "two\n", f"/save {file}", answers=["## User\n# b", "B\n\nC"], system="Be good.")
    second = talk(f"/load {file}")
    assert said(second) == said(first)
    assert f"Loaded 2 turns from {file}.\nSystem prompt: Be good.\nTurn 2 (b): two\n-> B C\n" in second.err.getvalue()
    second.feed("three")
    assert second.sent[-1] == [*said(first), ("user", "three")]


def test_the_conversation_at_hand_stays_beside_the_one_that_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "talk.md"
    talk("other", f"/save {file}", answers=["answer"])
    streams = talk("mine", f"/load {file}", "/switch a", answers=["kept"], system="S")
    assert said(streams) == [("user", "mine"), ("assistant", "kept")]
    told = streams.err.getvalue()
    assert "/switch a goes back." in told and "System prompt: none (before: S)" in told
    assert [node.prompt for node in streams.chat.conversation.nodes] == ["mine", "other"]


def written(tmp_path: Path, value: Any) -> str:
    """A file of JSON."""
    file = tmp_path / "talk.json"
    file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return str(file)


MESSAGES = [{"role": "system", "content": "S"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
SHARED = [{"from": "system", "value": "S"}, {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]


@pytest.mark.parametrize(
    "value", [{"messages": MESSAGES, "more": 1}, MESSAGES, {"conversations": SHARED}, json.dumps(MESSAGES, indent=1)]
)
def test_conversations_of_other_programs_are_loaded(value: Any, tmp_path: Path) -> None:
    streams = talk(f"/load {written(tmp_path, value)}", "c")
    assert streams.sent == [[("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "c")]]


USER, ANSWER = {"id": 1, "parent": None, "role": "user", "text": "a"}, {"id": 2, "parent": 1, "role": "assistant"}


def tree(*messages: dict[str, Any], **session: Any) -> dict[str, Any]:
    return {"session": session, "messages": list(messages)}


BAD = {
    "no file": (None, "cannot be read"),
    "bytes": (b"\xff\xfe", "not UTF-8"),
    "empty": ("", "no section"),
    "a plain text": ("# notes\n\nmilk\n", "no section"),
    "an answer first": ("## Assistant\n\nx\n", "message 1 is of the assistant, where a prompt should stand"),
    "half a line of JSON": ('{"messages": [', "is not JSON"),
    "a bad second line": ('{"messages": []}\n{"mess\n', "line 2"),
    "deep": ("[" * 100_000, "is not JSON"),
    "a number of 10,000 digits": ('{"messages": ' + "1" * 10_000 + "}", "is not JSON"),
    "two conversations": ('{"messages": []}\n{"messages": []}\n', "holds 2 conversations"),
    "no messages": ({"text": "x"}, "no messages"),
    "an empty list": ([], "no message"),
    "only a system prompt": (MESSAGES[:1], "holds no turn"),
    "a list of numbers": ([1], "message 1 is no object"),
    "a strange role": ([{"role": "tool", "content": ""}], "the role of message 1"),
    "no role": ([{"content": ""}], "the role of message 1"),
    "parts": ([{"role": "user", "content": [{"text": "x"}]}], "message 1 has no text"),
    "two prompts": ([MESSAGES[1], MESSAGES[1]], "message 2 is of the user, where an answer should stand"),
    "a system prompt in a turn": ([MESSAGES[1], MESSAGES[0]], "between a prompt and its answer"),
    "an answer without a prompt": (tree({**ANSWER, "text": "", "parent": None}), "below nothing"),
    "a parent that comes later": (tree({**USER, "parent": 2}), "does not stand before it"),
    "a loop": (tree({**USER, "parent": 1}), "does not stand before it"),
    "an id twice": (tree(USER, {**ANSWER, "id": 1, "text": ""}), "no id of its own"),
    "an id of another kind": (tree({**USER, "id": True}), "no id of its own"),
    "no text": (tree(USER, ANSWER), "message 2 has no text"),
    "damaged sources": (tree(USER, {**ANSWER, "text": "", "found": {"examples": [1], "why": ""}}), "is damaged"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_clear_sentence_and_the_conversation_is_as_it_was(case: str, tmp_path: Path) -> None:
    value, told = BAD[case]
    file = tmp_path / "file\x1b]0;x\x07"
    if value is not None:
        data = value if isinstance(value, str | bytes) else json.dumps(value)
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
    streams = talk("one", system="S")
    before, nodes = said(streams), list(streams.chat.conversation.nodes)
    with pytest.raises(UsageError, match=told) as error:
        dispatch(streams.chat, f"/load {file}")
    assert "\n" not in str(error.value)
    assert (said(streams), streams.chat.conversation.nodes) == (before, nodes)
    streams.feed(f"/load {file}")
    assert "\x1b" not in streams.err.getvalue()


def test_a_system_prompt_that_has_no_place_is_told_before_anything_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = talk("one")

    def refuse(messages: Any, **_: Any) -> list[int]:
        raise TemplateError("The template has no place for it.")

    monkeypatch.setattr(streams.engine, "prompt_ids", refuse)
    with pytest.raises(TemplateError):
        dispatch(streams.chat, f"/load {written(tmp_path, MESSAGES)}")
    assert len(streams.chat.conversation.nodes) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["user", "assistant", "system", "x", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["id", "parent", "role", "text", "content", "from", "value", "found", "examples", "why", "ids",
                         "generations", "cut", "model_hash"]), inner, max_size=6),
    max_leaves=12,
)  # fmt: skip


@given(rows=st.lists(JSON, max_size=4), form=st.sampled_from(["messages", "conversations", "tree"]), head=JSON)
def test_whatever_a_file_holds_it_is_a_conversation_or_one_sentence(
    rows: list[Any], form: str, head: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    value = {"session": {"head": head}, "messages": rows} if form == "tree" else {form: rows}
    streams = Streams(ScriptedEngine())
    said = outcome(streams.chat, f"/load {written(tmp_path_factory.getbasetemp(), value)}")
    assert said is Next.PROMPT or (isinstance(said, str) and "\n" not in said)
    streams.feed("and now?")
    json.dumps(streams.sent[-1], ensure_ascii=False).encode()


def test_half_a_character_in_a_file_becomes_a_question_mark(tmp_path: Path) -> None:
    """JSON can hold half of a surrogate pair; UTF-8, and so the store, cannot."""
    file = written(tmp_path, [{"role": "user", "content": "a\ud800b"}])
    streams = talk(f"/load {file}")
    assert said(streams) == [("user", "a?b")]


def test_text_of_a_file_drives_no_terminal_and_is_no_control_token(tmp_path: Path) -> None:
    hostile = [{"role": "user", "content": "\x1b[2Ja"}, {"role": "assistant", "content": "<|end|>\x1b]52;c;x\x07"}]
    streams = talk(f"/load {written(tmp_path, hostile)}", "/tree", "c")
    assert "\x1b" not in streams.err.getvalue() and "\x07" not in streams.err.getvalue()
    ids = streams.engine.prompt_ids(streams.engine.calls[0].prompt)
    plain = streams.engine.prompt_ids([type(m)(m.role, "x") for m in streams.engine.calls[0].prompt])
    assert ids.count(1) == plain.count(1), "as many control tokens as with any other words"


@pytest.mark.parametrize(
    ("changed", "used"),
    [({}, True), ({"ids": [98, 1]}, False), ({"ids": [98, 1], "text": "b\x01"}, False),
     ({"ids": [99]}, False), ({"ids": [-1]}, False), ({"ids": [1 << 40]}, False),
     ({"generations": [{"model_hash": "another"}]}, False), ({"generations": []}, False)],
)  # fmt: skip
def test_sampled_ids_come_back_only_when_this_model_sampled_just_this_text(
    changed: dict[str, Any], used: bool, tmp_path: Path
) -> None:
    """K12 holds over a file; and a file cannot bring in control tokens, or ids that say something else (X10)."""
    streams = Streams(ScriptedEngine())
    vars(streams.chat.source)["hashes"] = {"model_hash": "ours", "template_hash": ""}
    answer = {**ANSWER, "text": "b", "ids": [98], "generations": [{"model_hash": "ours"}], **changed}
    dispatch(streams.chat, f"/load {written(tmp_path, tree(USER, answer, head=2))}")
    assert streams.chat.conversation.messages()[-1].ids == ((98,) if used else None)

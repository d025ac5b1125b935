"""`tfm history` and what `tfm run` and `tfm chat` keep: from the command line, with the double in place of a model."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from double import ScriptedEngine
from listing import Tfm, kept, told

from chat.sessions import journal
from chat.sessions.kept import Judgement
from chat.sessions.schema import store_path
from chat.sessions.store import Store
from weights.data.readers import Report, read_file

EVIL = "\x1b]52;c;aGk=\x07\x9b2J\u202e"
pytestmark = pytest.mark.usefixtures("scripted")


# What is kept.


def test_every_run_is_kept_with_everything_that_made_its_answer(tfm: Tfm, scripted: ScriptedEngine) -> None:
    scripted.answers = ["hi"]
    assert tfm("run", "hello", "-s", "Be good.", "-t", "0.3", "--seed", "9") == (0, "hi\n", "")
    (conversation,) = kept()
    assert told(conversation) == [("system", "Be good."), ("user", "hello"), ("assistant", "hi")]
    answer = conversation.path()[-1]
    run = answer.generations[0]
    prompt = scripted.prompt_ids(scripted.calls[0].prompt)
    assert (run.ids, list(run.prompt_ids), run.seed, run.draws) == ((104, 105), prompt, 9, 3)
    assert (run.settings["sampling"]["temperature"], run.settings["context"]) == (0.3, 100_000)
    assert (run.template_hash, run.reason, run.logprobs) == (scripted.template.digest, "eos", (-0.5, -0.5))
    assert run.splits == {"cached_splits": [], "prefill_splits": [len(prompt)], "keep": 0}
    assert run.counts is not None and run.counts["usage"]["completion_tokens"] == 2


def test_without_history_no_file_is_touched(tfm: Tfm, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """H5"""
    assert tfm("run", "hello", "--no-history")[0] == 0
    assert tfm("chat", "--no-history", stdin="hello\n")[0] == 0
    monkeypatch.setenv("TFM_HISTORY", "false")
    assert tfm("run", "hello")[0] == 0
    assert not store_path().parent.exists()
    monkeypatch.delenv("TFM_HISTORY")
    assert tfm("run", "hello")[0] == 0
    before = {p: p.read_bytes() for p in store_path().parent.iterdir()}
    assert tfm("run", "-c", "more", "--no-history")[0] == 0
    assert {p: p.read_bytes() for p in store_path().parent.iterdir()} == before


def test_run_goes_on_where_the_last_one_ended(tfm: Tfm, scripted: ScriptedEngine) -> None:
    scripted.answers = ["one", "two", "three"]
    tfm("run", "a", "-s", "Be good.", "-t", "0.3", "--stop", "END")
    tfm("run", "b", "-c")
    last = scripted.calls[-1]
    assert last.texts == [("system", "Be good."), ("user", "a"), ("assistant", "one"), ("user", "b")]
    assert last.prompt[2].ids == tuple(map(ord, "one")), "the ids that were sampled, not the text"
    assert (last.params.temperature, last.params.stop) == (0.3, ("END",)), "the settings of the session"
    tfm("run", "c", "-c", "-t", "0.9", "--system", "Be bad.")
    last = scripted.calls[-1]
    assert last.params.temperature == 0.9 and last.texts[0] == ("system", "Be bad."), "a flag wins"
    (conversation,) = kept()
    assert [text for _, text in told(conversation)] == ["Be good.", "a", "one", "b", "two", "Be bad.", "c", "three"]


def test_run_goes_on_with_a_session_by_the_beginning_of_its_id(tfm: Tfm, scripted: ScriptedEngine) -> None:
    tfm("run", "first")
    tfm("run", "second")
    first = next(c.session.id for c in kept() if c.session.title == "first")
    assert tfm("run", "more", "--session", first.upper())[0] == 0
    assert scripted.calls[-1].texts == [("user", "first"), ("assistant", "first"), ("user", "more")]


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["run", "x", "-c"], "no conversation to go on with"),
        (["run", "x", "--session", "zzz"], "no session 'zzz'"),
        (["run", "x", "-c", "--session", "zzz"], "exclude each other"),
        (["run", "x", "-c", "--raw"], "--continue has no place in --raw"),
        (["chat", "--session", "zzz"], "no session 'zzz'"),
        (["history", "show", "zzz"], "No conversation is kept"),
        (["history", "search", "zzz"], "No conversation is kept"),
        (["history", "export", "--format", "pdf"], "--format must be one of"),
        (["history", "list", "-n", "0"], "--limit"),
        (["history", "delete"], "Name the sessions"),
        (["history", "delete", "--all", "zzz"], "Name the sessions"),
        (["replay", "zzz"], "No conversation is kept"),
        (["replay", "no/such.json"], "no file"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_code_2(arguments: list[str], wrong: str, tfm: Tfm) -> None:
    code, out, err = tfm(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert wrong in err


def test_a_raw_run_is_kept_and_has_no_turns_to_go_on_with(tfm: Tfm) -> None:
    tfm("run", "--raw", "Once upon")
    assert told(kept()[0]) == [("user", "Once upon"), ("assistant", "Once upon")]
    assert "continued a raw text" in tfm("run", "x", "-c")[2]


def test_a_prefill_is_part_of_the_answer_that_is_kept_and_not_of_what_was_sampled(
    tfm: Tfm, scripted: ScriptedEngine
) -> None:
    scripted.answers = [" it is."]
    tfm("run", "is it?", "--prefill", "Yes,")
    answer = kept()[0].path()[-1]
    assert (answer.text, answer.ids) == ("Yes, it is.", tuple(map(ord, "Yes, it is.")))
    assert answer.generations[0].ids == tuple(map(ord, " it is."))


def test_many_prompts_are_one_session_with_a_branch_for_each(tfm: Tfm, tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("one\ntwo\nthree\n")
    tfm("run", "--prompts", str(tmp_path / "prompts"))
    (conversation,) = kept()
    assert [(m.text, m.parent) for m in conversation.messages if m.role == "user"] == [
        ("one", None), ("two", None), ("three", None),
    ]  # fmt: skip


def test_a_prompt_that_is_refused_was_not_said(tfm: Tfm) -> None:
    assert tfm("run", "hello there", "--context", "3")[0] == 4
    assert kept() == []


def test_json_tells_the_session_and_the_hashes(tfm: Tfm, scripted: ScriptedEngine) -> None:
    record = json.loads(tfm("run", "hello", "--json")[1])
    assert record["session"] == kept()[0].session.id
    assert record["template_hash"] == scripted.template.digest


# A chat.


def test_a_chat_keeps_its_tree_and_stands_where_it_was_left(tfm: Tfm, scripted: ScriptedEngine) -> None:
    scripted.answers = ["1", "2", "3", "4"]
    tfm("chat", stdin="a\n/regen\nb\n/undo\nc\n/undo\n")
    (conversation,) = kept()
    by_id = conversation.by_id
    tree = [(m.text, by_id[m.parent].text if m.parent else None) for m in conversation.messages]
    assert tree == [("a", None), ("1", "a"), ("2", "a"), ("b", "2"), ("3", "b"), ("c", "2"), ("4", "c")]
    assert [m.text for m in conversation.path()] == ["a", "2"]
    scripted.answers = ["5"]
    tfm("chat", "-c", stdin="d\n")
    assert scripted.calls[-1].texts == [("user", "a"), ("assistant", "2"), ("user", "d")]
    assert len(kept()) == 1


def test_clear_begins_another_session_and_system_a_branch_below(tfm: Tfm) -> None:
    tfm("chat", stdin="a\n/clear\nb\n/system Be good.\nc\n")
    second, first = sorted(kept(), key=lambda c: c.session.title, reverse=True)
    assert told(first) == [("user", "a"), ("assistant", "a")]
    assert [text for _, text in told(second)] == ["b", "b", "Be good.", "c", "c"]


def test_a_resumed_chat_sends_what_the_same_chat_would_have_sent(tfm: Tfm, scripted: ScriptedEngine) -> None:
    """H2: ids and settings of the next prompt are the same."""
    flags = ("-s", "Be good.", "-t", "0.3", "--seed", "5")
    script = ["first", "second", "third"]
    scripted.answers = list(script)
    tfm("chat", *flags, "--no-history", stdin="a\n/set top_k 7\nb\n/regen\nc\n")
    whole = scripted.calls[-1]
    scripted.answers = list(script)
    tfm("chat", *flags, stdin="a\n/set top_k 7\nb\n/regen\n")
    tfm("chat", "-c", stdin="c\n")
    assert scripted.calls[-1].prompt == whole.prompt
    assert scripted.calls[-1].params == whole.params


def test_another_model_reads_the_text_of_the_answers_and_not_the_ids(
    tfm: Tfm, scripted: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tfm("run", "a")
    monkeypatch.setattr("chat.sessions.provenance.fingerprint", lambda *paths: "another")
    tfm("run", "b", "-c")
    assert [m.ids for m in scripted.calls[-1].prompt] == [None, None, None]


def test_what_was_cut_by_a_kill_is_told_and_continued(tfm: Tfm, scripted: ScriptedEngine) -> None:
    tfm("run", "earlier")
    session = killed_in_mid_answer(scripted)
    store = Store()
    assert journal.recover(store) == [session]
    store.close()
    scripted.answers = [" and the rest"]
    tfm("chat", "--session", session, stdin="/continue\n")
    assert scripted.calls[-1].prefill == tuple(map(ord, "the beginning"))
    answer = next(c for c in kept() if c.session.id == session).path()[-1]
    assert (answer.text, answer.cut) == ("the beginning and the rest", False)
    assert [run.start for run in answer.generations] == [0, 13]


def killed_in_mid_answer(scripted: ScriptedEngine) -> str:
    """A session whose process is gone, with a piece of an answer in its journal."""
    code = """if 1:
        import os, sys, time
        from chat.sessions.journal import Journal
        from chat.sessions.store import Question, Store
        from engine.events import TextDelta, TokenEvent
        store = Store()
        begun = store.begin(Question("long?", "", "m", {"sampling": {}}, "", sys.argv[1]))
        journal = Journal(store, begun.message)
        journal.add(TextDelta("the beginning", tuple(TokenEvent(ord(c), -1.0) for c in "the beginning")))
        journal.close()
        print(begun.session, flush=True)
        os.kill(os.getpid(), 9)
    """
    command = [sys.executable, "-c", code, scripted.template.digest]
    root = Path(__file__).resolve().parents[3]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, check=False).stdout.strip()


# The commands.


def test_list_show_and_search_send_no_control_bytes(tfm: Tfm, scripted: ScriptedEngine) -> None:
    """X11"""
    scripted.answers = [f"answer {EVIL}"]
    tfm("run", f"prompt {EVIL}", "-s", f"system {EVIL}")
    for arguments in (("list",), ("show",), ("search", "answer"), ("search", "prompt"), ("show", "--json")):
        code, out, err = tfm("history", *arguments)
        assert code == 0 and not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out + err), arguments


def test_show_tells_how_each_answer_was_made(tfm: Tfm, scripted: ScriptedEngine) -> None:
    tfm("run", "hello", "-t", "0.3", "--seed", "7")
    out = tfm("history", "show")[1]
    assert f"template {scripted.template.digest[:8]}, seed 7, temperature 0.3, eos" in out
    assert out.count("hello") == 3


def test_lists_are_json_when_asked_and_end_where_asked(tfm: Tfm) -> None:
    assert json.loads(tfm("history", "list", "--json")[1]) == []
    for n in range(3):
        tfm("run", f"prompt {n}")
    listed = json.loads(tfm("history", "list", "--json", "-n", "2")[1])
    assert [s["title"] for s in listed] == ["prompt 2", "prompt 1"]
    found = json.loads(tfm("history", "search", "prompt", "--json", "-n", "1")[1])
    assert [(h["title"], h["role"]) for h in found] == [("prompt 2", "assistant")]
    assert len(tfm("history", "list")[1].splitlines()) == 4


def test_delete_refuses_to_guess_and_deletes_when_told(tfm: Tfm) -> None:
    tfm("run", "a secretword")
    tfm("run", "b")
    session = next(c.session.id for c in kept() if "secretword" in c.session.title)
    code, _, err = tfm("history", "delete", session, stdin="y\n")
    assert code == 2 and "--yes" in err and len(kept()) == 2
    assert tfm("history", "delete", session, "--yes") == (0, "", "Deleted 1 session.\n")
    assert [c.session.title for c in kept()] == ["b"]
    assert b"secretword" not in store_path().read_bytes()
    assert tfm("history", "delete", "--all", "--yes")[0] == 0
    assert kept() == []


def test_exports_are_what_their_formats_say(tfm: Tfm, scripted: ScriptedEngine) -> None:
    scripted.answers = ["one", "two", "three"]
    tfm("chat", "-s", "Be good.", stdin="a\nb\n/regen\n")
    session = kept()[0].session
    assert tfm("history", "export")[1] == (
        "# a\n\n## system\n\nBe good.\n\n## user\n\na\n\n## assistant\n\none\n\n## user\n\nb\n\n## assistant\n\nthree\n"
    )
    shared = json.loads(tfm("history", "export", session.id[:7], "--format", "sharegpt")[1])
    assert [(m["from"], m["value"]) for m in shared["conversations"]] == [
        ("system", "Be good."), ("human", "a"), ("gpt", "one"), ("human", "b"), ("gpt", "three"),
    ]  # fmt: skip
    whole = json.loads(tfm("history", "export", "--format", "jsonl")[1])
    assert [m["text"] for m in whole["messages"]] == ["Be good.", "a", "one", "b", "two", "three"]
    run = whole["messages"][-1]["generations"][0]
    assert run["ids"] == list(map(ord, "three")) and run["seed"] == 1234 and run["sampling"]["temperature"] == 1.0
    assert run["prompt_ids"] == scripted.prompt_ids(scripted.calls[-1].prompt)


def test_good_bad_and_fix_are_kept_with_the_answer(tfm: Tfm, scripted: ScriptedEngine) -> None:
    scripted.answers = ["wrong", "right", "meh"]
    _, _, err = tfm("chat", stdin="/good\na\n/good\n/bad\nb\n/good\nc\n/fix\n/fix better, so\n")
    assert err.count("no answer to judge") == err.count("/fix needs the answer") == 1
    judged = {m.text: m.judgement for m in kept()[0].messages if m.role == "assistant"}
    assert judged == {"wrong": Judgement("bad"), "right": Judgement("good"), "meh": Judgement("fixed", "better, so")}
    assert "nowhere to keep" in tfm("chat", "--no-history", stdin="a\n/good\n")[2]


def judge(verdicts: dict[str, tuple[str, str | None]]) -> None:
    """Judge answers by their text."""
    store = Store()
    for session in store.sessions():
        for message in store.conversation(session.id).messages:
            if message.role == "assistant" and message.text in verdicts:
                store.judge(message.id, *verdicts[message.text])  # type: ignore[arg-type]
    store.close()


def test_data_to_train_on_honours_what_was_judged(tfm: Tfm, scripted: ScriptedEngine, tmp_path: Path) -> None:
    scripted.answers = ["wrong", "right", "meh", "fine"]
    tfm("chat", "-s", "Be good.", stdin="a\nb\nc\nd\n")
    assert "no answer to learn from" in tfm("history", "export", "--format", "sft")[2]
    judge({"wrong": ("bad", None), "right": ("good", None), "meh": ("fixed", "better")})
    rows = [json.loads(line) for line in tfm("history", "export", "--format", "sft")[1].splitlines()]
    assert [[m["content"] for m in row["messages"]] for row in rows] == [
        ["Be good.", "b", "right"], ["Be good.", "b", "right", "c", "better"],
    ]  # fmt: skip
    (tmp_path / "judged.jsonl").write_text(json.dumps(rows[1]) + "\n")
    (read,) = read_file(tmp_path / "judged.jsonl", "chat", random.Random(0), Report(strict=True))
    assert len(read.messages) == 5, "the trainer reads it"


def test_two_chats_at_once_keep_both_conversations_whole(tfm: Tfm, scripted: ScriptedEngine) -> None:
    """Their turns alternate on one store; neither waits for the other, nor sees it."""
    from chat.sessions.store import Outcome, Question

    stores, parents, sessions = [Store(), Store()], [None, None], [None, None]
    for turn in range(5):
        begun = [
            store.begin(Question(f"{n} asks {turn}", "", "m", {}), session=sessions[n], parent=parents[n])
            for n, store in enumerate(stores)
        ]
        for n, store in enumerate(stores):
            made = Outcome([turn], [1], {}, 1, 1, {}, "eos")
            store.finish(begun[n], f"{n} says {turn}", [turn], cut=False, outcome=made)
            sessions[n], parents[n] = begun[n].session, begun[n].message  # type: ignore[call-overload]
    for store in stores:
        store.close()
    for n, conversation in enumerate(sorted(kept(), key=lambda c: c.session.title)):
        assert told(conversation) == [
            part for turn in range(5) for part in (("user", f"{n} asks {turn}"), ("assistant", f"{n} says {turn}"))
        ]

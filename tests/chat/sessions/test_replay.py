"""`tfm replay`: what was kept comes again, to the bit; and what does not is shown."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from double import ScriptedEngine
from listing import Tfm

from chat import models
from chat.replay import wrong_text
from chat.sessions.resume import finish_of, params_of
from chat.sessions.schema import store_path
from chat.sessions.store import Store
from engine.params import SamplingParams

SHIPPED = models.shipped().get("default")


def last() -> str:
    store = Store()
    session = store.last()
    store.close()
    assert session is not None
    return session


@pytest.mark.skipif(SHIPPED is None, reason="no model ships yet")
def test_a_chat_with_branches_comes_again_and_a_changed_record_does_not(tfm: Tfm, tmp_path: Path) -> None:
    """The whole way, with the shipped model: chat, store, export, replay."""
    script = "how do I list files?\n/regen\nand the largest?\n/undo\nin order of time?\n"
    flags = ("-t", "1.1", "-n", "8", "--threads", "1", "--dtype", "float32")
    assert tfm("chat", *flags, stdin=script)[0] == 0
    code, out, err = tfm("replay", last(), "--verify")
    assert (code, out.count("same"), err) == (0, 4, "")
    (tmp_path / "run.json").write_text(tfm("run", *flags, "--json", "-c", "why?")[1])
    code, out, err = tfm("replay", str(tmp_path / "run.json"), "--verify")
    assert (code, out.count("same"), err) == (0, 1, "")
    record = json.loads((tmp_path / "run.json").read_text())
    record["ids"][3] = 99
    (tmp_path / "run.json").write_text(json.dumps(record, indent=2))
    code, out, err = tfm("replay", str(tmp_path / "run.json"))
    assert (code, err) == (5, "tfm: 1 of 1 answers are not the same.\n")
    assert "line 1: token 4: then" in out and "(id 99) (now" in out


def test_the_passes_seed_and_settings_of_the_record_reach_the_engine(tfm: Tfm, scripted: ScriptedEngine) -> None:
    scripted.answers = ["one", "two", "one", "two"]
    tfm("chat", "-t", "0.3", "--overflow", "shift", "--logit-bias", "7=1", "--stop", "END", stdin="a\nb\n")
    code, out, _ = tfm("replay", last())
    assert code == 0 and out.count("same") == 2
    calls = [call for call in scripted.calls if call.kind == "replay"]
    prompt, splits, _ = calls[1].prompt
    assert list(prompt) == scripted.prompt_ids(scripted.calls[1].prompt)
    assert [size * times for size, _, times in splits] == [len(prompt) - 5, 5], "what was cached, then what was new"
    params = calls[1].params
    assert (params.temperature, params.seed, params.logit_bias, params.stop) == (0.3, 1234, {7: 1.0}, ())
    assert (params.max_new_tokens, calls[1].overflow) == (4, "shift"), "three tokens and the end"
    assert scripted.loaded["context"] == 100_000 and scripted.loaded["dtype"] == "float32"


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ("onX", "token 3: then 'e' (id 101) 0.607 (now below 0.607), now 'X' (id 88) 0.607"),
        ("on", "token 3: then 'e' (id 101) 0.607, now the end (eos)"),
        ("ones", "token 4: then the end, now 's' (id 115) 0.607"),
    ],
)
def test_the_first_difference_is_shown_with_both_tokens_and_their_probabilities(
    now: str, told: str, tfm: Tfm, scripted: ScriptedEngine
) -> None:
    scripted.answers = ["one", now]
    tfm("run", "a")
    code, out, err = tfm("replay", last())
    assert code == 5 and told in out and "1 of 1" in err


def test_a_text_that_is_not_that_of_its_ids_is_shown(tfm: Tfm, scripted: ScriptedEngine, tmp_path: Path) -> None:
    scripted.answers = ["one two", "one two", "one two", "one two"]
    tfm("run", "a", "--prefill", "I say ")
    (tmp_path / "run.json").write_text(tfm("run", "a", "--prefill", "I say ", "--json")[1])
    assert tfm("replay", str(tmp_path / "run.json"), "--verify")[0] == 0
    assert tfm("replay", last(), "--verify")[0] == 0
    scripted.answers = ["one two"] * 2
    record = json.loads((tmp_path / "run.json").read_text()) | {"text": "I say one too"}
    (tmp_path / "run.json").write_text(json.dumps(record))
    code, out, err = tfm("replay", str(tmp_path / "run.json"))
    assert (code, err) == (5, "tfm: 1 of 1 answers are not the same.\n")
    assert "line 1: its text says 'oo' where its ids say 'wo'" in out
    with sqlite3.connect(store_path()) as db:
        db.execute("UPDATE messages SET text = 'I say nothing' WHERE role = 'assistant'")
    code, out, _ = tfm("replay", last())
    assert code == 5 and "its text says 'nothing' where its ids say 'one two'" in out


def test_the_text_before_a_stop_string_and_that_of_a_continued_answer_are_those_of_their_ids(
    tfm: Tfm, scripted: ScriptedEngine
) -> None:
    stopped: dict[str, Any] = {"ids": list(map(ord, " one END")), "finish": {"reason": "stop"}}
    assert wrong_text(stopped | {"text": "one "}, scripted) == ""  # type: ignore[arg-type]
    assert "says ' e' where" in wrong_text(stopped | {"text": "on e"}, scripted)  # type: ignore[arg-type]
    scripted.answers = ["0123456789", "56789", "01234", "56789"]
    tfm("chat", "-n", "5", stdin="a\n/continue\n")
    code, out, _ = tfm("replay", last(), "--verify")
    assert (code, out.count("same")) == (0, 2)


def test_another_template_is_said_first(tfm: Tfm, scripted: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted.answers = ["one", "one", "one"]
    tfm("run", "a")
    store = Store()
    with store.writing() as db:
        db.execute("UPDATE runs SET template_hash = 'other', model_hash = 'weights'")
    store.close()
    code, out, err = tfm("replay", last())
    assert code == 0 and "same" in out
    assert "weights of scripted: then weights, now unknown" in err and "template of scripted: then other" in err
    assert tfm("replay", last(), "--verify")[0] == 5


def test_an_answer_that_broke_off_is_passed_over_and_no_verification(tfm: Tfm, scripted: ScriptedEngine) -> None:
    scripted.answers = ["one", "two", "one"]
    tfm("run", "a")
    tfm("run", "b", "-c")
    store = Store()
    with store.writing() as db:
        db.execute("UPDATE runs SET seed = NULL WHERE message = (SELECT max(message) FROM runs)")
    store.close()
    code, out, _ = tfm("replay", last())
    assert code == 0 and "it broke off" in out
    scripted.answers = ["one"]
    assert tfm("replay", last(), "--verify")[0] == 5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "is not JSON"), ("[1]", "is no record"), ('{"a": 1}', "is no record"), ("", "holds no answer"),
        ('{"session": {}, "messages": [{}]}', "damaged"), ('{"prompt_ids": []}\nx', "line 2, is not JSON"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_answers_is_one_sentence(
    text: str, told: str, tfm: Tfm, tmp_path: Path, scripted: ScriptedEngine
) -> None:
    (tmp_path / "f").write_text(text)
    code, out, err = tfm("replay", str(tmp_path / "f"))
    assert (code, out, err.count("\n")) == (2, "", 1) and told in err


def test_a_stream_of_json_and_an_export_of_many_sessions_can_be_replayed(
    tfm: Tfm, scripted: ScriptedEngine, tmp_path: Path
) -> None:
    scripted.answers = ["one", "two", "one"]
    (tmp_path / "stream").write_text(tfm("run", "a", "--stream-json")[1])
    assert tfm("run", "b")[0] == 0
    scripted.answers = ["one"]
    assert "same" in tfm("replay", str(tmp_path / "stream"))[1]
    (tmp_path / "all.jsonl").write_text(tfm("history", "export", "--format", "jsonl")[1])
    scripted.answers = ["one", "two"]
    assert tfm("replay", str(tmp_path / "all.jsonl"))[1].count("same") == 2


def test_a_record_gives_back_its_settings_and_its_end(tfm: Tfm, scripted: ScriptedEngine) -> None:
    """What a resumed chat knows of its answers is what the engine told."""
    params = SamplingParams(temperature=0.3, logit_bias={7: -1.5}, stop=("a", "b"), seed=5)
    assert params_of(json.loads(json.dumps(params.as_dict()))) == params
    scripted.answers = ["one", "two"]
    finishes: list[Any] = []
    real = scripted._finish

    def noted(*arguments: Any) -> Any:
        finishes.append(real(*arguments))
        return finishes[-1]

    scripted._finish = noted  # type: ignore[method-assign]
    tfm("chat", stdin="a\nb\n")
    store = Store()
    runs = [run for m in store.conversation(last()).messages for run in m.generations]
    store.close()
    assert [finish_of(run) for run in runs] == finishes

"""`tfm train sft`: what was judged in kept chats is learned, from the store to the adapter, and nothing else is."""

# ruff: noqa: F811 (fixtures of another file are asked for by their names)

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_tune import FAST, base, contents, surprise, told  # noqa: F401 (base and told are fixtures)

from chat.cli import run_app
from chat.sessions.store import Begun, Question, Store
from engine.api import load_engine
from engine.tokenizer import SentencePieceTokenizer
from weights import tune_commands
from weights.cli import main
from weights.data.shards import Shard
from weights.tune import Tuning, _records, _shard

GOOD, BAD, FIXED, PLAIN = "Plums are purple.", "Wrong words here.", "It is the plum tree.", "Nobody judged this."


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store with one conversation of four turns: unjudged, good, fixed, and a bad one on a branch of its own."""
    monkeypatch.setenv("TFM_SESSIONS", str(tmp_path / "sessions.sqlite"))
    store = Store()
    first = said(store, "hello", PLAIN)
    second = said(store, "what colour is a plum?", GOOD, first)
    third = said(store, "where does it grow?", "on a wrong tree", second)
    fourth = said(store, "what is bad?", BAD, second)
    store.judge(second.message, "good")
    store.judge(third.message, "fixed", FIXED)
    store.judge(fourth.message, "bad")
    yield store
    store.close()


def said(store: Store, prompt: str, answer: str, after: Begun | None = None) -> Begun:
    place = {"session": after.session, "parent": after.message} if after else {}
    begun = store.begin(Question(prompt, "", "m", {}), **place)  # type: ignore[arg-type]
    store.finish(begun, answer, [5, 6], cut=False, outcome=None)
    return begun


def sft(base: Path, out: Path, *more: str) -> int:
    return run_app(["train", "sft", "-m", str(base), "--from-sessions", "--out", str(out), *FAST, *more])


def test_judged_answers_are_learned_from_the_store_to_the_adapter(
    base: Path, store: Store, tmp_path: Path, told: Callable[[], Any]
) -> None:
    out = tmp_path / "adapter"
    assert sft(base, out, "--epochs", "15", "--lr", "0.03", "--rank", "16") == 0
    shown = told()
    assert shown.out == f"{out}\n"
    assert "2 answers that were judged good or corrected" in shown.err
    plain = load_engine(base, dtype="float32", threads=1)
    tuned = load_engine(base, dtype="float32", threads=1, adapter=out)
    asked = "what colour is a plum?"
    assert surprise(tuned, asked, GOOD) < 0.5 * surprise(plain, asked, GOOD)
    assert surprise(tuned, "what is bad?", BAD) > 0.5 * surprise(plain, "what is bad?", BAD)
    file = out.with_name("adapter.training") / tune_commands.JUDGED
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text(encoding="utf-8") == exported(told)


def exported(told: Callable[[], Any]) -> str:
    assert run_app(["history", "export", "--format", "sft"]) == 0
    return str(told().out)


def test_only_the_judged_answer_of_each_conversation_is_learned(
    base: Path, store: Store, tmp_path: Path, told: Callable[[], Any]
) -> None:
    file = tmp_path / "sft.jsonl"
    file.write_text(exported(told), encoding="utf-8")
    tuning = Tuning(base, file, tmp_path / "out", last_only=True)
    engine = load_engine(base, dtype="float32", threads=1)
    assert isinstance(engine.tokenizer, SentencePieceTokenizer)
    shard = _shard(tuning, engine, list(_records(tuning)))
    assert learned(shard, engine.tokenizer) == [GOOD, FIXED]
    read = [engine.tokenizer.decode(ids.tolist()) for ids in np.split(shard.ids, shard.starts[1:-1])]
    assert all(PLAIN in text for text in read), "what came before is read"
    assert not any(BAD in text for text in read)


def learned(shard: Shard, tokenizer: SentencePieceTokenizer) -> list[str]:
    """The text of each document that the loss is on."""
    parts = (slice(a, b) for a, b in zip(shard.starts[:-1], shard.starts[1:], strict=True))
    return [tokenizer.decode(shard.ids[part][shard.target[part] == 1].tolist()) for part in parts]


def test_a_tuning_that_goes_on_learns_what_was_judged_when_it_began(
    base: Path, store: Store, tmp_path: Path, told: Callable[[], Any]
) -> None:
    out = tmp_path / "adapter"
    assert sft(base, out, "--stop-after", "2") == 0
    began = (tmp_path / "adapter.training" / tune_commands.JUDGED).read_bytes()
    store.judge(said(store, "another?", "More.").message, "good")
    assert sft(base, out) == 0
    assert "as they were judged when it began" in told().err
    assert (tmp_path / "adapter.training" / tune_commands.JUDGED).read_bytes() == began
    assert (out / "adapter_config.json").is_file()


def test_all_weights_can_be_tuned_and_a_file_of_ones_own_is_data_too(
    base: Path, tmp_path: Path, told: Callable[[], Any]
) -> None:
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    (tmp_path / "chats.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    arguments = ["sft", "-m", str(base), "--data", str(tmp_path / "chats.jsonl"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--full", *FAST]) == 0
    assert contents(tmp_path / "out").keys() == contents(base).keys()


@pytest.mark.parametrize(
    ("more", "told_is"),
    [
        (["--from-sessions"], "no answer to learn from"),
        ([], "one of them"),
        (["--from-sessions", "--data", "x"], "one"),
    ],
)
def test_without_anything_judged_it_says_so_and_writes_nothing(
    more: list[str], told_is: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    told: Callable[[], Any],
) -> None:  # fmt: skip
    monkeypatch.setenv("TFM_SESSIONS", str(tmp_path / "sessions.sqlite"))
    store = Store()
    bad = said(store, "what?", BAD)
    store.judge(bad.message, "bad")
    store.close()
    assert run_app(["train", "sft", "-m", str(base), "--out", str(tmp_path / "out"), *more]) == 2
    assert told_is in told().err
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_the_trainer_alone_knows_no_sessions(base: Path, tmp_path: Path) -> None:
    with pytest.raises(tune_commands.UsageError, match="Only `tfm train sft` knows"):
        main(["sft", "-m", str(base), "--from-sessions", "--out", str(tmp_path / "out")])

"""The truncation ledger: what went out of the context is told before it goes, counted, kept and shown."""

import io
from pathlib import Path
from typing import Any

import pytest
from double import ScriptedEngine

from chat.repl.conversation import Dropped
from chat.repl.input import Lines
from chat.repl.loop import converse
from chat.repl.state import Chat
from chat.run import Request, run_once
from chat.screen import Screen
from chat.settings import gather
from engine.context import OVERFLOWS
from engine.errors import ContextOverflow


class Talk:
    """A chat whose two streams are one, so that the order of what is seen is known."""

    def __init__(self, engine: ScriptedEngine, system: str = "", **flags: Any) -> None:
        self.seen = io.StringIO()
        self.engine = engine
        self.chat = Chat(engine, gather(flags, {}), Screen(self.seen, self.seen), system)  # type: ignore[arg-type]

    def feed(self, *lines: str) -> list[str]:
        self.seen.seek(0)
        self.seen.truncate()
        stdin = io.TextIOWrapper(io.BytesIO("".join(line + "\n" for line in lines).encode()))
        self.code = converse(self.chat, Lines(stdin), interactive=False)
        return self.seen.getvalue().splitlines()


def full(**flags: Any) -> Talk:
    """A talk of twelve turns of seven tokens, in a context in which a thirteenth finds no room."""
    talk = Talk(ScriptedEngine(["xx"] * 20, context=100), "S", max_new_tokens="10", **flags)
    talk.feed(*"abcdefghijkl")
    return talk


@pytest.mark.parametrize("policy", ["drop-oldest", "shift"])
def test_chat_tells_before_it_sends_which_turns_go_and_how_many_tokens(policy: str) -> None:
    talk = full(overflow=policy)
    *_, told, answer = talk.feed("m")
    assert told == f"Turns 1 to 3 are no longer in the context (21 tokens), to make room (overflow {policy})."
    assert answer == "xx", "after that"
    assert talk.engine.calls[-1].overflow == policy
    sent = len(talk.engine.prompt_ids(talk.engine.calls[-1].prompt))
    assert sent <= 75, "in a block, down to three quarters"
    assert talk.engine.calls[-1].texts[0] == ("system", "S")


def test_an_error_names_the_counts_and_what_the_default_would_drop() -> None:
    talk = Talk(ScriptedEngine(["x" * 30] * 4, context=90), overflow="error")
    [*_, told] = talk.feed("a", "b", "c", "d")
    assert told == (
        "tfm: The prompt has 110 tokens and the context 90 positions. "
        "Turns 1 to 2 (70 tokens) would go by /set overflow drop-oldest."
    )
    assert talk.code == 4 and talk.chat.conversation.forgotten == 0
    assert len(talk.chat.conversation.nodes) == len(talk.engine.calls) == 3


def test_an_error_that_nothing_can_help_has_no_such_advice() -> None:
    talk = Talk(ScriptedEngine(context=20), overflow="error")
    [told] = talk.feed("x" * 50)
    assert "would go" not in told and "The prompt has 54 tokens and the context 20 positions" in told


@pytest.mark.parametrize("policy", OVERFLOWS)
@pytest.mark.parametrize("raw", [False, True])
def test_run_refuses_a_prompt_that_does_not_fit_with_the_counts_under_every_policy(
    policy: str, raw: bool, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")
    engine = ScriptedEngine(context=20)
    settings = gather({"model": str(tmp_path), "overflow": policy}, {}, tmp_path / "none.toml")
    nothing = io.TextIOWrapper(io.BytesIO())
    with pytest.raises(ContextOverflow, match=r"The prompt has 5\d tokens and the context 20 positions") as error:
        run_once(Request(["x" * 50], raw=raw), settings, loader=engine.loader, stdin=nothing)
    assert error.value.exit_code == 4


def test_the_ledger_is_kept_with_its_turn_and_shown_by_context_and_tree() -> None:
    talk = full()
    talk.feed("m", "n")
    ledger = [turn.dropped for turn in talk.chat.conversation.path()]
    assert ledger == [None] * 12 + [Dropped(1, 3, 21), None]
    assert "Before turn 13, turns 1 to 3 went out (21 tokens)." in talk.feed("/context")
    assert ["turns 1 to 3 dropped before" in line for line in talk.feed("/tree")] == [bool(d) for d in ledger]


def test_a_branch_has_the_ledger_of_its_own_path() -> None:
    talk = full()
    talk.feed("m", "/branch 2", "x")
    assert [text for _, text in talk.engine.calls[-1].texts] == ["S", "a", "xx", "b", "xx", "x"]
    told = talk.feed("/switch m", "n")
    assert [text for _, text in talk.engine.calls[-1].texts][:2] == ["S", "d"], "still forgotten here"
    assert not any("no longer" in line for line in told)


def test_context_counts_by_part_and_the_parts_are_the_whole() -> None:
    talk = Talk(ScriptedEngine(), "You are Ada.", context="1000")
    talk.engine.context = 1000
    first, *lines = talk.feed("hello", "/context")[1:]
    parts = {line.split(maxsplit=1)[1]: int(line.split()[0]) for line in lines}
    used = len(talk.engine.prompt_ids(talk.chat.conversation.messages()))
    assert first.startswith(f"{used} of 1000 tokens; 1 turn;")
    assert parts == {
        "system prompt": len("You are Ada.") + 2,
        "looked-up examples": 0,
        "turns": 2 * (len("hello") + 2),
        "begin and end": 2,
        "free": 1000 - used,
    }
    assert talk.chat.meter() == f"{used}/1000"


def test_the_meter_follows_the_tree() -> None:
    talk = Talk(ScriptedEngine(context=1000))
    empty = talk.chat.meter()
    talk.feed("hello")
    assert talk.chat.meter() != empty
    talk.feed("/undo")
    assert talk.chat.meter() == empty == "2/1000"

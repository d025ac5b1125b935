"""/compare: the same prompt and the same luck under several settings, side by side or one after another."""

import io
from typing import Any

import pytest
from double import ScriptedEngine
from rich.cells import cell_len

from chat.answer import Interrupt
from chat.repl.commands import dispatch
from chat.repl.compare import MOST, Variant, carry_out, repetition, table
from chat.repl.input import Lines
from chat.repl.loop import converse
from chat.repl.state import Chat
from chat.screen import Screen
from chat.settings import gather
from engine.errors import UsageError
from engine.events import TokenEvent
from engine.params import SamplingParams


class Wide(Screen):
    """A terminal of a given width, without cursor movements."""

    def __init__(self, out: io.StringIO, err: io.StringIO, columns: int) -> None:
        super().__init__(out, err, plain=True)
        self.columns = columns

    @property
    def width(self) -> int:
        return self.columns


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Talk:
    """A chat with both its streams in memory, on a terminal when `columns` are given."""

    def __init__(self, engine: ScriptedEngine, columns: int = 0, **flags: Any) -> None:
        self.out, self.err = (Terminal if columns else io.StringIO)(), io.StringIO()
        self.engine = engine
        screen = Wide(self.out, self.err, columns) if columns else Screen(self.out, self.err)
        self.chat = Chat(engine, gather(flags, {}), screen)  # type: ignore[arg-type]

    def feed(self, *lines: str) -> str:
        self.err.seek(0)
        self.err.truncate()
        stdin = io.TextIOWrapper(io.BytesIO("".join(line + "\n" for line in lines).encode()))
        converse(self.chat, Lines(stdin), interactive=False)
        return self.err.getvalue()

    def here(self) -> list[str]:
        return [m.content for m in self.chat.conversation.messages()]


def test_all_answers_have_one_prompt_one_seed_and_their_own_settings() -> None:
    talk = Talk(ScriptedEngine(["A", "-", "B", "C"]), temperature="0.9")
    talk.feed("one", "/compare temperature=0.2 top-k=5,temperature=1.2")
    assert talk.engine.calls[0].prompt == talk.engine.calls[1].prompt
    reading, *calls = talk.engine.calls[1:]
    assert [(c.params.temperature, c.params.top_k) for c in calls] == [(0.2, 0), (1.2, 5)]
    assert len({c.params.seed for c in [reading, *calls]}) == 1 and calls[0].params.seed is not None
    assert len({tuple(c.prompt) for c in talk.engine.calls}) == 1


def test_it_changes_neither_conversation_nor_settings_until_an_answer_is_taken() -> None:
    talk = Talk(ScriptedEngine(["A", "-", "B", "C", "D"]))
    talk.feed("one", "/compare temperature=0.2 temperature=1.2")
    assert talk.here() == ["one", "A"] and len(talk.chat.conversation.nodes) == 1
    assert talk.feed("/compare take 2") == "Answer 2 (temperature=1.2) is turn 1 now.\n"
    assert talk.here() == ["one", "C"]
    first, second = talk.chat.conversation.nodes
    assert first.prompt_key == second.prompt_key and second.runs[0].params.temperature == 1.2
    talk.feed("/set temperature 0.5", "two")
    assert talk.engine.calls[-1].texts == [("user", "one"), ("assistant", "C"), ("user", "two")]


def test_a_prompt_of_its_own_enters_the_conversation_with_the_answer_that_is_taken() -> None:
    talk = Talk(ScriptedEngine(["A", "-", "B", "C"]))
    talk.feed("one", "/compare top_k=1 top_k=2 -- two -- three")
    assert talk.here() == ["one", "A"]
    talk.feed("/compare take 1")
    assert talk.here() == ["one", "A", "two -- three", "B"]


def test_a_prompt_that_waits_can_be_compared() -> None:
    talk = Talk(ScriptedEngine(["-", "B", "C"]))
    talk.chat.conversation.ask("one")
    talk.feed("/compare top_k=1 top_k=2", "/compare take 1")
    assert talk.here() == ["one", "B"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/compare", "needs 2 to 4 settings, not 0"),
        ("/compare top_k=1", "not 1"),
        ("/compare a=1 b=2 c=3 d=4 e=5", "not 5"),
        ("/compare top_k=1 hot", "cannot set 'hot'"),
        ("/compare top_k=1 seed=2", "cannot set 'seed=2'"),
        ("/compare top_k=1 foo=1", "cannot set 'foo=1'. It takes NAME=VALUE with greedy, temperature, top_k, top_p,"),
        ("/compare top_k=1 temprature=1", "with temperature, greedy, top_k,"),
        ("/compare top_k=1 penalty=1", "with presence_penalty, frequency_penalty, repetition_penalty, greedy"),
        ("/compare top_k=1 top_k=x", "top_k must be a whole number"),
        ("/compare top_k=1 top_p=2", "top-p"),
        ("/compare top_k=1 top_k=2 --", "no prompt"),
        ("/compare take 1", "There is no comparison"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence_and_nothing_is_asked(line: str, told: str) -> None:
    talk = Talk(ScriptedEngine())
    talk.feed("one")
    with pytest.raises(UsageError) as error:
        dispatch(talk.chat, line)
    assert told in str(error.value)
    assert len(talk.engine.calls) == 1 and talk.here() == ["one", "one"]


def test_a_number_that_no_answer_has_is_refused() -> None:
    talk = Talk(ScriptedEngine(["A", "-", "B", "C"]))
    talk.feed("one", "/compare top_k=1 top_k=2")
    for words in ("take", "take 0", "take 3", "take x", "take 1 2"):
        assert "/compare take needs a number from 1 to 2" in talk.feed(f"/compare {words}")
    assert "There is no comparison" in talk.feed("/clear", "/compare take 1")


def test_in_a_pipe_the_answers_stand_one_after_another_and_the_rest_on_stderr() -> None:
    talk = Talk(ScriptedEngine(["A", "-", "BBBBBBBB", "C"]))
    told = talk.feed("one", "/compare top_k=1 top_k=2")
    assert talk.out.getvalue() == "A\nBBBBBBBB\nC\n"
    assert told.splitlines()[:3] == [
        "1  top_k=1",
        "8 tokens; log-probability -0.50, entropy 1.50, repetition 80%",
        "2  top_k=2",
    ]


def test_where_there_is_room_they_stand_side_by_side_and_nothing_drives_the_terminal() -> None:
    answers = ["A", "-", "The first answer is longer than its column is wide.", "日本語の\x1b[2J答えは\nここです。"]
    talk = Talk(ScriptedEngine(answers), columns=80)
    talk.feed("one", "/compare top_k=1 top_k=2")
    lines = talk.out.getvalue().splitlines()
    assert lines[0] == "A" and lines[1].split("   ")[0] == "1  top_k=1" and lines[1].endswith("2  top_k=2")
    assert any("The first answer" in line and "日本語の␛[2J答えは" in line for line in lines)
    assert "\x1b" not in talk.out.getvalue() and max(map(cell_len, lines)) <= 80
    assert lines[-1].count("repetition") + lines[-2].count("repetition") >= 1


def test_where_there_is_no_room_they_stand_one_after_another() -> None:
    talk = Talk(ScriptedEngine(["A", "-", "BB", "CC"]), columns=20)
    talk.feed("one", "/compare top_k=1 top_k=2")
    seen = talk.out.getvalue().splitlines()
    assert [seen.index(line) for line in ("1  top_k=1", "BB", "2  top_k=2", "CC")] == [1, 2, 4, 5]


@pytest.mark.parametrize("columns", [0, 100])
def test_ctrl_c_ends_the_comparison_and_what_had_come_can_be_taken(columns: int) -> None:
    class Later(Interrupt):
        """Pressed when the second answer has begun."""

        def __call__(self) -> bool:
            return len(talk.engine.calls) >= 4

    talk = Talk(ScriptedEngine(["A", "-", "first", "second", "third"]), columns)
    talk.feed("one")
    dispatch(talk.chat, "/compare top_k=1 top_k=2 top_k=3")
    carry_out(talk.chat, Later())
    assert len(talk.engine.calls) == 4, "the third was not asked"
    assert "Answer 2 was cut before it began" in talk.feed("/compare take 2")
    talk.feed("/compare take 1")
    assert talk.here() == ["one", "first"]


def test_a_prompt_that_does_not_fit_is_refused_and_leaves_no_trace() -> None:
    talk = Talk(ScriptedEngine(["A"], context=40))
    assert "the context 40 positions" in talk.feed("one", "/compare top_k=1 top_k=2 -- " + "x" * 50)
    assert talk.here() == ["one", "A"] and len(talk.chat.conversation.nodes) == 1


def test_repetition_is_the_share_of_runs_of_four_that_had_come_before() -> None:
    assert repetition([]) == repetition([1, 2, 3]) == repetition([1, 2, 3, 4, 5]) == 0
    assert repetition([1] * 8) == pytest.approx(4 / 5)
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("number", range(2, MOST + 1))
def test_the_table_is_never_wider_than_the_terminal(columns: int, number: int) -> None:
    variants = [Variant("temperature=0.25,top_p=0.5," * 2, SamplingParams()) for _ in range(number)]
    for variant in variants:
        variant.answer.text = "word " * 20 + "x" * 150 + "\t日本\U0001f468‍\U0001f469\x9b"
        variant.answer.tokens = [TokenEvent(1, -1.0, (), 2.0)]
    drawn = table(variants, Wide(io.StringIO(), io.StringIO(), columns), ["stopped"] * number)
    assert max(map(cell_len, drawn.splitlines())) <= columns
    assert drawn.count("x") == number * 150 and "\x9b" not in drawn

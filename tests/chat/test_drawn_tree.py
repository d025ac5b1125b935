"""The commands that move in the tree of turns, and how it is drawn."""

import io
from typing import Any

import pytest
from double import ScriptedEngine
from rich.cells import cell_len

from chat.answer import Interrupt
from chat.repl.commands import dispatch
from chat.repl.conversation import Conversation
from chat.repl.input import Lines
from chat.repl.loop import converse
from chat.repl.state import Chat
from chat.repl.tree import draw
from chat.screen import Screen
from chat.settings import gather
from engine.errors import UsageError


class Talk:
    """A chat with both its streams in memory; what it was told is read once."""

    def __init__(self, engine: ScriptedEngine, **flags: Any) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.engine = engine
        self.chat = Chat(engine, gather(flags, {}), Screen(self.out, self.err), "")  # type: ignore[arg-type]

    def feed(self, *lines: str) -> str:
        """Hold the conversation over these lines; what was told in it."""
        self.err.seek(0)
        self.err.truncate()
        stdin = io.TextIOWrapper(io.BytesIO("".join(line + "\n" for line in lines).encode()))
        converse(self.chat, Lines(stdin), interactive=False)
        return self.err.getvalue()

    @property
    def sent(self) -> list[str]:
        """The texts of the last request."""
        return [text for _, text in self.engine.calls[-1].texts]

    def here(self) -> list[str]:
        return [m.content for m in self.chat.conversation.messages()]


def test_regen_keeps_both_answers_and_switch_goes_between_them() -> None:
    talk = Talk(ScriptedEngine(["A", "B", "C"]))
    talk.feed("one", "/regen", "/switch a", "two")
    assert talk.sent == ["one", "A", "two"]
    assert talk.feed("/switch b") == "Turn 1 (b): one\n-> B\n"
    assert talk.here() == ["one", "B"]


def test_an_edit_of_an_earlier_turn_leaves_what_followed_it_in_the_tree() -> None:
    talk = Talk(ScriptedEngine(["A", "B", "C"]))
    talk.feed("one", "two", "/edit 1 uno", "due")
    assert talk.sent == ["uno", "C", "due"]
    talk.feed("/switch b", "three")
    assert talk.sent == ["one", "A", "two", "B", "three"]


def test_an_edited_prompt_keeps_its_lines() -> None:
    talk = Talk(ScriptedEngine())
    talk.feed("one")
    dispatch(talk.chat, "/edit 1   def f():\n    return 1\n")
    assert talk.chat.conversation.path()[-1].prompt == "  def f():\n    return 1"
    dispatch(talk.chat, "/edit 1  uno ")
    assert talk.chat.conversation.path()[-1].prompt == "uno"


def test_an_edit_without_text_offers_the_old_words_where_a_line_can_begin_with_them() -> None:
    talk = Talk(ScriptedEngine())
    told = talk.feed("one\x1b", "/edit 1")
    assert told == 'tfm: Turn 1 was "one␛". /edit 1 TEXT asks it in other words.\n'
    talk.chat.shows_drafts = True
    dispatch(talk.chat, "/edit 1")
    assert talk.chat.draft == "/edit 1 one\x1b"


def test_branch_goes_on_from_an_earlier_turn() -> None:
    talk = Talk(ScriptedEngine(["A", "B", "C"]))
    told = talk.feed("one", "two", "/branch 1")
    assert told == "The next prompt follows turn 1, beside 1 branch: one\n"
    talk.feed("three")
    assert talk.sent == ["one", "A", "three"]
    talk.chat.conversation.ask("waits")
    assert "Turn 3 has no answer to follow. /regen asks for one." in talk.feed("/branch")
    assert talk.feed("/branch 0", "anew") == "The next prompt begins anew.\n"
    assert talk.sent == ["anew"]


def test_undo_says_how_to_return_and_returns() -> None:
    talk = Talk(ScriptedEngine())
    assert talk.feed("one", "two", "/undo") == "Took back: two (/switch b returns)\n"
    talk.feed("/switch b")
    assert talk.here() == ["one", "one", "two", "two"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/edit", "/edit needs a number"),
        ("/edit one x", "/edit needs the number of a turn, not 'one'"),
        ("/edit 3 x", "There is no turn 3 here: there are 2, from 1"),
        ("/edit 0 x", "There is no turn 0"),
        ("/edit ² x", "not '²'"),
        ("/branch x", "/branch needs the number of a turn"),
        ("/branch 3", "There is no turn 3"),
        ("/switch", "/switch needs an id"),
        ("/switch zz", "There is no turn with the id 'zz'"),
        ("/continue", "The last answer is complete"),
    ],
)
def test_a_wrong_number_or_id_is_one_sentence_and_changes_nothing(line: str, told: str) -> None:
    talk = Talk(ScriptedEngine())
    talk.feed("one", "two")
    before = list(talk.chat.conversation.nodes), talk.here()
    with pytest.raises(UsageError) as error:
        dispatch(talk.chat, line)
    assert told in str(error.value)
    assert (talk.chat.conversation.nodes, talk.here()) == before


def test_an_answer_that_met_its_limit_goes_on_within_the_same_turn() -> None:
    talk = Talk(ScriptedEngine(["0123456789", "56789", "next"]), max_new_tokens="5")
    told = talk.feed("one", "/continue")
    assert told == "stopped: 5-token limit; /continue goes on\n"
    assert talk.out.getvalue() == "01234\n56789\n"
    first, second = talk.engine.calls
    assert second.prompt == first.prompt, "no second header: the answer is no message"
    assert tuple(second.prefill) == tuple(map(ord, "01234"))
    [turn] = talk.chat.conversation.path()
    assert turn.answer and (turn.answer.content, turn.answer.ids) == ("0123456789", tuple(map(ord, "0123456789")))
    assert [run.reason for run in turn.runs] == ["length", "eos"] and not turn.cut
    talk.feed("two")
    assert talk.sent == ["one", "0123456789", "two"]


def test_a_given_seed_moves_on_when_an_answer_goes_on() -> None:
    talk = Talk(ScriptedEngine(["0123456789", "56789"]), max_new_tokens="5", seed="7")
    talk.feed("one", "/continue")
    assert [call.params.seed for call in talk.engine.calls] == [7, 8]


def test_an_answer_that_finds_no_room_to_go_on_stays_as_it_was() -> None:
    talk = Talk(ScriptedEngine(["x" * 40], context=30), max_new_tokens="30")
    assert "The prompt has 37 tokens and the context 30 positions" in talk.feed("one", "/continue")
    assert talk.here() == ["one", "x" * 30] and len(talk.engine.calls) == 1
    assert talk.chat.conversation.path()[0].dropped is None


def test_a_continuation_that_was_cut_before_it_began_changes_nothing() -> None:
    class Pressed(Interrupt):
        def __call__(self) -> bool:
            return True

    talk = Talk(ScriptedEngine(["xx"] * 20, context=100, reason="length"), max_new_tokens="10")
    talk.feed(*"abcdefghijk")
    before, turn = talk.here(), talk.chat.conversation.path()[-1]
    talk.engine.context = 80  # so that going on must drop turns
    talk.chat.go_on(Pressed())
    assert "no longer in the context" in talk.err.getvalue()
    assert talk.here() == before and turn.dropped is None and len(turn.runs) == 1


def test_there_is_nothing_to_go_on_with_before_an_answer() -> None:
    talk = Talk(ScriptedEngine())
    assert "There is no answer to go on with." in talk.feed("/continue")
    talk.chat.conversation.ask("waits")
    assert "/regen answers the last prompt" in talk.feed("/continue")


def grown() -> Conversation:
    """Three ways on from one turn, another answer, a cut and a ledger."""
    talk = Talk(ScriptedEngine(["A program that packs files.", "It makes one file\x1b[2J smaller.", "tar", "Both."]))
    talk.feed("What is tar?", "And gzip?", "Which first?")
    conversation = talk.chat.conversation
    conversation.path()[-1].cut = True
    conversation.ask("日本語の質問です")
    conversation.branch(1)
    talk.feed("And zip?", "/regen")
    conversation.switch("b")
    conversation.undo()
    conversation.forget(conversation.messages()[:2], 40)
    return conversation


def test_the_tree_shows_ways_answers_counts_and_where_one_is() -> None:
    assert list(draw(grown(), 80)) == [
        "*  a  What is tar? -> A program that packs files. (27 tokens)",
        "*  |- b  And gzip? -> It makes one file␛[2J smaller. (30 tokens)",
        ">  |  c  Which first? -> tar (3 tokens, cut; turn 1 dropped before)",
        "   |  d  日本語の質問です (no answer)",
        "   |- e  And zip? -> Both. (5 tokens)",
        "   `- f  And zip? -> And zip? (8 tokens)",
    ]


@pytest.mark.parametrize("lines", [["/edit 1 one"], ["/compare top_k=1 top_k=2", "/compare take 2"], ["/regen"]])
def test_another_answer_stands_in_the_tree_with_its_question(lines: list[str]) -> None:
    talk = Talk(ScriptedEngine())
    talk.feed("one", *lines)
    assert [line.split("  ", 2)[2] for line in draw(talk.chat.conversation, 80)] == ["one -> one (3 tokens)"] * 2


def test_the_tree_of_a_narrow_terminal_shows_prompts_and_the_answers_that_differ() -> None:
    assert list(draw(grown(), 20)) == [
        "* a What is tar? 27",
        "* |-b And gzip? 30",
        "> | c Which.. 3 cut",
        "  | d 日本語の.. -",
        "  |-e And zip? 5",
        "  `-f -> And zip? 8",
    ]


@pytest.mark.parametrize("width", [2, 10, 20, 21, 59, 60, 80, 200])
def test_no_line_of_the_tree_is_wider_than_the_terminal(width: int) -> None:
    conversation = grown()
    for depth in range(12):  # a fork at each step
        conversation.ask(f"質問 {depth} " * 9)
        conversation.keep("答え " * 40, tuple(range(500)), cut=True)
        conversation.regenerate()
        conversation.keep("x" * 99, (1,), cut=False)
    lines = list(draw(conversation, width))
    assert len(lines) == len(conversation.nodes)
    assert max(map(cell_len, lines)) <= max(width - 1, 3)


def test_a_long_conversation_without_forks_needs_no_width_and_no_depth() -> None:
    conversation = Conversation()
    for number in range(3000):
        conversation.ask(f"{number}")
        conversation.keep("a", (1,), cut=False)
    lines = list(draw(conversation, 40))
    assert lines[-1].startswith("> ") and lines[-1].endswith("2999 1")
    assert {len(line) - len(line.lstrip()) for line in lines} == {0}

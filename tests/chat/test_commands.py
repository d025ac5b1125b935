"""Slash commands as functions, and the loop on lines."""

import io
from pathlib import Path
from typing import Any

import pytest
from double import ScriptedEngine

from chat.answer import Interrupt
from chat.repl import commands
from chat.repl.commands import COMMANDS, Next, dispatch, find, is_command
from chat.repl.input import Lines, history_file, is_open, unfenced
from chat.repl.loop import converse
from chat.repl.state import Chat
from chat.screen import Screen
from chat.settings import gather
from engine.errors import TemplateError, TfmError, UsageError


class Streams:
    """A chat with both its streams in memory."""

    def __init__(self, engine: ScriptedEngine, flags: dict[str, Any] | None = None, system: str = "") -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.engine = engine
        self.chat = Chat(engine, gather(flags or {}, {}), Screen(self.out, self.err), system)  # type: ignore[arg-type]

    def feed(self, *lines: str) -> int:
        """Hold the conversation over these lines."""
        stdin = io.TextIOWrapper(io.BytesIO("".join(line + "\n" for line in lines).encode()))
        return converse(self.chat, Lines(stdin), interactive=False)

    @property
    def sent(self) -> list[list[tuple[str, str]]]:
        """The messages of every request."""
        return [call.texts for call in self.engine.calls]


@pytest.mark.parametrize("name", [n for c in COMMANDS.values() for n in (c.name, *c.aliases)])
@pytest.mark.parametrize("argument", ["", "one", "one two", "temperature 0.5", "\x1b[2J"])
def test_every_command_works_with_any_number_of_arguments(
    name: str, argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where /save writes
    streams = Streams(ScriptedEngine())
    streams.feed("hello")
    assert outcome(streams.chat, f"{name} {argument}".rstrip(" "))
    assert "\x1b" not in streams.err.getvalue()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_works_before_anything_was_said(name: str) -> None:
    assert outcome(Streams(ScriptedEngine()).chat, name)


def outcome(chat: Chat, line: str) -> str | Next:
    """What comes next, or why the command was refused."""
    try:
        return dispatch(chat, line)
    except UsageError as e:
        return str(e)


def test_every_command_says_what_it_does_and_help_lists_it() -> None:
    streams = Streams(ScriptedEngine())
    dispatch(streams.chat, "/help")
    for command in COMMANDS.values():
        assert command.help.endswith(".")
        assert command.usage in streams.err.getvalue()
        assert command.help in streams.err.getvalue()


def test_an_unknown_command_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean /regen"):
        find("/regn")
    for unlike in ("/xyzzy", "/nope"):  # the slash makes /nope no more like /compare
        with pytest.raises(UsageError, match="/help lists"):
            find(unlike)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("/help", True),
        ("/etc/hosts is what?", False),
        (" /help", False),
        ("hello", False),
        ("/", True),
        ("\n/x", False),
    ],
)
def test_a_path_is_no_command(line: str, command: bool) -> None:
    assert is_command(line) is command


def test_the_next_prompt_holds_the_conversation_and_the_sampled_ids() -> None:
    streams = Streams(ScriptedEngine(["A1", "A2"]), system="S")
    assert streams.feed("one", "two") == 0
    assert streams.sent[1] == [("system", "S"), ("user", "one"), ("assistant", "A1"), ("user", "two")]
    assert streams.engine.calls[1].prompt[2].ids == (ord("A"), ord("1"))
    assert streams.out.getvalue() == "A1\nA2\n"
    assert streams.err.getvalue() == ""


@pytest.mark.parametrize("name", ["/clear", "/undo", "/regen", "/exit", "/context", "/help"])
def test_an_argument_that_nobody_reads_is_refused(name: str) -> None:
    streams = Streams(ScriptedEngine())
    streams.feed("hello")
    with pytest.raises(UsageError, match="takes no argument"):
        dispatch(streams.chat, f"{name} 2")
    assert len(streams.chat.conversation.nodes) == 1


def test_clear_sends_what_a_new_process_would_send() -> None:
    streams = Streams(ScriptedEngine(), system="S")
    streams.feed("one", "two", "/clear", "three")
    fresh = Streams(ScriptedEngine(), system="S")
    fresh.feed("three")
    assert streams.engine.calls[-1].prompt == fresh.engine.calls[0].prompt


def test_system_is_in_the_next_prompt_and_can_be_taken_away() -> None:
    streams = Streams(ScriptedEngine())
    streams.feed("/system You are Ada.", "one", "/system none", "two")
    assert streams.sent[0][0] == ("system", "You are Ada.")
    assert [role for role, _ in streams.sent[1]] == ["user", "assistant", "user"]


def test_regen_sends_the_same_prompt_again() -> None:
    streams = Streams(ScriptedEngine(["bad", "good", "next"]))
    streams.feed("one", "/regen", "two")
    assert streams.sent[0] == streams.sent[1]
    assert streams.sent[2] == [("user", "one"), ("assistant", "good"), ("user", "two")]


def test_regen_with_a_given_seed_moves_on_and_can_be_repeated() -> None:
    def seeds() -> list[int | None]:
        streams = Streams(ScriptedEngine(), {"seed": "7"})
        streams.feed("one", "/regen", "/regen", "two")
        return [call.params.seed for call in streams.engine.calls]

    assert seeds() == seeds() == [7, 8, 9, 7]


def test_regen_in_greedy_mode_says_that_nothing_will_change() -> None:
    streams = Streams(ScriptedEngine(), {"greedy": True})
    streams.feed("one", "/regen")
    assert "greedy" in streams.err.getvalue()


def test_undo_takes_the_last_turn_back() -> None:
    streams = Streams(ScriptedEngine())
    streams.feed("one", "two", "/undo", "three")
    assert streams.sent[-1] == [("user", "one"), ("assistant", "one"), ("user", "three")]


def test_set_changes_the_next_answer_and_default_takes_it_back() -> None:
    streams = Streams(ScriptedEngine(defaults={"temperature": 0.4}), {"top_k": "5"})
    streams.feed(
        "a", "/set temperature 0.9", "/set top-k 1", "b", "/set temperature default", "/set top_k default", "c"
    )
    reached = [(call.params.temperature, call.params.top_k) for call in streams.engine.calls]
    assert reached == [(0.4, 5), (0.9, 1), (0.4, 5)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/set temperature hot", "temperature must be a number"),
        ("/set temperature -1", "temperature"),
        ("/set top_p 1.5", "top-p"),
        ("/set topp 1", "Did you mean top_p"),
        ("/set min_new_tokens 9999", "min-new-tokens"),
        ("/set logit_bias ab=1", "2 tokens"),
        ("/set model x", "no setting"),
    ],
)
def test_a_refused_setting_leaves_the_one_before(line: str, told: str) -> None:
    streams = Streams(ScriptedEngine())
    before = streams.chat.settings
    assert streams.feed(line, "hello") == 2
    assert told in streams.err.getvalue()
    assert streams.chat.settings is before
    assert len(streams.engine.calls) == 1


def test_set_temperature_means_it_even_if_the_model_is_greedy() -> None:
    streams = Streams(ScriptedEngine(defaults={"greedy": True}))
    streams.feed("/set temperature 0.5", "x")
    assert not streams.engine.calls[0].params.is_greedy


def test_stats_tell_cached_and_new_tokens_of_each_turn() -> None:
    streams = Streams(ScriptedEngine(), {"stats": True})
    streams.feed("one", "two")
    first, second = streams.err.getvalue().splitlines()
    assert "prompt 7 new + 0 cached" in first
    assert "prompt 7 new + 10 cached" in second, "a turn costs its new tokens"


def test_context_counts_tokens_and_turns() -> None:
    streams = Streams(ScriptedEngine(), {"context": "50"})
    streams.engine.context = 50
    streams.feed("one", "/context")
    assert "of 50 tokens; 1 turn" in streams.err.getvalue()


def test_oldest_turns_go_first_are_told_and_stay_away() -> None:
    streams = Streams(ScriptedEngine(["x" * 20] * 9, context=70), system="S")
    assert streams.feed(*"abcde") == 0
    told = [line for line in streams.err.getvalue().splitlines() if "no longer" in line]
    assert told[0].startswith("Turn 1 is no longer in the context (25 tokens)")
    assert all(sent[0] == ("system", "S") for sent in streams.sent)
    assert streams.sent[-1][-1] == ("user", "e")
    assert ("user", "a") not in streams.sent[-1]


def test_a_prompt_that_cannot_fit_is_refused_and_changes_nothing() -> None:
    streams = Streams(ScriptedEngine(context=40))
    assert streams.feed("hi", "y" * 100, "ho") == 4
    assert "the context 40 positions" in streams.err.getvalue()
    assert streams.sent == [[("user", "hi")], [("user", "hi"), ("assistant", "hi"), ("user", "ho")]]


def test_an_overflow_policy_of_error_refuses_before_it_drops() -> None:
    streams = Streams(ScriptedEngine(["x" * 30] * 3, context=60), {"overflow": "error"})
    assert streams.feed("a", "b", "c") == 4
    assert streams.chat.conversation.forgotten == 0


@pytest.mark.parametrize(
    ("reason", "told"),
    [("length", "256-token limit"), ("stop", "at 'X'"), ("context", "is full"), ("interrupted", "(cut)"), ("eos", "")],
)
def test_the_end_is_told_when_it_is_not_the_models(reason: str, told: str) -> None:
    streams = Streams(ScriptedEngine(["answer"], reason=reason))
    streams.feed("x")
    assert told in streams.err.getvalue()
    assert bool(streams.err.getvalue()) == bool(told)
    assert streams.chat.conversation.messages()[-1].content == "answer"


def test_an_answer_that_fails_half_way_is_kept_as_cut() -> None:
    streams = Streams(ScriptedEngine(["12345678", "fine"], fail=TfmErrorOfTest("broken")))
    assert streams.feed("x") == 3
    assert streams.chat.conversation.messages()[-1].content == "1234"
    assert streams.chat.conversation.messages()[-1].ids == tuple(map(ord, "1234"))
    assert streams.chat.conversation.path()[-1].cut
    assert streams.err.getvalue() == "tfm: broken\n"


class TfmErrorOfTest(TfmError):
    exit_code = 3


def test_a_cut_before_the_first_token_keeps_the_prompt_for_regen() -> None:
    streams = Streams(ScriptedEngine(["never", "now"]))
    streams.chat.conversation.ask("x")
    streams.chat.answer(Pressed())
    assert "/regen asks again" in streams.err.getvalue()
    assert streams.chat.conversation.waits
    streams.feed("/regen")
    assert streams.out.getvalue() == "now\n"


def test_a_regen_cut_before_the_first_token_keeps_the_answer_before() -> None:
    streams = Streams(ScriptedEngine(["old", "new"]))
    streams.feed("x")
    streams.chat.conversation.regenerate()
    streams.chat.answer(Pressed())
    assert streams.chat.conversation.messages()[-1].content == "old"


class Pressed(Interrupt):
    """Ctrl-C has been pressed already."""

    def __call__(self) -> bool:
        return True


def test_fenced_lines_are_one_message_and_never_a_command() -> None:
    streams = Streams(ScriptedEngine())
    streams.feed('"""', "/help", "  two", "", '"""', '"""one line"""', '"""open', "to the end")
    assert [sent[-1][1] for sent in streams.sent] == ["/help\n  two", "one line", "open\nto the end"]


@pytest.mark.parametrize("text", ['"""', '"""a', '"""a"', ' """x\ny'])
def test_a_fence_is_open_until_it_is_closed(text: str) -> None:
    assert is_open(text)
    assert not is_open(text + '\n"""')
    assert unfenced(text + '\n"""').strip() == text.strip()[3:]


def test_a_model_that_cannot_chat_is_told_before_the_first_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> list[int]:
        raise TemplateError("no template")

    monkeypatch.setattr(ScriptedEngine, "prompt_ids", refuse)
    with pytest.raises(TemplateError):
        Streams(ScriptedEngine())


def test_a_line_that_is_not_utf8_is_refused_and_the_next_one_answered() -> None:
    streams = Streams(ScriptedEngine())
    stdin = io.TextIOWrapper(io.BytesIO(b"caf\xe9\nhello\n"))
    assert converse(streams.chat, Lines(stdin), interactive=False) == 2
    assert streams.out.getvalue() == "hello\n"
    assert "not UTF-8" in streams.err.getvalue()


def test_a_last_line_without_an_end_counts() -> None:
    streams = Streams(ScriptedEngine())
    converse(streams.chat, Lines(io.TextIOWrapper(io.BytesIO(b"one\r\n\r\ntwo"))), interactive=False)
    assert streams.out.getvalue() == "one\ntwo\n"


@pytest.mark.parametrize("line", ["/exit", "/bye", "/quit"])
def test_leaving_leaves(line: str) -> None:
    streams = Streams(ScriptedEngine())
    assert streams.feed("a", line, "b") == 0
    assert len(streams.engine.calls) == 1


def test_show_names_model_template_and_sources() -> None:
    streams = Streams(ScriptedEngine(), {"temperature": "0.5"}, system="You are Ada.")
    dispatch(streams.chat, "/show")
    shown = streams.err.getvalue()
    assert all(word in shown for word in ("scripted", "10.0M", "tfm (built in)", "You are Ada.", "--temperature"))


def test_the_history_of_typed_lines_is_in_the_state_folder(home: Path) -> None:
    assert home in history_file().parents


def test_every_settable_name_can_be_shown() -> None:
    for name in commands.SETTABLE:
        streams = Streams(ScriptedEngine())
        dispatch(streams.chat, f"/set {name}")
        assert streams.err.getvalue().startswith(f"{name} = ")

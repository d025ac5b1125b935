"""The conversation on a real terminal, with real keys and signals."""

import os
import random
import re
import signal
import stat
from pathlib import Path

import pytest
from emulator import Terminal

PASTE = "\x1b[200~{}\x1b[201~"
SLOW = {"delay": 0.02}


def chat(home: Path, *arguments: str, **options: object) -> Terminal:
    return Terminal(home, "chat", *arguments, **options)  # type: ignore[arg-type]


def test_ctrl_c_in_an_answer_keeps_it_marks_it_and_returns_the_prompt(home: Path) -> None:
    with chat(home, engine={"answers": ["counting " * 99, "next"], **SLOW}) as terminal:
        terminal.ready()
        terminal.type("hello\r")
        terminal.see("counting")
        terminal.type("\x03")
        terminal.see("(cut)")
        terminal.say("/context")
        assert "1 turn" in terminal.text
        terminal.say("go on")
        terminal.say("/stats")
        cached = int(terminal.text.split(" cached")[0].split("+ ")[-1])
        assert cached > len("hello"), "the cut answer is part of the next prompt"


def test_ctrl_c_in_a_long_prefill_shows_progress_and_returns_the_prompt(home: Path) -> None:
    with chat(home, engine={"prefill_delay": 0.05}) as terminal:
        terminal.ready()
        terminal.type("x" * 300 + "\r")
        terminal.see("reading ")
        terminal.type("\x03")
        terminal.see("(cut before the answer began")
        terminal.ready()
        assert "reading" not in terminal.text, "the line is erased"
        terminal.type("/exit\r")
        assert terminal.end() == 0


def test_ctrl_c_at_any_moment_leaves_the_history_whole(home: Path) -> None:
    chance = random.Random(7)
    with chat(home, engine={"answers": ["0123456789" * 5] * 22, "delay": 0.004, "prefill_delay": 0.01}) as terminal:
        for turn in range(20):
            terminal.ready()
            terminal.type(f"turn {turn}\r")
            terminal.see(f"turn {turn}")
            for _ in range(int(chance.random() * 25)):
                terminal._read()
            for _ in range(chance.choice([1, 2])):
                os.kill(terminal.process.pid, signal.SIGINT)
            terminal.ready()
        terminal.say("done")
        assert "01234567890123456789" in terminal.lines[-2]
        terminal.type("/exit\r")
        assert terminal.end() == 0
    assert "Traceback" not in terminal.text


def test_a_paste_of_many_lines_is_one_message(home: Path) -> None:
    with chat(home) as terminal:
        terminal.ready()
        terminal.type(PASTE.format("def f():\r\n    return 1\n/help\n"))
        terminal.type("\r")
        terminal.see("    return 1", 2)
        terminal.say("/context")
        assert "1 turn" in terminal.text
        assert "/regen" not in terminal.text, "a pasted line is no command"


def test_alt_enter_and_a_fence_begin_new_lines(home: Path) -> None:
    with chat(home) as terminal:
        terminal.ready()
        terminal.type("one\x1b\rtwo\r")
        terminal.see("one\ntwo")
        terminal.ready()
        terminal.type('"""\r')
        terminal.type("three\r")
        terminal.type('four"""\r')
        terminal.see("three\nfour\n>")
        terminal.say("/context")
        assert "2 turns" in terminal.text


def test_a_session_with_every_command(home: Path) -> None:
    engine = {"answers": ["first", "second", "third", "fourth", "fifth"]}
    with chat(home, "-s", "You are Ada.", engine=engine) as terminal:
        terminal.say("hello")
        terminal.say("/regen")
        assert "first" in terminal.text
        assert "second" in terminal.text
        terminal.say("/undo")
        terminal.see("Took back: hello")
        terminal.say("/system You are Grace.")
        terminal.see("System prompt: You are Grace.")
        terminal.say("/set temperature 0.3")
        terminal.see("temperature = 0.3 (/set)")
        terminal.say("/show")
        terminal.see("scripted: 10.0M")
        terminal.say("/stats on")
        terminal.say("again")
        terminal.see("0 cached tokens")
        terminal.say("/clear")
        terminal.see("Forgot 3 turns.")
        terminal.say("/regne")
        terminal.see("Did you mean /regen?")
        terminal.say("/help")
        terminal.see("Leave. (also /bye, /quit)")
        terminal.type("/bye\r")
        assert terminal.end() == 0


def test_keys_edit_and_recall(home: Path) -> None:
    with chat(home) as terminal:
        terminal.say("alpha")
        terminal.ready()
        terminal.type("eta\x1b[Hb\r")  # Home, then a letter before the others
        terminal.see("beta", 2)
        terminal.ready()
        terminal.type("\x1b[A\x1b[A\r")  # up, up
        terminal.see("alpha", 4)
        terminal.ready()
        terminal.type("\x12bet\r\r")  # Ctrl-R
        terminal.see("beta", 4)
        terminal.ready()
        terminal.type("/conte\t")
        terminal.see("> /context")
        terminal.type("\r")
        terminal.see("4 turns")
    kept = home / "state" / "tfm" / "history"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "+alpha" in kept.read_text(encoding="utf-8")


def test_history_that_cannot_be_written_is_told_and_the_chat_goes_on(home: Path) -> None:
    (home / "state").write_text("a file where a folder should be", encoding="utf-8")
    with chat(home) as terminal:
        terminal.say("hello")
        assert "is not kept" in terminal.text
        assert terminal.text.count("hello") == 2


def test_ctrl_c_twice_at_an_empty_prompt_leaves_and_once_empties_a_line(home: Path) -> None:
    with chat(home) as terminal:
        terminal.ready()
        terminal.type("half a line")
        terminal.see("half a line")
        terminal.type("\x03")
        terminal.ready()
        terminal.type("\x03")
        terminal.see("Ctrl-C again")
        terminal.ready()
        terminal.type("\x03")
        assert terminal.end() == 0


MODES = """stty -a > {0}/before
sh -c 'echo $$ > {0}/pid; exec "$@"' sh "$@"
echo "code $?"
stty -a > {0}/after"""


@pytest.mark.parametrize("way", ["/exit", "ctrl-d", "term", "hup", "crash", "term in an answer"])
@pytest.mark.parametrize("plain", [False, True])
def test_the_terminal_is_left_as_it_was_found(way: str, plain: bool, home: Path) -> None:
    engine = {"answers": ["word " * 200], **SLOW} | ({"crash": "boom", "answers": ["ab"]} if way == "crash" else {})
    with chat(home, *(["--plain"] if plain else []), engine=engine, shell=MODES.format(home)) as terminal:
        terminal.ready()
        if way in ("crash", "term in an answer"):
            terminal.type("hello\r")
            terminal.see("a" if way == "crash" else "word")
        pid = int((home / "pid").read_text(encoding="ascii"))
        if way.startswith("term"):
            os.kill(pid, signal.SIGTERM)
        elif way == "hup":
            os.kill(pid, signal.SIGHUP)
        elif way != "crash":
            terminal.type("/exit\r" if way == "/exit" else "\x04")
        terminal.end()
    code = {"/exit": 0, "ctrl-d": 0, "hup": 128 + signal.SIGHUP, "crash": 1}.get(way, 128 + signal.SIGTERM)
    assert f"code {code}" in terminal.text
    assert (home / "before").read_text(encoding="utf-8") == (home / "after").read_text(encoding="utf-8")
    assert terminal.raw.count(b"\x1b[?2004h") <= terminal.raw.count(b"\x1b[?2004l")
    assert terminal.raw.rfind(b"\x1b[?25l") <= terminal.raw.rfind(b"\x1b[?25h")
    assert not plain or b"\x1b" not in terminal.raw
    assert ("boom" in terminal.text) is (way == "crash")
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize(("arguments", "env"), [(["--plain"], {}), ([], {"TERM": "dumb"})])
def test_plain_chat_sends_only_text(arguments: list[str], env: dict[str, str], home: Path) -> None:
    engine = {"answers": ["**a** \x1b[2J", "two lines", "x" * 500], "delay": 0.005}
    with chat(home, *arguments, engine=engine, **env) as terminal:
        terminal.ready()
        terminal.type("hello\r")
        terminal.see("**a**")
        terminal.ready()
        terminal.type('"""\r')
        terminal.see("\n.")
        terminal.type('one\rtwo"""\r')
        terminal.see("two lines")
        terminal.ready()
        terminal.type("more\r")
        terminal.see("xxx")
        terminal.type("\x03")
        terminal.see("(cut)")
        terminal.ready()
        terminal.type("/context\r")
        terminal.see("3 turns")
        terminal.type("\x03")
        terminal.see("Ctrl-C again")
        terminal.ready()
        terminal.type("\x04")
        assert terminal.end() == 0
    assert b"\x1b" not in terminal.raw


def test_a_terminal_of_20_columns_is_enough(home: Path) -> None:
    text = "A line that is longer than twenty columns, and 日本語 too."
    with chat(home, engine={"answers": [text], "prefill_delay": 0.001}, size=(10, 20)) as terminal:
        terminal.say("hello")
        terminal.say("/help")
        terminal.type("/exit\r")
        assert terminal.end() == 0
    assert "".join(terminal.text.split()).count("".join(text.split())) == 1
    assert "Traceback" not in terminal.text


def test_no_color_keeps_line_editing_but_no_colour(home: Path) -> None:
    with chat(home, engine={"answers": ["**bold**"]}, NO_COLOR="1") as terminal:
        terminal.say("hello")
        terminal.see("**bold**")
    assert set(re.findall(rb"\x1b\[([0-9;]*)m", terminal.raw)) <= {b"0"}


def test_an_answer_can_be_piped_away_from_a_conversation(home: Path) -> None:
    with chat(home, engine={"answers": ["the answer"]}, shell=f'"$@" > {home}/out') as terminal:
        terminal.say("/set top_k 2")
        terminal.ready()
        terminal.type("hello\r")
        terminal.until(lambda: (home / "out").read_text() == "the answer\n", "the answer in the file")
        terminal.ready()
        terminal.type("\x04")
        assert terminal.end() == 0
    assert "the answer" not in terminal.text


def test_the_reason_of_an_end_is_shown(home: Path) -> None:
    with chat(home, "-n", "5", engine={"answers": ["0123456789"]}) as terminal:
        terminal.say("hello")
        assert "stopped: 5-token limit" in terminal.text


def test_turns_that_no_longer_fit_are_told_before_the_answer(home: Path) -> None:
    with chat(home, "--context", "60", engine={"answers": ["x" * 20, "y" * 20, "z" * 20]}) as terminal:
        for line in ("one", "two", "three"):
            terminal.say(line)
        lines = terminal.lines
        assert lines.index(next(x for x in lines if "no longer in the context" in x)) < lines.index("z" * 20)


@pytest.mark.parametrize("arguments", [[], ["--plain"]])
def test_keys_that_are_not_utf8_are_refused_and_the_chat_goes_on(arguments: list[str], home: Path) -> None:
    with chat(home, *arguments) as terminal:
        terminal.ready()
        terminal.process.send(b"caf\xe9 bytes\r")
        terminal.see("not UTF-8")
        terminal.say("hello")
        assert terminal.text.count("hello") == 2

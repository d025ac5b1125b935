"""Kept conversations on a real terminal: after a kill, two at a time, and the question before a deletion."""

import json
import os
import re
import signal
from pathlib import Path

from emulator import Terminal, tfm


def listed(home: Path) -> list[dict[str, str]]:
    """What `tfm history list` knows."""
    found: list[dict[str, str]] = json.loads(tfm(home, "history", "list", "--json").stdout)
    return found


def test_after_kill_9_the_next_chat_says_how_to_go_on_and_it_does(home: Path) -> None:
    with Terminal(home, "chat", engine={"answers": ["counting " * 99], "delay": 0.02}) as terminal:
        terminal.ready()
        terminal.type("count\r")
        terminal.see("counting counting counting")
        os.kill(terminal.process.pid, signal.SIGKILL)
        terminal.end()
    with Terminal(home, "chat") as terminal:
        terminal.ready()
        found = re.search(r"cut when tfm was\s+killed: `tfm chat --session (\w+)`", terminal.text)
        assert found, terminal.text
    with Terminal(home, "chat") as terminal:
        terminal.ready()
        assert "killed" not in terminal.text, "it is told once"
    with Terminal(home, "chat", "--session", found[1], engine={"answers": ["and done"]}) as terminal:
        terminal.ready()
        assert f"Session {found[1]}, 2 messages: count" in terminal.text
        assert "was cut after" in terminal.text
        terminal.say("/tree")
        terminal.see("cut")
        terminal.say("/continue")
        terminal.see("and done")
    shown = tfm(home, "history", "show", found[1]).stdout.decode()
    assert "counting counting" in shown and shown.rstrip().endswith("and done")


def test_a_run_that_was_ended_is_kept_and_the_next_chat_does_not_speak_of_it(home: Path) -> None:
    with Terminal(home, "run", "count", engine={"answers": ["counting " * 99], "delay": 0.02}) as terminal:
        terminal.see("counting counting counting")
        os.kill(terminal.process.pid, signal.SIGTERM)
        assert terminal.end() == -signal.SIGTERM
    with Terminal(home, "chat") as terminal:
        terminal.ready()
        assert "killed" not in terminal.text
    shown = tfm(home, "history", "show").stdout.decode()
    assert "counting counting" in shown and ", cut" in shown


def test_two_chats_on_one_store_keep_both_conversations(home: Path) -> None:
    slow = {"delay": 0.01}
    with Terminal(home, "chat", engine=slow) as first, Terminal(home, "chat", engine=slow) as second:
        for terminal in (first, second):
            terminal.ready()
        for turn in range(3):  # both answer at the same time
            for name, terminal in (("first", first), ("second", second)):
                terminal.type(f"{name} prompt {turn} of three\r")
            for name, terminal in (("first", first), ("second", second)):
                terminal.see(f"{name} prompt {turn} of three", 2)
                terminal.ready()
        for terminal in (first, second):
            terminal.type("/exit\r")
            assert terminal.end() == 0
            assert "not kept" not in terminal.text
    assert sorted((s["title"], s["messages"]) for s in listed(home)) == [
        ("first prompt 0 of three", 6), ("second prompt 0 of three", 6),
    ]  # fmt: skip


def test_a_chat_goes_on_where_the_last_one_ended(home: Path) -> None:
    with Terminal(home, "chat", "-s", "You are Ada.", engine={"answers": ["one"]}) as terminal:
        terminal.say("/set temperature 0.3")
        terminal.say("hello")
        terminal.type("/exit\r")
        assert terminal.end() == 0
    with Terminal(home, "chat", "-c") as terminal:
        terminal.ready()
        assert "2 messages: hello" in terminal.text
        terminal.say("/show")
        terminal.see("System prompt: You are Ada.")
        terminal.see("temperature = 0.3 (session")
        terminal.say("/context")
        terminal.see("1 turn")


def test_delete_asks_a_person_and_takes_no_for_no(home: Path) -> None:
    tfm(home, "run", "hello")
    (session,) = listed(home)
    for answer, left in (("", 1), ("n", 1), ("y", 0)):
        with Terminal(home, "history", "delete", session["id"]) as terminal:
            terminal.see(f"Delete {session['id']} (hello)? [y/N]")
            terminal.type(answer + "\r")
            assert terminal.end() == 0
        assert len(listed(home)) == left


def test_without_history_nothing_that_was_typed_or_said_is_on_the_disk(home: Path) -> None:
    """H5"""
    with Terminal(home, "chat", "--no-history") as terminal:
        terminal.say("zebrastripe")
        terminal.type("\x1b[A")
        terminal.see("> zebrastripe", 2)
        terminal.type("\x15/exit\r")
        assert terminal.end() == 0
    files = [path for path in home.rglob("*") if path.is_file()]
    assert not any(b"zebrastripe" in path.read_bytes() for path in files)

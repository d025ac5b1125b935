"""Promises about what is told and recalled: the last value told is the one answered, and commands can be read."""

import re
import subprocess
from functools import cache
from random import Random

import pytest

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.memory import recalled, recalled_answers, recalled_lists
from weights.data.own.memory.recalled_values import fitting, letters, lines, places, spelled
from weights.data.own.memory.told_values import wordings
from weights.data.own.shell.arguments import PLACE, in_command


@cache
def _made(n: int = 1200, seed: int = 7) -> tuple[Conversation, ...]:
    return tuple(GENERATORS["recalled"](Random(seed), n))


def test_conversations_differ_are_whole_and_hold_nothing_held_out() -> None:
    assert _made()[:100] == tuple(GENERATORS["recalled"](Random(7), 100))
    assert len(set(_made())) > 0.98 * len(_made())
    for conversation in _made():
        assert not is_heldout(conversation)
        roles = [message.role for message in conversation if message.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) and len(roles) >= 4
        for message in conversation:
            assert message.content.strip() == message.content != ""
            assert not re.search(r"\{\w*\}| :: |(?<!HEAD)[{}|](?![}|])", re.sub("`[^`]*`", "", message.content)), (
                message
            )


@pytest.mark.parametrize("key", recalled._FACTS)
def test_every_wording_of_a_fact_can_be_filled_and_asked(key: str) -> None:
    fact = recalled._FACTS[key]
    slots = set(fact["slots"])
    for tell in wordings(fact["tell"]):
        known = places(tell, slots) & slots
        assert recalled._questions(fact, known, ""), tell
        assert fitting(fact["got"], slots, known)
    assert places(fact["tell"], slots) == slots
    for asks, says in (*lines(fact["asks"]), *lines(fact["untold"])):
        assert places(asks, slots) <= slots, asks
        assert places(says, slots) <= slots, says
    for _, says in lines(fact["asks"]):
        assert all(places(say, slots) for say in wordings(says)), says


def test_a_value_put_right_is_answered_and_never_the_old_one() -> None:
    rng, seen, new_said = Random(6), 0, 0
    while seen < 300:
        told = recalled._fact(rng, fix=1)
        found = re.fullmatch(r"(?:Sorry|Thanks), (.+), not (.+)\.", told.turns[-1])
        if not told.fixed or found is None:
            continue
        seen += 1
        new, old = (text.lower() for text in found.groups())
        answer = told.ask(rng)[1].lower()
        assert f" {old}" not in f" {answer}" or answer.startswith(f"not {old}") or old in new, (told.turns, answer)
        new_said += new in answer
    assert new_said > 230


def test_lists_are_answered_as_they_stand() -> None:
    rng = Random(2)
    for _ in range(200):
        things = ["milk", "soap", "tea"]
        turns = recalled_lists._changed("shopping list", "buy", "food", things, rng)
        assert len(turns) == 2 and {"milk", "soap", "tea"} != set(things)
        answer = recalled_lists._asked("shopping list", "buy", "food", things, rng)[1].lower()
        gone = {"milk", "soap", "tea"} - set(things)
        assert not any(re.search(rf"\b{word}\b", answer) and not answer.startswith("no") for word in gone), answer


def test_a_name_is_spelled_letter_by_letter_as_it_is_then_called() -> None:
    found = spelled("Viktor", Random(1))
    assert found is not None and found[0] != "Viktor" and letters("Jon") == "J-o-n"
    assert spelled("Bo", Random(1)) is None


def test_about_a_third_is_put_right_and_an_eighth_untold() -> None:
    rng = Random(4)
    fixed = sum(recalled._told_one(rng).fixed for _ in range(600))
    assert 0.25 * 600 < fixed < 0.45 * 600
    unsure = r"n't (?:told|tell|say|said|mentioned)|not (?:told|said|tell|say|mentioned)|never (?:said|mentioned)"
    untold = sum(bool(re.search(unsure, c[-1].content)) for c in _made())
    assert 0.05 * len(_made()) < untold < 0.14 * len(_made())


def test_the_tables_of_answers_are_large_and_simple_is_shorter() -> None:
    things, tasks = recalled_answers.things(), recalled_answers.tasks()
    assert len(things) >= 150 and len({name for name, _, _ in things}) == len(things)
    assert len(tasks) >= 60 and sum(len(task.options) for task in tasks) >= 80
    for name, technical, simple in things:
        assert len(simple) < len(technical), name
    for task in tasks:
        assert task.options or task.more or recalled_answers._changeable(task), task
        for ask in task.asks:
            assert set(PLACE.findall(ask)) <= set(PLACE.findall(task.command)), ask
        for option, meaning in task.options:
            assert set(PLACE.findall(option + meaning)) <= set(PLACE.findall(task.command)), meaning
        for command, asks in task.more:
            new = set(PLACE.findall(command)) - set(PLACE.findall(task.command))
            assert all(new == set(PLACE.findall(ask)) - set(PLACE.findall(task.command)) for ask in asks), (
                command,
                asks,
            )


def test_the_shell_can_read_every_command() -> None:
    rng, commands = Random(5), []
    for task in recalled_answers.tasks():
        for command in (task.command, *(command for command, _ in task.more)):
            words = recalled_answers.draw({}, task.command + command, rng)
            commands.append(in_command(command, words))
    script = "\n".join(
        f"f{at}() {{\n{command}\n}}" for at, command in enumerate(commands) if not command.startswith("*")
    )
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr

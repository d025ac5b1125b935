"""Promises about the requests with built arguments: what the user names stands in a command that the shell can read."""

import re
import subprocess
from random import Random

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.shell import arguments
from weights.data.own.talk.situations import one_of


def _conversations(n: int, seed: int = 3) -> list[Conversation]:
    return list(GENERATORS["arguments"](Random(seed), n))


def test_conversations_differ_are_whole_and_hold_nothing_held_out() -> None:
    made = _conversations(600)
    assert made == _conversations(600) != _conversations(600, seed=4)
    assert len(set(made)) == len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        roles = [message.role for message in conversation if message.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
    assert 0.15 < sum(len(c) > 3 for c in made) / len(made) < 0.35


def test_every_wording_names_what_its_command_needs() -> None:
    assert len(arguments.tasks()) >= 170
    for task in arguments.tasks():
        assert len(task.asks) >= 6, task.command
        needed = set(arguments.PLACE.findall(task.command))
        assert set(arguments.PLACE.findall(task.explain)) <= needed, task.command
        for ask in task.asks:
            assert set(arguments.PLACE.findall(one_of(ask, Random(1)))) == needed, ask


def test_second_turns_keep_the_arguments_and_copy_the_new_ones() -> None:
    for task in arguments.tasks():
        known = set(arguments.PLACE.findall(task.command))
        for then in task.more:
            needed = set(arguments.PLACE.findall(then.command))
            assert set(arguments.PLACE.findall(then.explain)) <= needed, then
            for ask in then.asks:
                named = set(arguments.PLACE.findall(ask))
                assert named - known <= needed <= named | known, (task.command, ask)


def test_values_stand_in_the_command_and_the_shell_can_read_it() -> None:
    rng = Random(5)
    commands = []
    for task in arguments.tasks() * 2:
        asked, answer, words = arguments.first(task, rng)
        assert not re.search(r"\{[a-z_]+\d?\}", asked + answer), asked
        command = re.match(r"`([^`]+)`\n", answer)
        assert command, answer
        for text in words.values():
            assert text in asked and text in command[1], (asked, answer)
        commands.append(command[1])
        for then in task.more:
            more = arguments._draw(then, words, rng)
            commands.append(arguments.in_command(then.command, more))
    script = "\n".join(f"f{at}() {{\n{command}\n}}" for at, command in enumerate(commands))
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_a_changed_argument_replaces_the_old_one_and_the_others_stay() -> None:
    rng = Random(6)
    for task in arguments.tasks():
        _, before, words = arguments.first(task, rng)
        turn = arguments._changed(task, words, rng)
        if turn is None:
            continue
        kept = [text for text in words.values() if text in turn[1].split("\n")[0]]
        assert turn[1] != before and len(kept) >= len(words) - 1, (before, turn)

"""Promises about the requests that need an earlier turn: the names are copied, and the shell can read the commands."""

import re
import subprocess
from random import Random

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.shell import next_steps, next_steps_table
from weights.data.own.shell.arguments import PLACE, in_command
from weights.data.own.talk.situations import one_of


def _conversations(n: int, seed: int = 3) -> list[Conversation]:
    return list(GENERATORS["next_steps"](Random(seed), n))


def _places(text: str) -> set[str]:
    return set(PLACE.findall(text))


def test_conversations_differ_are_whole_and_hold_nothing_held_out() -> None:
    made = _conversations(600)
    assert made == _conversations(600) != _conversations(600, seed=4)
    assert len(set(made)) == len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        roles = [message.role for message in conversation]
        assert roles in (["user", "assistant"] * 2, ["user", "assistant"] * 3)
        for message in conversation:
            assert message.content.strip() and "⟦" not in message.content
            assert not re.search(r"\{[a-z_]+\d?\}|(?:^|\s)[=@]\w", message.content), message.content


def test_the_tables_are_large() -> None:
    assert sum(len(chain.more) for chain in (*next_steps_table.chains(), *next_steps_table.known())) >= 400
    assert len(next_steps_table.pairs()) >= 60
    for pair in next_steps_table.pairs():
        assert len(pair.tells.split(" / ")) >= 3, pair.tells
        for letter, asks, _ in pair.questions:
            assert letter in pair.kinds and len(asks.split(" / ")) >= 4, asks
    for chain in (*next_steps_table.chains(), *next_steps_table.known()):
        for turn in chain.more:
            assert len(turn.asks) >= 6, turn


def test_every_follow_up_is_told_what_its_command_needs() -> None:
    for chain in (*next_steps_table.chains(), *next_steps_table.known()):
        told = _places(chain.first.command) or _places(chain.first.asks[0])
        for ask in chain.first.asks:
            assert _places(one_of(ask, Random(1))) == told, ask
        for turn in chain.more:
            needed = _places(turn.command + turn.explain) - {"project"}
            for ask in turn.asks:
                assert needed <= _places(ask) | told, (ask, needed)
                assert _places(ask) <= needed | told, (ask, needed)


def test_the_shell_can_read_every_command() -> None:
    rng = Random(5)
    commands = []
    for chain in (*next_steps_table.chains(), *next_steps_table.known()):
        first = next_steps.draw({}, rng, chain.first.command, *chain.first.asks, command=chain.first.command)
        for turn in (chain.first, *chain.more):
            words = next_steps.draw(first, rng, *turn.asks, turn.command, command=turn.command)
            command = in_command(turn.command, words)
            for name in _places(turn.command):
                assert words[name] in command, (turn, words)
            if command and "crontab" not in turn.explain:
                commands.append(command)
    script = "\n".join(f"f{at}() {{\n{command}\n}}" for at, command in enumerate(commands))
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_a_correction_wins_over_what_was_told_first() -> None:
    rng, seen, kept = Random(6), 0, 0
    while seen < 60:
        turns = next_steps._corrected(rng)
        fixed = re.fullmatch(r"Ah, (.+), not (.+)\.", turns[-3])
        if fixed is None:
            continue
        seen += 1
        new, old = fixed.groups()
        answer = turns[-1].lower()
        assert answer.rstrip(".") != old.lower(), turns
        kept += new.lower() in answer
    assert kept > 30


def test_an_option_of_a_bundle_is_known() -> None:
    assert next_steps._holds("-rl", "-r") and not next_steps._holds("-rl", "-x")
    assert not next_steps._holds("-name", "--name")

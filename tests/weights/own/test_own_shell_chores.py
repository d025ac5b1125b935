"""Promises about the chores at a shell: each is asked for in many ways, and what is named stands in the command."""

import re
import subprocess
from collections import Counter
from functools import cache
from random import Random

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.shell import shell_chores
from weights.data.own.shell.arguments import PLACE

CHORES = [chore for subject in shell_chores.SUBJECTS for chore in shell_chores.chores(subject)]


@cache
def _made(n: int, seed: int = 3) -> list[Conversation]:
    return list(GENERATORS["shell_chores"](Random(seed), n))


def _turns(conversation: Conversation) -> list[str]:
    return [message.content for message in conversation if message.role != "system"]


def test_conversations_differ_are_whole_and_hold_nothing_held_out() -> None:
    made = _made(3000)
    assert made[:300] == _made(300) != _made(300, seed=4)
    for conversation in made:
        assert not is_heldout(conversation)
        roles = [message.role for message in conversation if message.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
    prompts = {_turns(conversation)[0] for conversation in made}
    assert len(prompts) > 0.95 * len(made)


def test_the_shell_can_read_every_command() -> None:
    answers = {text for conversation in _made(3000) for text in _turns(conversation)[1::2]}
    commands = []
    for answer in answers:
        command = re.match(r"`([^`]+)`\n[A-Z].*\.$", answer)
        assert command, answer
        commands.append(command[1])
    script = "\n".join(f"f{at}() {{\n{command}\n}}" for at, command in enumerate(commands))
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_every_chore_is_worded_in_its_own_ways() -> None:
    assert len(CHORES) >= 600
    seen: dict[str, str] = {}
    for chore in CHORES:
        assert len(chore.asks) >= 4, chore.command
        assert all(chore.standard.values()), chore
        assert len(chore.explain.split()) < 25, chore.explain
        for ask in chore.asks:
            assert set(PLACE.findall(ask)) <= set(chore.standard), ask
            plain = " ".join(re.findall(r"[a-z0-9{}]+", ask.lower()))
            known = seen.setdefault(plain, chore.command + chore.explain)
            assert known == chore.command + chore.explain, ask  # no wording asks for two commands


def test_what_is_named_stands_in_question_and_answer() -> None:
    rng = Random(5)
    named = 0
    for chore in CHORES * 3:
        asked, answer, words = shell_chores.exchange(chore, rng)
        assert not PLACE.search(asked) and not PLACE.search(answer), (asked, answer)
        for name, text in words.items():
            assert text in asked and text in answer, (chore, asked, answer)
            assert f"{{{name}}}" in chore.command + chore.explain
        named += bool(words)
    assert named > 0.45 * len(CHORES) * 3


def test_names_with_spaces_are_quoted_and_near_chores_differ() -> None:
    words = {"file": "a b.txt", "file2": "c.txt"}
    assert shell_chores.in_command("comm -12 <(sort {file}) <(sort {file2})", words).startswith(
        'comm -12 <(sort "a b.txt")'
    )
    assert shell_chores.in_command("cp {file} {file}.bak", words) == 'cp "a b.txt" "a b.txt.bak"'
    commands = Counter(chore.command for chore in CHORES)
    assert {command for command, times in commands.items() if times > 1} <= {"crontab -e"}

"""Promises about the generator of shell commands: its rows are whole, its answers name what was asked."""

import re
import shutil
import subprocess
from random import Random

import pytest

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.shell import commands
from weights.data.own.shell.everyday import expand

_FIELDS = {"commands": 6, "options": 5, "symbols": 4, "files": 3, "terms": 3, "keys": 4, "differences": 3}
_FIELDS |= {"dangers": 2, "programs": 2, "requests": 3}


def _made(n: int = 1500, seed: int = 7) -> list[Conversation]:
    return list(GENERATORS["commands"](Random(seed), n))


def test_conversations_differ_are_whole_and_hold_nothing_held_out() -> None:
    made = _made()
    assert made == _made() != _made(seed=8)
    assert len(set(made)) > 0.8 * len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        turns = [message for message in conversation if message.role != "system"]
        assert [message.role for message in turns] == ["user", "assistant"] * (len(turns) // 2)
        for message in turns:
            assert message.content.strip() == message.content != ""
            assert not re.search(r"\{[xyfurnpdk]\}|[⟦⟧]| :: | => ", message.content), message.content
            assert message.role == "user" or len(message.content.split()) <= 40, message.content


@pytest.mark.parametrize("name", _FIELDS)
def test_every_row_has_all_its_fields_once(name: str) -> None:
    rows = commands.table(name)
    assert len(rows) >= 30 and all(len(row) == _FIELDS[name] and row[0] for row in rows)
    heads = [row[:2] if name in ("options", "keys", "differences") else row[:1] for row in rows]
    assert len(set(heads)) == len(heads), [head for head in heads if heads.count(head) > 1]


def test_commands_are_many_and_their_relations_exist() -> None:
    found = commands.commands()
    assert len(found) >= 220 and len(commands.table("requests")) >= 200
    phrases = [phrase for command in found.values() for phrase in command.phrases]
    assert len(set(phrases)) == len(phrases)
    for command in found.values():
        assert command.related in found and command.related != command.name
        assert command.name.split()[0] in command.example or command.name == "popd", command.name
    assert {row[0] for row in commands.table("options")} <= set(found)
    assert all(commands.danger(name) for name in commands._TABLE["harmless"].split())


def test_chmod_changes_permissions_and_a_second_question_stays_with_it() -> None:
    rng = Random(1)
    chmod = commands.commands()["chmod"]
    assert all("changes the permissions of a file" in commands.does(chmod, rng) for _ in range(20))
    for _ in range(60):
        asked, answer = commands._more("chmod", rng)
        assert "chmod" not in asked and ("chmod" in answer or "chown" in answer or "-R" in answer or "+x" in answer)


def test_yes_and_no_fit_the_question() -> None:
    assert commands._danger_says("is rm safe?", "rm").startswith("No.")
    assert commands._danger_says("is rm dangerous?", "rm").startswith("Yes.")
    assert commands._danger_says("can ls do harm?", "ls").startswith("No.")
    assert commands._danger_says("is it safe?", "ls").startswith("Yes.")


def test_requests_have_four_wordings_and_commands_that_bash_can_read() -> None:
    rows = commands.table("requests")
    for _, says, asks in rows:
        assert says.endswith(".") and len([text for ask in asks.split(" / ") for text in expand(ask)]) >= 4
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    script = "\n".join(row[0] for row in rows if not row[0].endswith("!!"))
    read = subprocess.run([bash, "-n"], input=script, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr

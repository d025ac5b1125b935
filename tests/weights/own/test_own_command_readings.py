"""Promises about the read command lines: they say what the command does, name its arguments, and bash can read them."""

import os
import re
import stat
import subprocess
import tempfile
from random import Random

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.shell import command_families, command_lines, command_readings, command_values


def _conversations(n: int, seed: int = 3) -> list[Conversation]:
    return list(GENERATORS["command_readings"](Random(seed), n))


def test_conversations_differ_are_whole_short_and_hold_nothing_held_out() -> None:
    made = _conversations(800)
    assert made == _conversations(800) != _conversations(800, seed=4)
    assert len(set(made)) > 0.97 * len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        turns = [message for message in conversation if message.role != "system"]
        assert [message.role for message in turns] == ["user", "assistant"] * (len(turns) // 2)
        for message in turns:
            assert message.content == message.content.strip() != ""
            assert not re.search(r"\{(?:[xfnod]|[a-z_]{3,}\d?)\}| => | :: |¦", message.content), message.content
            assert message.role == "user" or len(message.content.split()) <= 60, message.content
    assert 0.15 < sum(len([m for m in c if m.role == "user"]) == 2 for c in made) / len(made) < 0.35


def test_families_and_wordings_are_many_and_every_option_means_something() -> None:
    families = command_families.families()
    assert len(families) >= 200 and sum(len(family.forms) for family in families) >= 600
    assert len(command_readings._table("asks")) >= 60
    assert len(command_lines.rows("filters")) >= 45 and len(command_lines.rows("sources")) >= 35
    for family in families:
        assert family.forms and family.kind in ("reads", "changes", "careful"), family.command
        used = " ".join((*(form[0] for form in family.forms), *(extra.option for extra in family.extras)))
        for option in family.means:
            assert option in used or all(letter in used for letter in option[1:]), (family.command, option)
        for options, says, _ in family.forms:
            wanted = set(command_families.PLACE.findall(says))
            assert wanted <= set(command_families.PLACE.findall(f"{family.command} {options}")), (family.command, says)


def test_every_family_makes_commands_that_bash_can_read() -> None:
    rng = Random(5)
    commands = []
    for family in command_families.families():
        for _ in range(3):
            first, change = command_families.from_family(family, rng)
            commands += [first.command, *([change.then.command] if change else [])]
    for maker, _ in (*command_lines.MAKERS, *command_values.MAKERS):
        if maker is not command_values.cron:
            commands += [maker(rng)[0].command for _ in range(20)]
    script = "\n".join(f"f{at}() {{\n{command}\n}}" for at, command in enumerate(commands))
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_options_change_the_reading_of_grep() -> None:
    family = next(f for f in command_families.families() if f.command == "grep {o} {word} {where}")
    forms = {form[0]: form for form in family.forms}
    extras = {extra.option: extra for extra in family.extras}
    words = {"word": "foo", "where": "."}
    plain = command_families.read(family, forms["-r"], [extras["-n"]], words, joined=True)
    assert plain.command == "grep -rn foo ."
    assert plain.says == "searches all files below the current directory for foo and shows line numbers"
    assert [option for option, _ in plain.options] == ["-r", "-n"]
    names = command_families.read(family, forms["-rl"], [], {**words, "where": "src"}, joined=True)
    assert names.says == "lists the files below src that contain foo"


def test_modes_signals_and_times_are_read_by_construction() -> None:
    assert command_values.mode_says("640", "f", is_dir=False) == (
        "lets the owner of f read and write, the group read, and others do nothing"
    )
    assert command_values.mode_says("755", "d", is_dir=True).endswith("while group and others may read and enter")
    assert command_values._rights("7", is_dir=False) == "read, write and run"
    assert command_values._cd("-").says == "goes back to the directory where you were before"
    rng, days = Random(2), set()
    for _ in range(200):
        fields, when = command_values._when(rng)
        at = re.fullmatch(r"(\d+) (\d+) \* \* ([0-6])", fields)
        if at:
            day = command_values._DAYS[int(at[3])]
            assert when == f"every {day} at {int(at[2]):02}:{int(at[1]):02}"
            days.add(day)
    assert len(days) == 7
    hard = command_values._kill("-9", ["777"])
    assert hard.says == "ends the process with the id 777 at once, without letting it clean up" and hard.warning


def test_a_modes_reading_is_what_chmod_does() -> None:
    with tempfile.NamedTemporaryFile() as file:
        for mode in ("640", "755", "400", "564"):
            subprocess.run(["chmod", mode, file.name], check=True)
            shown = stat.filemode(os.stat(file.name).st_mode)[1:]
            for digit, letters in zip(mode, (shown[:3], shown[3:6], shown[6:]), strict=True):
                said = command_values._rights(digit, is_dir=False)
                assert [word in said for word in ("read", "write", "run")] == [letter != "-" for letter in letters]


def test_a_pipe_is_read_step_by_step_and_a_danger_is_told() -> None:
    parts = [
        ("ps aux", "lists all processes"),
        ("grep x", "keeps only the lines with x"),
        ("wc -l", "counts the lines"),
    ]
    assert command_lines._pipe(parts).says == (
        "lists all processes, keeps only the lines with x, and then counts the lines"
    )
    rng = Random(1)
    removes = next(f for f in command_families.families() if f.command == "rm {o} {dir}")
    form = next(form for form in removes.forms if form[0] == "-rf")
    reading = command_families.read(removes, form, [], command_families.draw(removes.command, {}, rng), joined=True)
    assert "no undo" in command_readings.says(reading)
    assert command_readings._danger_says(reading, is_safe_asked=False).startswith("Yes, take care")
    safe = command_families.Reading("ls", "lists what is here", "reads")
    assert command_readings._danger_says(safe, is_safe_asked=False).startswith("No")
    assert command_readings._danger_says(safe, is_safe_asked=True).startswith("Yes")

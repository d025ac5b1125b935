"""`tfm config` and presets: what each setting is, and which of several sources won."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from chat import cli, models
from chat.settings import PRESETS, SETTINGS, Rank, Settings, from_file, gather, settings_file
from engine.errors import UsageError

MINE = (
    "[sampling]\ntop_k = 3\ntemperature = 0.3\n[presets.mine]\ntemperature = 0.2\ntop-p = 0.5\nsystem = 'Be brief.'\n"
)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that recommends something."""
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "generation_config.json").write_text('{"top_k": 7, "min_p": 0.25}', encoding="utf-8")
    monkeypatch.setattr(models, "resolve", lambda name: directory)
    return directory


def write(text: str) -> None:
    settings_file().parent.mkdir(parents=True, exist_ok=True)
    settings_file().write_text(text, encoding="utf-8")


def settings(flags: dict[str, Any] | None = None, env: dict[str, str] | None = None, file: str = MINE) -> Settings:
    write(file)
    return gather(flags or {}, env or {})


def test_a_preset_is_nearer_than_the_file_and_farther_than_variables_and_flags() -> None:
    s = settings({"preset": "mine", "top_p": "0.9"}, {"TFM_SYSTEM": "From a variable."})
    s = s.with_model({"temperature": 0.9, "min_p": 0.1})
    found = {name: (s[name], s.values[name].rank) for name in ("temperature", "top_p", "system", "top_k", "min_p")}
    assert found == {
        "temperature": (0.2, Rank.PRESET),
        "top_p": (0.9, Rank.FLAG),
        "system": ("From a variable.", Rank.ENVIRONMENT),
        "top_k": (3, Rank.FILE),
        "min_p": (0.1, Rank.MODEL),
    }
    assert s.values["temperature"].source == f"{settings_file()} [presets.mine]"


@pytest.mark.parametrize("name", PRESETS)
def test_the_built_in_presets_do_what_they_say(name: str) -> None:
    s = settings({"preset": name}, file="[sampling]\ngreedy = true\ntemperature = 0.3\n").with_model({"top_p": 0.1})
    assert {key: s[key] for key in PRESETS[name]} == PRESETS[name]


def test_a_preset_can_be_chosen_in_every_place_and_one_of_the_file_replaces_a_built_in_one() -> None:
    assert settings(env={"TFM_PRESET": "mine"})["temperature"] == 0.2
    own = "[sampling]\npreset = 'precise'\n[presets.precise]\ntemperature = 0.1\n"
    assert (settings(file=own)["temperature"], settings(file=own)["greedy"]) == (0.1, False)


@pytest.mark.parametrize(
    ("file", "flags", "told"),
    [
        ("", {"preset": "creativ"}, "Did you mean creative"),
        ("", {"preset": "xyz"}, "precise, balanced, creative"),
        ("[sampling]\ntemperatur = 1\n", {}, "Did you mean temperature"),
        ("[samplin]\ntemperature = 1\n", {}, r"Did you mean \[sampling\]"),
        ("[output]\ntemperature = 1\n", {}, r"Its table is \[sampling\]"),
        ("[presets.x]\ntemperatur = 1\n", {}, r"\[presets.x\].*Did you mean temperature"),
        ("[presets.x]\ntop_p = 7\n", {}, r"\[presets.x\] top_p"),
        ("[presets.x]\npreset = 'y'\n", {}, "cannot name another"),
        ("[presets]\nx = 1\n", {}, r"Write \[presets.x\]"),
    ],
)
def test_what_is_wrong_with_a_preset_or_a_file_is_told_with_the_nearest(
    file: str, flags: dict[str, str], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        settings(flags, file=file)


def test_config_show_names_every_setting_and_its_source(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(MINE)
    assert cli.run_app(["config", "show", "--preset", "mine", "-t", "0.6", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["settings"]) == set(SETTINGS)
    assert (told["file"], told["exists"]) == (str(settings_file()), True)
    assert {n: (v["value"], v["rank"]) for n, v in told["settings"].items() if v["rank"] != "default"} == {
        "temperature": (0.6, "flag"),
        "preset": ("mine", "flag"),
        "top_p": (0.5, "preset"),
        "system": ("Be brief.", "preset"),
        "top_k": (3, "file"),
        "min_p": (0.25, "model"),
    }
    assert told["settings"]["temperature"]["source"] == "--temperature"


def test_what_config_show_writes_is_a_settings_file(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write('[context]\nsystem = "a \\"quoted\\"\\nword"\n[sampling]\nstop = ["END", "\\u0007"]\n')
    assert cli.run_app(["config", "show", "--preset", "creative"]) == 0
    shown = capsys.readouterr().out
    before = gather({"preset": "creative"}, {}).with_model({"top_k": 7, "min_p": 0.25})
    write(shown)
    after = gather({}, {})
    assert {n: v.value for n, v in after.items()} == {n: v.value for n, v in before.items()}
    assert tomllib.loads(shown)["sampling"]["top_k"] == 7
    assert "top_k = 7" in shown and "# the model's generation_config.json" in shown


def test_config_show_needs_no_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_app(["config", "show", "-m", "/no/such/model"]) == 0
    shown = capsys.readouterr()
    assert "temperature = 1.0" in shown.out
    assert "/no/such/model" in shown.err


def test_config_path_and_presets_are_all_that_stdout_gets(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_app(["config", "path"]) == 0
    assert capsys.readouterr() == (f"{settings_file()}\n", "")
    write(MINE)
    assert cli.run_app(["config", "presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "precise: greedy = true"
    assert lines[-1] == 'mine: temperature = 0.2, top_p = 0.5, system = "Be brief."'
    assert cli.run_app(["config", "presets", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mine"]["top_p"] == 0.5


def test_without_a_file_there_are_the_built_in_presets(tmp_path: Path) -> None:
    values, presets = from_file(tmp_path / "none")
    assert (values, list(presets)) == ({}, list(PRESETS))

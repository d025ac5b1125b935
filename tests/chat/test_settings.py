"""Which setting wins, and what is told about one that cannot be."""

from pathlib import Path
from typing import Any

import pytest
from double import ScriptedEngine

from chat.loading import system_prompt
from chat.settings import SAMPLING, SETTINGS, Rank, Settings, Value, gather, read, settings_file
from engine.errors import CheckpointError, UsageError
from engine.params import SamplingParams


def settings(flags: dict[str, Any] | None = None, env: dict[str, str] | None = None, file: str = "") -> Settings:
    path = settings_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(file, encoding="utf-8")
    return gather(flags or {}, env or {})


def test_the_nearest_source_wins_and_is_known() -> None:
    file = "[sampling]\ntemperature = 0.3\ntop_p = 0.3\ntop-k = 3\n"
    s = settings({"temperature": "0.1"}, {"TFM_TEMPERATURE": "0.2", "TFM_TOP_P": "0.2"}, file)
    s = s.with_model({"temperature": 0.4, "top_p": 0.4, "top_k": 4, "min_p": 0.4})
    found = {name: (s[name], s.values[name].rank) for name in ("temperature", "top_p", "top_k", "min_p", "typical_p")}
    assert found == {
        "temperature": (0.1, Rank.FLAG),
        "top_p": (0.2, Rank.ENVIRONMENT),
        "top_k": (3, Rank.FILE),
        "min_p": (0.4, Rank.MODEL),
        "typical_p": (1.0, Rank.DEFAULT),
    }
    assert s.values["temperature"].source == "--temperature"
    assert s.values["top_p"].source == "TFM_TOP_P"
    assert str(settings_file()) in s.values["top_k"].source
    assert "generation_config" in s.values["min_p"].source


def test_without_anything_the_sampler_gets_its_own_defaults() -> None:
    assert settings().sampling(ScriptedEngine()) == SamplingParams()


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ({"top_p": "1.5"}, "--top-p"),
        ({"temperature": "-1"}, "--temperature"),
        ({"temperature": "nan"}, "--temperature"),
        ({"temperature": "warm"}, "--temperature"),
        ({"top_k": "1.5"}, "--top-k"),
        ({"top_k": "-1"}, "--top-k"),
        ({"seed": "-1"}, "--seed"),
        ({"stop": [""]}, "--stop"),
        ({"logit_bias": ["x"]}, "--logit-bias"),
        ({"logit_bias": ["x=y"]}, "--logit-bias"),
        ({"logit_bias": ["5=1e9"]}, "--logit-bias"),
        ({"max_new_tokens": "-1"}, "--max-new-tokens"),
        ({"max_new_tokens": "2", "min_new_tokens": "3"}, "--min-new-tokens"),
        ({"sampler_order": "random"}, "--sampler-order"),
        ({"dtype": "int4"}, "--dtype"),
        ({"threads": "0"}, "--threads"),
        ({"context": "0"}, "--context"),
        ({"overflow": "ignore"}, "--overflow"),
    ],
)
def test_a_bad_flag_is_refused_by_name_before_any_model_is_loaded(flags: dict[str, Any], names: str) -> None:
    with pytest.raises(UsageError, match=names):
        settings(flags)


@pytest.mark.parametrize(("name", "text"), [("TFM_TOP_P", "2"), ("TFM_SEED", "x"), ("TFM_TOP_Q", "1")])
def test_a_bad_variable_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=name):
        settings(env={name: text})


@pytest.mark.parametrize(
    "file",
    [
        "[sampling]\ntemperatur = 1\n",
        "[sampling]\nmodel = 'x'\n",
        "temperature = 1\n",
        "[sampling]\ntop_p = 2\n",
        "[sampling]\ntop_p = true\n",
        "[sampling]\ntop_k = 1.5\n",
        "[output]\nstats = 1\n",
        "[sampling\n",
    ],
)
def test_a_bad_settings_file_is_refused_by_its_path(file: str) -> None:
    with pytest.raises(UsageError, match=r"settings\.toml"):
        settings(file=file)


def test_a_settings_file_that_is_not_utf8_is_refused() -> None:
    settings_file().parent.mkdir(parents=True)
    settings_file().write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"settings\.toml"):
        gather({}, {})


def test_lists_come_from_every_source() -> None:
    assert settings({"stop": ["a", "b"]})["stop"] == ("a", "b")
    assert settings(env={"TFM_STOP": '["a", "b"]'})["stop"] == ("a", "b")
    assert settings(env={"TFM_STOP": "a, b"})["stop"] == ("a, b",)
    assert settings(file="[sampling]\nstop = ['a']\nlogit_bias = { 5 = -1 }\n")["logit_bias"] == ("5=-1",)


def test_logit_bias_takes_an_id_or_a_text_of_one_token() -> None:
    engine = ScriptedEngine()
    biased = settings({"logit_bias": ["5=1.5", "a=-2", "==3"]}).sampling(engine).logit_bias
    assert biased == {5: 1.5, ord("a"): -2.0, ord("="): 3.0}
    with pytest.raises(UsageError, match="2 tokens"):
        settings({"logit_bias": ["ab=1"]}).sampling(engine)
    with pytest.raises(UsageError, match="ids count from 0"):
        settings({"logit_bias": ["99999999=1"]}).sampling(engine)


def test_a_given_temperature_is_never_silenced_by_a_farther_greedy() -> None:
    assert settings({"temperature": "0.7"}).with_model({"greedy": True})["greedy"] is False
    assert settings({"temperature": "0.7"}, file="[sampling]\ngreedy = true\n")["greedy"] is False
    assert settings({"temperature": "0.7", "greedy": True})["greedy"] is True
    assert settings({"greedy": True}, {"TFM_TEMPERATURE": "0.7"})["greedy"] is True


def test_a_model_that_recommends_the_impossible_is_named() -> None:
    with pytest.raises(CheckpointError, match="generation_config"):
        settings().with_model({"top_p": 7.0})


def test_min_new_tokens_is_judged_with_the_models_limit() -> None:
    s = settings({"min_new_tokens": "300"}).with_model({"max_new_tokens": 512})
    assert s.sampling(ScriptedEngine()).min_new_tokens == 300


def test_system_prompt_from_text_or_file_the_nearer_wins(tmp_path: Path) -> None:
    file = tmp_path / "s.txt"
    file.write_text("from a file\n", encoding="utf-8")
    assert system_prompt(settings({"system_file": str(file)})) == "from a file"
    assert system_prompt(settings({"system_file": str(file)}, {"TFM_SYSTEM": "x"})) == "from a file"
    assert system_prompt(settings({"system": "text"}, {"TFM_SYSTEM_FILE": str(file)})) == "text"
    with pytest.raises(UsageError, match="exclude each other"):
        system_prompt(settings({"system": "text", "system_file": str(file)}))
    with pytest.raises(UsageError, match="nothing-here"):
        system_prompt(settings({"system_file": str(tmp_path / "nothing-here")}))


def test_changes_leave_the_settings_before_as_they_were() -> None:
    before = settings()
    after = before.over({"top_k": Value(5, "/set", Rank.COMMAND)})
    assert (before["top_k"], after["top_k"], after.without("top_k", before)["top_k"]) == (0, 5, 0)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_can_come_from_the_environment(name: str) -> None:
    setting = SETTINGS[name]
    text = (
        setting.choices[0] if setting.choices else {"bool": "true", "text": "x", "texts": "1=1"}.get(setting.kind, "1")
    )
    text = "precise" if name == "preset" else text
    assert gather({}, {f"TFM_{name.upper()}": text}).values[name].rank == Rank.ENVIRONMENT
    assert read(name, text, "here") is not None


def test_every_field_of_the_sampler_is_a_setting() -> None:
    assert set(SAMPLING) == set(SamplingParams().as_dict()) - {"logprobs"}

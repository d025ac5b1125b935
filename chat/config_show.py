"""`tfm config show` and `tfm config presets`: settings as lines of a settings file, each with what set it."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from chat import models
from chat.model_facts import read_object
from chat.render import safe_text
from chat.settings import ENVIRONMENT_PREFIX, MACHINE, SETTINGS, TABLES, Settings, Value, from_file, of_machine
from chat.settings import settings_file as file_of_settings
from engine.errors import ModelError
from engine.recommended import sampling_defaults


def show_settings(settings: Settings, as_json: bool) -> int:
    """Write every setting to stdout. A model that is not there is told, and shown without what it recommends."""
    try:
        if not settings["server"]:
            settings = settings.with_model(_recommended(settings["model"]))
    except ModelError as e:
        print(f"tfm: {safe_text(str(e))} What a model recommends is not shown.", file=sys.stderr)
    file = file_of_settings()
    machine = {name: of_machine(name) for name in MACHINE}
    if as_json:
        told = {n: {"value": v.value, "source": v.source, "rank": v.rank.name.lower()} for n, v in settings.items()}
        print(json.dumps({"file": str(file), "exists": file.is_file(), "settings": told, "machine": machine}, indent=2))
        return 0
    print(safe_text(f"# {file}" + ("" if file.is_file() else " (there is none)")))
    for table in TABLES:
        print(f"\n[{table}]")
        for name, value in settings.items():
            if SETTINGS[name].table == table:
                print(safe_text(_line(name, value)))
    print("\n# By an environment variable alone:")
    for name, held in machine.items():
        print(safe_text(f"# {ENVIRONMENT_PREFIX}{name.upper()} = {_toml(held)}"))
    return 0


def _recommended(model: str) -> Mapping[str, Any]:
    """The sampling settings in the generation_config.json of a model. Raises ModelError."""
    directory = models.resolve(model)
    if not (directory / "generation_config.json").is_file():
        return {}
    return sampling_defaults(read_object(directory / "generation_config.json"))


def show_presets(as_json: bool) -> int:
    """Write the presets to stdout, the built-in ones and those of the settings file."""
    _, presets = from_file(file_of_settings())
    if as_json:
        print(json.dumps({n: {key: v.value for key, v in preset.items()} for n, preset in presets.items()}, indent=2))
        return 0
    for name, preset in presets.items():
        print(safe_text(f"{name}: {described(preset)}"))
    return 0


def described(preset: Mapping[str, Value]) -> str:
    """What a preset sets, on one line."""
    return ", ".join(f"{name} = {_toml(value.value)}" for name, value in preset.items()) or "nothing"


def _line(name: str, value: Value) -> str:
    """A setting as a line of TOML with its source; one that is not set, behind a #: TOML has no word for that."""
    line = f"# {name} is not set" if value.value is None else f"{name} = {_toml(value.value)}"
    return line if value.value is None else f"{line:<32} # {' '.join(value.source.split())}"


def _toml(value: Any) -> str:
    """A value as TOML writes it, which for these kinds is as JSON does."""
    if value is None:
        return "none"
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)

"""Where each setting comes from: flag > environment (TFM_*) > preset > settings file > the model > default.

Everything is checked here, before a model is loaded, and each value keeps its source. Torch-free.
"""

import json
import os
import tomllib
from collections.abc import ItemsView, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from engine.errors import CheckpointError, UsageError
from engine.memory import KV_KINDS, QUANTS
from engine.params import SAMPLER_ORDERS, SamplingParams

if TYPE_CHECKING:
    from chat.backend import Backend

Kind = Literal["bool", "int", "float", "text", "texts"]
WORDS: Mapping[Kind, str] = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "text": "a text",
    "texts": "a list of texts",
}


@dataclass(frozen=True)
class Setting:
    """One setting: its table in the settings file, its kind, and what it may be."""

    table: str
    kind: Kind
    default: Any = None
    choices: tuple[str, ...] = ()
    least: int | None = None


DEFAULTS = SamplingParams()
SETTINGS: dict[str, Setting] = {
    "model": Setting("model", "text", "default"),
    "adapter": Setting("model", "text"),
    "dtype": Setting("model", "text", "auto", choices=("auto", "float32", "bfloat16")),
    "kv": Setting("model", "text", "auto", choices=KV_KINDS),
    "quant": Setting("model", "text", "none", choices=QUANTS),
    "device": Setting("model", "text", "cpu"),
    "threads": Setting("model", "int", least=1),
    "template": Setting("model", "text"),
    "server": Setting("model", "text"),
    "offline": Setting("model", "bool", False),
    "greedy": Setting("sampling", "bool", DEFAULTS.greedy),
    "temperature": Setting("sampling", "float", DEFAULTS.temperature),
    "top_k": Setting("sampling", "int", DEFAULTS.top_k),
    "top_p": Setting("sampling", "float", DEFAULTS.top_p),
    "min_p": Setting("sampling", "float", DEFAULTS.min_p),
    "typical_p": Setting("sampling", "float", DEFAULTS.typical_p),
    "repetition_penalty": Setting("sampling", "float", DEFAULTS.repetition_penalty),
    "presence_penalty": Setting("sampling", "float", DEFAULTS.presence_penalty),
    "frequency_penalty": Setting("sampling", "float", DEFAULTS.frequency_penalty),
    "logit_bias": Setting("sampling", "texts", ()),
    "stop": Setting("sampling", "texts", DEFAULTS.stop),
    "max_new_tokens": Setting("sampling", "int", DEFAULTS.max_new_tokens),
    "min_new_tokens": Setting("sampling", "int", DEFAULTS.min_new_tokens),
    "seed": Setting("sampling", "int"),
    "sampler_order": Setting("sampling", "text", DEFAULTS.sampler_order, choices=SAMPLER_ORDERS),
    "preset": Setting("sampling", "text"),
    "system": Setting("context", "text"),
    "system_file": Setting("context", "text"),
    "context": Setting("context", "int", least=1),
    "overflow": Setting("context", "text", choices=("error", "drop-oldest", "shift")),
    "ground": Setting("context", "bool", True),
    "stats": Setting("output", "bool", False),
    "show_sources": Setting("output", "bool", False),
    "hide_thinking": Setting("output", "bool", False),
    "theme": Setting("output", "text", "dark", choices=("dark", "light", "none")),
    "plain": Setting("output", "bool", False),
    "raw_output": Setting("output", "bool", False),
    "history": Setting("sessions", "bool", True),
}
# Of the machine and no conversation: an environment variable alone sets them.
MACHINE: dict[str, Setting] = {
    "models_dir": Setting("models", "text"),
    "sessions": Setting("sessions", "text"),
}
SAMPLING = tuple(name for name in SETTINGS if hasattr(DEFAULTS, name))
TABLES = tuple(dict.fromkeys(setting.table for setting in SETTINGS.values()))
ENVIRONMENT_PREFIX = "TFM_"
# Several settings under one name. A table [presets.NAME] of the settings file makes another, or replaces one of these.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "precise": {"greedy": True},
    "balanced": {"greedy": False, "temperature": 0.7, "top_p": 0.9},
    "creative": {"greedy": False, "temperature": 1.0, "top_p": 0.95, "repetition_penalty": 1.1},
}


class Rank(IntEnum):
    """Which source wins: the greater one."""

    DEFAULT = 0
    MODEL = 1
    FILE = 2
    PRESET = 3
    ENVIRONMENT = 4
    FLAG = 5
    COMMAND = 6  # /set, in a conversation


@dataclass(frozen=True)
class Value:
    """A value of a setting, and where it was set."""

    value: Any
    source: str
    rank: Rank


@dataclass(frozen=True)
class Settings:
    """The settings in force. Immutable: a change gives new settings, so a refused change leaves the old ones."""

    values: Mapping[str, Value]

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    def items(self) -> ItemsView[str, Value]:
        """Every setting with its value and source."""
        return self.values.items()

    def over(self, more: Mapping[str, Value]) -> "Settings":
        """These settings with others laid over them; of two, the greater rank wins."""
        merged = dict(self.values)
        for name, value in more.items():
            if name not in merged or value.rank >= merged[name].rank:
                merged[name] = value
        return Settings(_temperature_against_greedy(merged))

    def without(self, name: str, below: "Settings") -> "Settings":
        """These settings with `name` as it is in `below`."""
        return Settings(_temperature_against_greedy({**self.values, name: below.values[name]}))

    def with_model(self, defaults: Mapping[str, Any]) -> "Settings":
        """With what the model's generation_config.json recommends, under everything that a person set.

        Raises CheckpointError when the model recommends an impossible value.
        """
        source = "the model's generation_config.json"
        try:
            values = {n: Value(check(n, v, source), source, Rank.MODEL) for n, v in defaults.items() if n in SAMPLING}
        except UsageError as e:
            raise CheckpointError(str(e)) from e
        return self.over(values)

    def sampling(self, engine: "Backend", logprobs: int = 0) -> SamplingParams:
        """The sampler's settings, the texts of --logit-bias as ids; for a server, with the names of what was set."""
        chosen = {name: self[name] for name in SAMPLING}
        chosen["logit_bias"] = dict(_bias_of(item, engine) for item in self["logit_bias"])
        if engine.tokenizer is not None:
            return SamplingParams(**chosen, logprobs=logprobs)
        from chat.remote.params import RequestParams

        given = tuple(name for name in SAMPLING if self.values[name].rank > Rank.MODEL)
        return RequestParams(**chosen, logprobs=logprobs, given=given)


def gather(flags: Mapping[str, Any], environ: Mapping[str, str] | None = None, file: Path | None = None) -> Settings:
    """The settings of a command, but for the model's. Raises UsageError that names the flag, variable or file."""
    environ = os.environ if environ is None else environ
    file = settings_file() if file is None else file
    values = {name: Value(setting.default, "default", Rank.DEFAULT) for name, setting in SETTINGS.items()}
    in_file, known = from_file(file)
    layers = (
        in_file,
        from_environment(environ),
        {n: Value(read(n, v, flag(n)), flag(n), Rank.FLAG) for n, v in flags.items() if n in SETTINGS},
    )
    settings = Settings(values)
    for layer in layers:
        settings = settings.over(layer)
    if settings["preset"] is not None:
        settings = settings.over(preset(settings["preset"], known))
    low, high = settings.values["min_new_tokens"], settings.values["max_new_tokens"]
    if Rank.DEFAULT not in (low.rank, high.rank):
        SamplingParams(min_new_tokens=low.value, max_new_tokens=high.value)
    return settings


def settings_file() -> Path:
    """Where the settings file would be."""
    from platformdirs import user_config_path

    return user_config_path("tfm") / "settings.toml"


def from_file(path: Path) -> tuple[dict[str, Value], dict[str, dict[str, Value]]]:
    """(the settings of a TOML file with a table for each group, such as [sampling]; all presets by name, those of
    its tables [presets.NAME] and the built-in ones). Without a file, only these.
    """
    presets = {name: _preset(entries, f"the preset {name}") for name, entries in PRESETS.items()}
    try:
        tables = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        return {}, presets
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise UsageError(f"The settings file {path} cannot be read: {e}.") from e
    values: dict[str, Value] = {}
    for table, entries in tables.items():
        if not isinstance(entries, dict):
            raise UsageError(f"{path}: {table} stands outside of a table.", "Tables are " + _tables() + ".")
        if table == "presets":
            for name, own in entries.items():
                if not isinstance(own, dict):
                    raise UsageError(f"{path}: {name} in [presets] is no table.", f"Write [presets.{name}] above it.")
                presets[name] = _preset(own, f"{path} [presets.{name}]")
            continue
        if table not in TABLES:
            near = get_close_matches(table, TABLES, n=1)
            raise UsageError(f"{path}: there is no table [{table}].", f"Did you mean [{near[0]}]?" if near else "")
        for key, value in entries.items():
            name = _known(key, f"{path} [{table}]")
            if SETTINGS[name].table != table:
                raise UsageError(f"{path}: {key} stands in [{table}].", f"Its table is [{SETTINGS[name].table}].")
            source = f"{path} [{table}] {key}"
            values[name] = Value(check(name, value, source), source, Rank.FILE)
    return values, presets


def _preset(entries: Mapping[str, Any], source: str) -> dict[str, Value]:
    """The settings of one preset. Any setting may be in it but the choice of a preset."""
    values = {_known(key, source): (key, value) for key, value in entries.items()}
    if "preset" in values:
        raise UsageError(f"{source}: a preset cannot name another.")
    return {n: Value(check(n, v, f"{source} {key}"), source, Rank.PRESET) for n, (key, v) in values.items()}


def _known(key: str, where: str) -> str:
    """The setting that a key names. Raises UsageError with the nearest."""
    name = key.replace("-", "_")
    if name not in SETTINGS:
        raise UsageError(f"{where}: there is no setting {key!r}.", suggestion(name))
    return name


def preset(name: str, presets: Mapping[str, dict[str, Value]]) -> dict[str, Value]:
    """The settings of the preset `name`. Raises UsageError with the nearest name and all there are."""
    if name in presets:
        return presets[name]
    near = get_close_matches(name, presets, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(f"There is no preset {name!r}.", f"{hint}There are {', '.join(presets)}.")


def from_environment(environ: Mapping[str, str]) -> dict[str, Value]:
    """The settings of TFM_* variables. A list is written as a JSON array; one text may stand as it is."""
    values: dict[str, Value] = {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or not text:
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name in MACHINE or name == "server_key":  # a secret: it is no setting, shown and kept nowhere
            continue
        if name not in SETTINGS:
            raise UsageError(f"The variable {variable} means nothing to tfm.", suggestion(name, ENVIRONMENT_PREFIX))
        values[name] = Value(read(name, text, variable), variable, Rank.ENVIRONMENT)
    return values


def of_machine(name: str) -> Any:
    """A setting of MACHINE, from its environment variable. Raises UsageError that names the variable."""
    variable = ENVIRONMENT_PREFIX + name.upper()
    text = os.environ.get(variable)
    return read(name, text, variable) if text else MACHINE[name].default


def flag(name: str) -> str:
    """The long flag of a setting."""
    return "--" + name.replace("_", "-")


def suggestion(name: str, prefix: str = "") -> str:
    """The nearest name of a setting, as a question; empty when none is near."""
    near = get_close_matches(name, SETTINGS, n=1)
    shown = prefix + near[0].upper() if near and prefix else "".join(near)
    return f"Did you mean {shown}?" if shown else ""


def read(name: str, text: Any, source: str) -> Any:
    """The value that a text gives a setting. Flags that are no text (switches, lists) are taken as they are."""
    kind = _setting(name).kind
    if not isinstance(text, str) or kind == "text":
        return check(name, text, source)
    value: Any = text
    try:
        if kind == "bool":
            value = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}[text.lower()]
        elif kind == "int":
            value = int(text)
        elif kind == "float":
            value = float(text)
        else:
            value = json.loads(text) if text.startswith("[") else [text]
    except (ValueError, KeyError) as e:
        raise UsageError(f"{source} must be {WORDS[kind]}, not {text!r}.") from e
    return check(name, value, source)


def check(name: str, value: Any, source: str) -> Any:
    """The value, when the setting may have it. Raises UsageError that names the source."""
    setting = _setting(name)
    value = _of_kind(setting.kind, value)
    if value is None:
        raise UsageError(f"{source} must be {WORDS[setting.kind]}.")
    if setting.choices and value not in setting.choices:
        raise UsageError(f"{source} must be one of {', '.join(setting.choices)}, not {value!r}.")
    if setting.least is not None and value < setting.least:
        raise UsageError(f"{source} must be at least {setting.least}, not {value}.")
    if name in SAMPLING:
        _check_sampling(name, value, source)
    return value


def _setting(name: str) -> Setting:
    return SETTINGS.get(name) or MACHINE[name]


def _of_kind(kind: Kind, value: Any) -> Any:
    """The value as the kind's Python type; None when it is of another kind."""
    if kind == "bool":
        return value if isinstance(value, bool) else None
    if kind in ("int", "float"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind == "int":
            return value if number and isinstance(value, int) else None
        return float(value) if number else None
    if kind == "text":
        return value if isinstance(value, str) else None
    if isinstance(value, dict):  # the table form of logit_bias, and what a model's config gives
        value = [f"{token}={bias}" for token, bias in value.items()]
    return tuple(value) if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value) else None


def _check_sampling(name: str, value: Any, source: str) -> None:
    """Let SamplingParams judge the one value, and say where it stood."""
    trial: dict[str, Any] = {name: value}
    if name == "logit_bias":
        trial = {name: dict(split_bias(item) for item in value)}
    elif name == "min_new_tokens":
        trial["max_new_tokens"] = max(value, 0)
    try:
        SamplingParams(**cast(Any, trial))
    except UsageError as e:
        prefix = "" if source in (flag(name), name) else f"{source}: "
        raise UsageError(prefix + e.message, e.hint) from e


def split_bias(item: str) -> tuple[str, float]:
    """TOKEN=X in its two parts; the token itself may hold an equals sign."""
    token, separator, number = item.rpartition("=")
    try:
        if not separator or not token:
            raise ValueError
        return token, float(number)
    except ValueError as e:
        raise UsageError(f"--logit-bias must be TOKEN=X with a number X, not {item!r}.") from e


def _bias_of(item: str, engine: "Backend") -> tuple[int, float]:
    """The id and the bias of TOKEN=X, where TOKEN is an id, or a text that is exactly one token."""
    token, bias = split_bias(item)
    if engine.tokenizer is None:
        if token.isascii() and token.isdigit():
            return int(token), bias
        raise UsageError(f"--logit-bias {item}: a server does not tell which token {token!r} is.", "Give its id.")
    if token.isascii() and token.isdigit():
        size = engine.tokenizer.vocab_size
        if int(token) >= size:
            raise UsageError(f"--logit-bias {item}: the model has {size} tokens, and ids count from 0.")
        return int(token), bias
    ids = engine.tokenizer.encode(token)
    if len(ids) != 1:
        raise UsageError(f"--logit-bias {item}: {token!r} is {len(ids)} tokens, not one.", f"Its ids are {ids}.")
    return ids[0], bias


def _temperature_against_greedy(values: dict[str, Value]) -> dict[str, Value]:
    """A temperature that was set nearer than `greedy` means: draw. Else it would be taken and do nothing."""
    greedy, temperature = values.get("greedy"), values.get("temperature")
    if greedy and temperature and greedy.value and temperature.rank > greedy.rank:
        values["greedy"] = replace(temperature, value=False)
    return values


def _tables() -> str:
    return ", ".join(f"[{table}]" for table in (*TABLES, "presets.NAME"))

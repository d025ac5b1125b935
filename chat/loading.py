"""From settings to an engine and a system prompt: what `run` and `chat` both need before the first word."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chat import models
from chat.remote.address import address_of
from chat.screen import Screen
from chat.settings import Rank, Settings
from engine.errors import UsageError

if TYPE_CHECKING:
    from chat.backend import Backend
    from engine.api import Engine


def place_of(settings: Settings) -> Path | None:
    """The directory of the model that the settings name; None when a server runs it. Raises ModelError for a model that
    is not here, UsageError for a server that may not be."""
    if settings["server"]:
        address_of(settings)
        return None
    return models.resolve(settings["model"])


def answering(
    directory: Path | None, settings: Settings, screen: Screen, loader: Callable[..., "Engine"] | None = None
) -> "tuple[Backend, Settings]":
    """(what answers, the settings for it): the engine for a model directory, or the server."""
    if directory is None:
        from chat.remote.engine import connect

        return connect(settings, screen)
    return load(directory, settings, screen, loader), settings


def load(
    directory: Path, settings: Settings, screen: Screen, loader: Callable[..., "Engine"] | None = None
) -> "Engine":
    """The engine for a model directory. This is where torch is imported."""
    screen.wait(f"loading {directory.name}")
    try:
        names = ("dtype", "kv", "quant", "device", "threads", "context", "template", "adapter")
        options = {name: settings[name] for name in names}
        if loader is None:
            from engine import load_engine

            return load_engine(directory, **options)
        return loader(directory, **options)
    finally:
        screen.stop_waiting()


def load_exactly(directory: Path, settings: Settings, screen: Screen) -> "Engine":
    """The engine in float32 whatever the settings say: to look into a model, where speed is nothing."""
    from engine import load_engine

    def exactly(path: Path, **options: Any) -> "Engine":
        return load_engine(path, **options | {"dtype": "float32", "kv": "auto", "quant": "none"})

    return load(directory, settings, screen, exactly)


def system_prompt(settings: Settings) -> str:
    """The system prompt, as text or from a file, whichever was set nearer. Raises UsageError for both at once."""
    text, file = settings.values["system"], settings.values["system_file"]
    if text.value is not None and file.value is not None and text.rank == file.rank != Rank.DEFAULT:
        raise UsageError(f"{text.source} and {file.source} exclude each other.")
    if file.value is not None and file.rank >= text.rank:
        return read_text(file.value).rstrip("\r\n")
    return text.value or ""


def read_text(name: str) -> str:
    """The text of a file of a person. Raises UsageError when it cannot be read or is not UTF-8."""
    try:
        return Path(name).read_bytes().decode()
    except UnicodeDecodeError as e:
        raise UsageError(f"{name} is not UTF-8 text: byte {e.start} cannot be read.") from e
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else str(e)
        raise UsageError(f"{name} cannot be read: {reason}.") from e


def json_values(name: str, text: str | None = None) -> Iterator[tuple[int, Any]]:
    """The JSON values of a file of a person, one a line or one in all, each with its line. text: what is in the file.

    Raises UsageError when it cannot be read or is not JSON.
    """
    text = read_text(name) if text is None else text
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for number, line in lines:
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as e:
            if number != lines[0][0]:
                raise UsageError(f"{name}, line {number}, is not JSON: {e}.") from e
            try:
                yield 1, json.loads(text)
            except (ValueError, RecursionError) as whole:
                raise UsageError(f"{name} is not JSON: {whole}.") from whole
            return

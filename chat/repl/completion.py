"""What Tab offers: commands, settings and their values, presets, and files after @ and after commands that take one."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chat.repl.commands import SETTABLE
from chat.repl.registry import COMMANDS
from chat.settings import SETTINGS, from_file, settings_file
from engine.errors import UsageError

MOST_FILES = 200
SWITCHES = ("on", "off")


@dataclass(frozen=True)
class Offer:
    """A word that may stand in place of the last `replaces` characters."""

    text: str
    replaces: int
    meaning: str = ""

    @property
    def shown(self) -> str:
        """What the list shows: of a path only its last part."""
        return Path(self.text).name + ("/" if self.text.endswith("/") else "") if "/" in self.text else self.text


def completions(text: str) -> Iterator[Offer]:
    """What may follow the text before the cursor. A message of several lines is left alone."""
    if "\n" in text:
        return
    command, space, rest = text.partition(" ")
    last = text.rpartition(" ")[2]
    if command.startswith("/") and not space:
        yield from _of(((c.name, c.help) for c in COMMANDS.values()), command)
    elif command.startswith("/"):
        yield from _of_argument(command, rest, last)
    elif last.startswith("@"):
        yield from (Offer("@" + path, len(last)) for path in _files(last[1:]))


def _of_argument(command: str, rest: str, last: str) -> Iterator[Offer]:
    """What a command may be given. A word of its usage in small letters, such as `on`, stands for itself."""
    known = COMMANDS.get(command)
    before = rest.split(" ")[:-1]
    if command == "/set":
        yield from _of_setting(before, last)
    elif command == "/preset" and not before:
        yield from _of(((name, "") for name in _presets()), last)
    elif known and "FILE" in known.usage and not before:
        yield from (Offer(path, len(last)) for path in _files(last))
    elif known and not before:
        usage = known.usage.partition(" ")[2]
        yield from _of(
            ((word, "") for word in usage.replace("[", " ").replace("]", " ").split() if word.islower()), last
        )


def _of_setting(before: list[str], last: str) -> Iterator[Offer]:
    if not before:
        yield from _of(((name, "") for name in SETTABLE), last.replace("-", "_").lstrip("_"), len(last))
    elif len(before) == 1 and before[0] in SETTABLE:
        setting = SETTINGS[before[0]]
        values = setting.choices or (SWITCHES if setting.kind == "bool" else ())
        yield from _of(((value, "") for value in (*values, "default")), last)


def _of(words: Iterable[tuple[str, str]], begun: str, replaces: int | None = None) -> Iterator[Offer]:
    replaced = len(begun) if replaces is None else replaces
    yield from (Offer(word, replaced, meaning) for word, meaning in words if word.startswith(begun))


def _presets() -> list[str]:
    try:
        return list(from_file(settings_file())[1])
    except UsageError:  # a settings file that cannot be read was told at the start
        return []


def _files(begun: str) -> list[str]:
    """Paths that begin so, folders with a slash; hidden ones only when their dot is there. Names with a space cannot
    be told from two words, so they are left out."""
    folder, slash, name = begun.rpartition("/")
    try:
        entries = sorted(os.scandir(Path((folder or slash) or ".").expanduser()), key=lambda e: e.name)
    except OSError:
        return []
    fit = [e for e in entries if e.name.startswith(name) and (name or not e.name.startswith(".")) and " " not in e.name]
    return [folder + slash + e.name + ("/" if e.is_dir() else "") for e in fit[:MOST_FILES]]

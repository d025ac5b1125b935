"""Rewrite docs/cli.md: every command, flag, setting and slash command, as the program itself declares them.

    python scripts/make_cli_docs.py [--out docs/cli.md]

tests/test_cli_docs.py fails when the page is not what this writes.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import typer.main  # noqa: E402

from chat.cli import app  # noqa: E402
from chat.config_show import described  # noqa: E402
from chat.options import EXIT_CODES, SAMPLING_ORDER  # noqa: E402
from chat.repl.commands import COMMANDS  # noqa: E402
from chat.settings import ENVIRONMENT_PREFIX, MACHINE, PRESETS, SETTINGS, TABLES, Rank, Value, flag  # noqa: E402
from weights.cli import app as train_app  # noqa: E402
from weights.cli import bench_app, eval_app  # noqa: E402

PASSED_ON = {"train": train_app, "bench": bench_app, "eval": eval_app}
INTRODUCTION = """# The command line

`scripts/make_cli_docs.py` writes this page from the program's own declarations; a test compares them.

"""
SETTINGS_TEXT = """## Settings

Each can be a flag, an environment variable (`TFM_TOP_K=40`), a line of a preset or of the settings file. The nearest
wins: `/set` in a conversation, flag, variable, preset, settings file, the model's generation_config.json, default.
`tfm config show` tells each value and what set it; `tfm config path` tells where the file is. It is TOML:

```toml
[sampling]
temperature = 0.5
preset = "careful"

[presets.careful]
temperature = 0.2
system = "Answer in one sentence."
```

"""
PRESETS_TEXT = """Presets that are there (`--preset NAME`; a table of the file with the same name replaces one):

"""
CHAT_TEXT = """## In a conversation

What is typed is sent, unless it begins with `/`. Keys: Enter sends; Alt-Enter begins a new line, and so does Enter
within a `\"\"\"` fence; a paste of many lines is one message. Tab completes commands, settings and their values, and
files after `@` and `/read`. `@FILE` in a message of one line stands for the file's text (`@"FILE"` for a name with
spaces). Ctrl-R searches what was typed; Ctrl-X Ctrl-E opens `$VISUAL` or `$EDITOR`. Ctrl-C ends an answer and keeps
what there is of it; twice at an empty prompt it leaves, as Ctrl-D does. The line below the input tells the model, the
tokens in use of the context, and the speed of the last answer.

"""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=inspect.cleandoc(str(__doc__)).splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "cli.md")
    parser.parse_args().out.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, EXIT_CODES.replace("\n", " "), "\n\n"]
    command = typer.main.get_command(app)
    parts += [*_commands(command, "tfm"), SETTINGS_TEXT, *_settings(), "\n", CHAT_TEXT, *_slash_commands()]
    return "".join(parts).rstrip() + "\n"


def _commands(command: Any, name: str) -> Iterator[str]:
    """A section for each command below one, in the order of --help."""
    context = command.make_context(name, [], resilient_parsing=True)
    for word in command.list_commands(context):
        below = typer.main.get_command(PASSED_ON[word]) if name == "tfm" and word in PASSED_ON else None
        below = below or command.get_command(context, word)
        full = f"{name} {word}"
        yield f"## {full}\n\n{_told(below.help)}\n\n"
        if hasattr(below, "list_commands"):
            yield from (text.replace("## ", "### ", 1) for text in _commands(below, full))
        else:
            yield from _flags(below, full)


def _flags(command: Any, name: str) -> Iterator[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"    {name} {usage}\n\n"
    parameters = [p for p in command.get_params(context) if "--help" not in p.opts]
    rows = [record for p in parameters if (record := p.get_help_record(context)) is not None]
    if rows:
        yield "| | |\n|---|---|\n"
        yield from (f"| `{_cell(names)}` | {_cell(told)} |\n" for names, told in rows)
        yield "\n"


def _told(text: str | None) -> str:
    """A docstring as paragraphs."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _cell(text: str) -> str:
    return re.sub(r" <[^>]*>$", "", " ".join(text.split())).replace("|", "\\|")


def _settings() -> Iterator[str]:
    yield "| table | setting | flag | is | default |\n|---|---|---|---|---|\n"
    for table in TABLES:
        for name, setting in SETTINGS.items():
            if setting.table == table:
                kind = " or ".join(setting.choices) or setting.kind
                default = "" if setting.default in (None, ()) else f"`{str(setting.default).lower()}`"
                yield f"| {table} | {name} | `{flag(name)}` | {kind} | {default} |\n"
    yield "\n" + SAMPLING_ORDER.replace("\n", " ") + "\n\nBy a variable alone: "
    yield ", ".join(f"`{ENVIRONMENT_PREFIX}{name.upper()}`" for name in MACHINE) + ".\n\n" + PRESETS_TEXT
    for name, preset in PRESETS.items():
        values = {key: Value(value, "", Rank.PRESET) for key, value in preset.items()}
        yield f"- {name}: {described(values)}\n"


def _slash_commands() -> Iterator[str]:
    yield "| | |\n|---|---|\n"
    for command in COMMANDS.values():
        also = f" Also {', '.join(f'`{alias}`' for alias in command.aliases)}." if command.aliases else ""
        yield f"| `{_cell(command.usage)}` | {_cell(command.help)}{also} |\n"


if __name__ == "__main__":
    main()

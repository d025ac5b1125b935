"""The app starts without what it does not need, and says and gives just what Typer would."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.exceptions import TyperException

from chat.groups import Work
from chat.quick_app import QuickApp

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "line", [["history", "list"], ["history", "search", "x"], ["run", "x", "-t", "0.5", "--json"], ["chat", "-c"]]
)
def test_a_command_line_of_texts_and_flags_is_read_without_pydantic(line: list[str]) -> None:
    code = (
        f"import sys; from chat import cli; cli._parse({line!r})\n"
        "print([m for m in ('pydantic', 'rich', 'torch', 'numpy', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def apps() -> list[typer.Typer]:
    """The same app twice: Typer's, and the quick one."""
    made = []
    for kind in (typer.Typer, QuickApp):
        app = kind(add_completion=False, rich_markup_mode=None)

        @app.callback(invoke_without_command=True)
        def top(version: Annotated[bool, typer.Option("--version")] = False) -> None:
            typer.echo(f"top {version}")

        @app.command()
        def first_one(
            names: Annotated[list[str] | None, typer.Argument()] = None,
            many: Annotated[list[str] | None, typer.Option("--many")] = None,
            number: Annotated[int, typer.Option("--number", min=1)] = 20,
            part: Annotated[float, typer.Option("--part", max=2)] = 0.5,
            text: Annotated[str | None, typer.Option("--text")] = None,
            path: Annotated[Path | None, typer.Option("--path")] = None,
            on: Annotated[bool, typer.Option("--on/--off")] = False,
        ) -> Work:
            return lambda: [names, many, number, part, text, path, on]  # type: ignore[return-value]

        group = typer.Typer()
        group.command("inner")(first_one)
        group.command("other")(first_one)
        app.add_typer(group, name="group")
        made.append(app)
    return made


@pytest.mark.parametrize(
    "line",
    ["", "first-one", "first-one a b --many c --many d", "first-one --number 7 --part 1 --text x --path y --on",
     "first-one --number 0", "first-one --number x", "first-one --part 3", "first-one --nothing", "first-one --text",
     "group inner --number 3", "group iner", "group", "frist-one", "--version", "--help", "group --help",
     "first-one -h"],
)  # fmt: skip
def test_values_mistakes_and_help_are_typers_own(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    def outcome(app: typer.Typer) -> Any:
        try:
            work = app(line.split(), prog_name="tfm", standalone_mode=False)
            return work() if callable(work) else work, capsys.readouterr()
        except TyperException as e:
            return type(e).__name__, e.format_message()

    plain, quick = (outcome(app) for app in apps())
    assert quick == plain

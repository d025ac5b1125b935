"""A Typer app that starts faster: it builds the one command that is called, and looks only at values that need it.

Typer checks each value with pydantic, and that import alone takes more processor time than the rest of a start.
A text that is to be a text, a flag that was not given, and a default need no check.
"""

from copy import copy
from typing import Any

import typer
from typer.main import get_command, get_command_name


class QuickApp(typer.Typer):
    """A Typer app, quick to call. What it offers, and what it says of a mistake, is Typer's own."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line: the first argument or `args=`, else that of the process."""
        line = kwargs.get("args", args[0] if args else None)
        command = get_command(self._only(line[0]) if line else self)
        _take_as_it_came(command)
        return command(*args, **kwargs)

    def _only(self, name: str) -> typer.Typer:
        """An app with this one command or group of commands; all of it when there is none of that name."""
        commands = [c for c in self.registered_commands if (c.name or _name(c.callback)) == name]
        groups = [g for g in self.registered_groups if g.name == name]
        if not commands and not groups:
            return self
        app = copy(self)
        app.registered_commands, app.registered_groups = commands, groups
        return app


def _name(function: Any) -> str:
    return get_command_name(function.__name__)


def _take_as_it_came(command: Any, above: typer.Context | None = None) -> None:
    """Let the parameters of a command, and of those below it, be looked at by Typer only where that is needed."""
    context = typer.Context(command, parent=above, **command.context_settings)
    for parameter in command.get_params(context):  # with --help
        parameter._runtime_param = AsItCame()
    for below in getattr(command, "commands", {}).values():
        _take_as_it_came(below, context)


class AsItCame:
    """Stands where Typer keeps the check of a parameter, until there is a value that needs it."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value as the command gets it. Raises what Typer raises for one that is wrong."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        kind = param.type_descriptor.annotation
        if isinstance(kind, type) and kind in (str, int, float) and type(value) is kind:
            return value  # a text; or a number that is a default, as those of a command line come as text
        if kind == list[str] and isinstance(value, tuple | list) and all(isinstance(part, str) for part in value):
            return value
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)

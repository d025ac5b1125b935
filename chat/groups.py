"""What commands are made of: the work that each hands to the edge, and groups of them, such as `tfm models`."""

from collections.abc import Callable

import typer

from chat.options import EXIT_CODES

Work = Callable[[], int]  # what a command has to do; returns the exit code


def command_group(help_: str) -> typer.Typer:
    """An empty group of commands. Called without one of them it shows its help."""
    app = typer.Typer(help=help_, rich_markup_mode=None, epilog=EXIT_CODES)

    @app.callback(invoke_without_command=True)
    def show_help(ctx: typer.Context) -> None:
        if ctx.invoked_subcommand is None:
            typer.echo(ctx.get_help())

    return app

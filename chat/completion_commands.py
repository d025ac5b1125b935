"""`tfm completion SHELL`, and the words that it lets a shell offer. Imports no torch, and nothing that is slow."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

Work = Callable[[], int]
MOST_SESSIONS = 50
VARIABLE = "_TFM_COMPLETE"  # by which the script of a shell asks for words


class Shell(StrEnum):
    """A shell that a script can be written for."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.", metavar="SHELL", show_choices=False)],
) -> Work:
    """Write what makes a shell complete `tfm` with Tab.

    bash: `tfm completion bash > ~/.local/share/bash-completion/completions/tfm`.
    zsh: `tfm completion zsh > ~/.zfunc/_tfm`, with ~/.zfunc in fpath before compinit.
    fish: `tfm completion fish > ~/.config/fish/completions/tfm.fish`.
    """

    def work() -> int:
        from typer.completion import get_completion_script  # type: ignore[attr-defined]

        print(get_completion_script(prog_name="tfm", complete_var=VARIABLE, shell=shell.value))
        return 0

    return work


def answer_shell(app: typer.Typer) -> None:
    """Write the words for the command line that a shell asks about, and end the process."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
    app(prog_name="tfm")


def choices_of(name: str) -> Callable[[str], list[str]]:
    """What the flag of a setting may be given: its choices, the presets, the models on this disk; or the sessions."""

    def offer(incomplete: str) -> list[str]:
        return [word for word in _words(name) if word.startswith(incomplete)]

    return offer


def _words(name: str) -> list[str]:
    from engine.errors import TfmError

    try:
        if name == "model":
            from chat import models

            return [*models.shipped(), *models.pulled(), *models.cached()]
        if name == "session":
            return _sessions()
        from chat.settings import SETTINGS, from_file, settings_file

        return list(from_file(settings_file())[1]) if name == "preset" else list(SETTINGS[name].choices)
    except TfmError:  # a settings file that cannot be read is told when a command is run
        return []


def _sessions() -> list[str]:
    """The ids of the sessions that were last spoken in; none are made up, and no store is made, by asking."""
    from chat.sessions.schema import store_path
    from chat.sessions.store import Store

    if not store_path().is_file():
        return []
    store = Store()
    try:
        return [session.id for session in store.sessions(MOST_SESSIONS)]
    finally:
        store.close()

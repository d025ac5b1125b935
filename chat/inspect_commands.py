"""The command lines of `tfm inspect ...`: looks into a model. Imports no torch at start."""

from typing import Annotated

import typer

from chat.groups import Work, command_group
from chat.models import DEFAULT
from chat.options import DebugOption, ThreadsOption

app = command_group("Look into a model while it reads.")


@app.command()
def experts(
    text: Annotated[list[str] | None, typer.Argument(help="Each token, and who takes it.", metavar="TEXT")] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("-f", "--file", help="Instead: each expert's share of a file (repeatable).", metavar="FILE"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    model: Annotated[
        str, typer.Option("-m", "--model", help="A model with experts, of any kind.", metavar="DIR")
    ] = DEFAULT,
    to: Annotated[
        str | None, typer.Option("--to", help="A translator: the language. Its encoder is shown.", metavar="LANG")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="No colours.")] = False,
    threads: ThreadsOption = None,
    debug: DebugOption = False,
) -> Work:
    """Which expert of a mixture takes which token, layer by layer."""
    del debug

    def work() -> int:
        from chat.inspect import Request, inspect_experts
        from chat.settings import gather

        given = {"plain": plain or None, "threads": threads}
        flags = {name: value for name, value in given.items() if value is not None}
        return inspect_experts(Request(text or [], file or [], model, json, to), gather(flags))

    return work


@app.command()
def attention(
    text: Annotated[list[str] | None, typer.Argument(help="What the model reads.", metavar="TEXT")] = None,
    layer: Annotated[int | None, typer.Option("--layer", help="With --head: one head, shaded.", metavar="N")] = None,
    head: Annotated[int | None, typer.Option("--head", help="With --layer: one head, shaded.", metavar="N")] = None,
    png: Annotated[
        str | None, typer.Option("--png", help="Draw all heads, or the one, into this file.", metavar="FILE")
    ] = None,
    as_chat: Annotated[
        bool, typer.Option("--chat", help="A chat model: read it as a user's turn, with the greedy answer.")
    ] = False,
    to: Annotated[str | None, typer.Option("--to", help="A translator: the language.", metavar="LANG")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="A translator: this translation, not its own.", metavar="TEXT")
    ] = None,
    part: Annotated[
        str | None, typer.Option("--part", help="A translator: encoder, decoder or cross (the default).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="All weights as one JSON object.")] = False,
    model: Annotated[
        str, typer.Option("-m", "--model", help="A chat model, masked language model or translator.", metavar="DIR")
    ] = DEFAULT,
    threads: ThreadsOption = None,
    debug: DebugOption = False,
) -> Work:
    """What each head of a model looks at: a line for each, one of them shaded, or a picture."""
    del debug

    def work() -> int:
        from chat.inspect_attention import Request, inspect_attention
        from chat.settings import gather

        request = Request(text or [], model, to, target, part, as_chat, layer, head, png, json)
        return inspect_attention(request, gather({} if threads is None else {"threads": threads}))

    return work


@app.command()
def heads(
    corpus: Annotated[
        str, typer.Option("--corpus", help="A directory with parallel/en-*.valid.tsv.", metavar="DIR")
    ] = "corpus",
    to: Annotated[str | None, typer.Option("--to", help="A translator: the language.", metavar="LANG")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    model: Annotated[
        str, typer.Option("-m", "--model", help="A chat model, masked language model or translator.", metavar="DIR")
    ] = DEFAULT,
    threads: ThreadsOption = None,
    debug: DebugOption = False,
) -> Work:
    """Which head looks at what: the best for each relation, scored beside a fixed distance."""
    del debug

    def work() -> int:
        from chat.inspect_heads import Request, inspect_heads
        from chat.settings import gather

        return inspect_heads(Request(corpus, model, to, json), gather({} if threads is None else {"threads": threads}))

    return work


@app.command()
def template(
    text: Annotated[list[str] | None, typer.Argument(help="What the user says in it.", metavar="TEXT")] = None,
    template: Annotated[
        str | None, typer.Option("--template", help="In place of the model's: a name, .jinja or JSON.", metavar="NAME")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    model: Annotated[
        str, typer.Option("-m", "--model", help="A chat model: a directory or a .gguf file.", metavar="DIR")
    ] = DEFAULT,
    plain: Annotated[bool, typer.Option("--plain", help="No colours.")] = False,
    debug: DebugOption = False,
) -> Work:
    """How a conversation is written for a model: whose words each id is, and what is wrong with its template."""
    del debug

    def work() -> int:
        from chat.inspect_template import Request, inspect_template
        from chat.settings import gather

        return inspect_template(Request(text or [], model, template, json), gather({"plain": True} if plain else {}))

    return work

"""The command line of `tfm verify`. Imports no torch at start."""

from typing import Annotated

import typer

from chat.groups import Work
from chat.models import DEFAULT
from chat.options import DebugOption


def verify(
    name: Annotated[str, typer.Argument(help="A name of `tfm models list`, or a path.", metavar="MODEL")] = DEFAULT,
    reference: Annotated[
        bool, typer.Option("--reference", help="Compare with transformers, too, where it is installed.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    debug: DebugOption = False,
) -> Work:
    """Check a model: its files, its tokenizer and template, and its numbers. Exit code 5 when one differs.

    Every way of reading must give the same logits: with the cache and without, in chunks and at once, in a batch and
    alone, in bfloat16 and float32, quantised and not. Nothing is changed.
    """
    del debug

    def work() -> int:
        from chat.verify import verify as check

        return check(name, reference=reference, as_json=json)

    return work

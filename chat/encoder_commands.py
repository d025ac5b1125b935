"""The command lines of `tfm fill`, `tfm embed` and `tfm classify`. Imports no torch at start."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chat.groups import Work
from chat.models import MASKED_LM
from chat.options import DebugOption, ThreadsOption

if TYPE_CHECKING:
    from chat.encode import Request


TextArgument = Annotated[
    list[str] | None,
    typer.Argument(help="A line each; without any come -f files, or else stdin, line by line.", metavar="TEXT"),
]
FileOption = Annotated[
    list[str] | None, typer.Option("-f", "--file", help="A file of lines (repeatable).", metavar="FILE")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
ModelOption = Annotated[
    str, typer.Option("-m", "--model", help="An encoder: a directory, or a shipped name.", metavar="DIR")
]


def fill(
    text: TextArgument = None,
    top: Annotated[int, typer.Option("--top", help="How many guesses for each mask.", metavar="K")] = 5,
    file: FileOption = None, json: JsonOption = False, model: ModelOption = MASKED_LM, threads: ThreadsOption = None,
    debug: DebugOption = False,
) -> Work:  # fmt: skip
    """Tell what [MASK] hides in a line.

    Probability, piece, and the line with it, the likeliest first. An empty line stays empty.
    A piece that goes on with the word before it begins with ##. Several [MASK]s are answered from left to right, each
    with the best guesses for those before it in their places.
    """
    del debug

    def work() -> int:
        from chat.encode import fill_lines

        return fill_lines(_request(text, file, model, json), _settings(threads), top)

    return work


def embed(
    text: TextArgument = None,
    similar: Annotated[
        str | None, typer.Option("--similar", help="Tell how near each line is to this one instead.", metavar="QUERY")
    ] = None,
    pooling: Annotated[
        str, typer.Option("--pooling", help="mean: over all positions; cls: the first.", metavar="HOW")
    ] = "mean",
    file: FileOption = None, json: JsonOption = False, model: ModelOption = MASKED_LM, threads: ThreadsOption = None,
    debug: DebugOption = False,
) -> Work:  # fmt: skip
    """Turn lines into vectors.

    A line of numbers for each, a vector of length 1; an empty line stays empty. Or, with a query, the cosine of each
    line to it, the nearest first.
    """
    del debug

    def work() -> int:
        from chat.encode import embed_lines

        return embed_lines(_request(text, file, model, json), _settings(threads), pooling, similar)

    return work


def classify(
    text: TextArgument = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="What `tfm train classify` wrote.", metavar="DIR")
    ] = None,
    file: FileOption = None, json: JsonOption = False, threads: ThreadsOption = None, debug: DebugOption = False,
) -> Work:  # fmt: skip
    """Tell the class of each line, and its probability."""
    del debug

    def work() -> int:
        from chat.encode import classify_lines
        from engine.errors import UsageError

        if model is None:
            raise UsageError("It is not said which model is to classify.", "-m names what `tfm train classify` wrote.")
        return classify_lines(_request(text, file, model, json), _settings(threads))

    return work


def _request(text: list[str] | None, file: list[str] | None, model: str, json: bool) -> "Request":
    from chat.encode import Request

    return Request(text or [], file or [], model, json)


def _settings(threads: str | None) -> Any:
    from chat.settings import gather

    return gather({} if threads is None else {"threads": threads})

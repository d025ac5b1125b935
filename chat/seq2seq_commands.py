"""The command lines of `tfm translate` and `tfm summarize`. Imports no torch at start."""

from typing import Annotated

import typer

from chat.groups import Work
from chat.options import DebugOption, ThreadsOption


def translate(
    text: Annotated[
        list[str] | None,
        typer.Argument(help="One line; without it come -f files, or else stdin, line by line.", metavar="TEXT"),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="The language, such as fr.", metavar="LANG")] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="The language of the text, if the model knows several.", metavar="LANG")
    ] = None,
    file: Annotated[
        list[str] | None, typer.Option("-f", "--file", help="A file of lines (repeatable).", metavar="FILE")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    beam: Annotated[int | None, typer.Option("--beam", help="How many are kept; 1 is greedy.", metavar="N")] = None,
    length_penalty: Annotated[
        float | None, typer.Option("--length-penalty", help="More prefers longer ones; 0 is off.", metavar="X")
    ] = None,
    alternatives: Annotated[int, typer.Option("--alternatives", help="The N next best, after tabs.", metavar="N")] = 0,
    temperature: Annotated[
        float | None, typer.Option("-t", "--temperature", help="Draw, with logits divided by X.", metavar="X")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", help="Draw, from the fewest tokens whose sum reaches P.", metavar="P")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Repeats what was drawn.", metavar="N")] = None,
    model: Annotated[
        str, typer.Option("-m", "--model", help="A translator: a directory, or a shipped name.", metavar="DIR")
    ] = "translator",
    threads: ThreadsOption = None,
    debug: DebugOption = False,
) -> Work:
    """Translate from English: a line in, a line out."""

    def work() -> int:
        from chat.settings import gather
        from chat.translate import Request, translate_lines

        request = Request(
            text or [], file or [], to, model, beam, length_penalty, alternatives, temperature, top_p, seed, json,
            source,
        )  # fmt: skip
        return translate_lines(request, gather({} if threads is None else {"threads": threads}))

    return work


def summarize(
    text: Annotated[
        list[str] | None,
        typer.Argument(help="The text; without it come -f files, or else stdin as a whole.", metavar="TEXT"),
    ] = None,
    file: Annotated[
        list[str] | None, typer.Option("-f", "--file", help="A file to sum up (repeatable).", metavar="FILE")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object for each text.")] = False,
    beam: Annotated[int | None, typer.Option("--beam", help="How many are kept; 1 is greedy.", metavar="N")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("-n", "--max-new-tokens", help="The longest summary, in tokens.", metavar="N")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help='Text before each, such as "summarize: " (T5).', metavar="TEXT")
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="The directory of a BART or a T5.", metavar="DIR")
    ] = None,
    threads: ThreadsOption = None,
    debug: DebugOption = False,
) -> Work:
    """Sum up a text, with a model that you bring."""

    def work() -> int:
        from chat.settings import gather
        from chat.summarize import Request
        from chat.summarize import summarize as sum_up

        request = Request(text or [], file or [], model, prefix, beam, max_new_tokens, json)
        return sum_up(request, gather({} if threads is None else {"threads": threads}))

    return work

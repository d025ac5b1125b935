"""`tfm summarize`: one summary for each document, with a model that a person brings."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TextIO

from chat import models
from chat.loading import read_text
from chat.prompts import piped_text
from chat.screen import Screen
from chat.settings import Settings
from engine.errors import UsageError

if TYPE_CHECKING:
    from weights.models.summarize import Summarizer

LINE_ENDS = re.compile(r"[\r\n]+")


@dataclass(frozen=True)
class Request:
    """What one call of `tfm summarize` asks for. None: as the model wants it."""

    text: Sequence[str] = ()
    files: Sequence[str] = ()
    model: str | None = None
    prefix: str | None = None
    beam: int | None = None
    max_new_tokens: int | None = None
    json: bool = False


@dataclass(frozen=True)
class Document:
    """A text and where it is from. text: None when it cannot be read, and then wrong says why."""

    source: str
    text: str | None
    wrong: str = ""


def summarize(request: Request, settings: Settings, *, stdin: TextIO | None = None) -> int:
    """Sum up each document; returns the exit code. One that cannot be summed up is told, and the others still are."""
    from weights.models.summarize import SummaryOptions

    screen = Screen(plain=settings["plain"])
    if request.model is None:
        raise UsageError(
            "No model that sums up is shipped.", "Give one with -m: the directory of a BART or a T5, as from the hub."
        )
    directory = models.resolve(request.model)
    options = SummaryOptions(request.beam, request.max_new_tokens)
    documents = list(_documents(request, sys.stdin if stdin is None else stdin, screen))
    screen.wait(f"loading {directory.name}")
    try:
        summarizer = _load(request, settings)
    finally:
        screen.stop_waiting()
    wrong = 0
    for document in documents:
        record: dict[str, object] = {"source": document.source}
        try:
            if document.text is None:
                raise UsageError(document.wrong)
            record |= _renamed(asdict(summarizer.summarize(document.text, options)))
        except UsageError as e:
            wrong += 1
            record |= {"summary": None, "error": e.message}
            screen.report(f"tfm: {document.source}: {e.message}")
        if request.json:
            screen.write(json.dumps(record) + "\n")
        else:
            line = LINE_ENDS.sub(" ", str(record["summary"] or ""))
            screen.write(screen.renderer(markdown=False).feed(line + "\n"))
    return UsageError.exit_code if wrong else 0


def _renamed(summary: dict[str, object]) -> dict[str, object]:
    return {"summary": summary.pop("text"), **summary}


def _documents(request: Request, stdin: TextIO | None, screen: Screen) -> Iterator[Document]:
    """The arguments as one document, then each file; only when there is neither, stdin as a whole.

    Raises UsageError when there is no text at all.
    """
    if request.text:
        yield Document("the argument", " ".join(request.text))
    for name in request.files:
        try:
            yield Document(name, read_text(name))
        except UsageError as e:
            yield Document(name, None, e.message)
    if not request.text and not request.files:
        text = piped_text(stdin, screen)
        if not text.strip():
            raise UsageError("There is no text.", "Give it as an argument, with -f, or on stdin.")
        yield Document("stdin", text)


def _load(request: Request, settings: Settings) -> "Summarizer":
    """The summariser of a directory. This is where torch is imported."""
    import torch

    from weights.models.summarize import Summarizer

    if settings["threads"] is not None:
        torch.set_num_threads(settings["threads"])
    assert request.model is not None
    return Summarizer.load(models.resolve(request.model), request.prefix)

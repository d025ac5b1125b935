"""`tfm fill`, `tfm embed` and `tfm classify`: lines of text before an encoder, and what it says of each."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from chat import models
from chat.lines import open_lines
from chat.screen import Screen
from chat.settings import Settings
from engine.errors import UsageError

if TYPE_CHECKING:
    from weights.models.embed import Embedder

Answer = Callable[[str], list[str]]  # a line in, lines out. Raises UsageError for a line that cannot be answered


@dataclass(frozen=True)
class Request:
    """What one call asks for. texts: one line or more; without them and files, lines come from stdin."""

    texts: Sequence[str] = ()
    files: Sequence[str] = ()
    model: str = models.MASKED_LM
    json: bool = False


def fill_lines(request: Request, settings: Settings, top: int, stdin: TextIO | None = None) -> int:
    """Tell what stands behind the masks of every line; returns the exit code."""
    if top < 1:
        raise UsageError(f"--top must be at least 1, not {top}.")
    screen = Screen(plain=settings["plain"])
    directory = _directory(request, settings, screen)
    from weights.models.fill import Filler

    filler = Filler.load(directory)

    def answer(line: str) -> list[str]:
        guesses = filler.fill(line, top)
        if request.json:
            masks = [
                [
                    {"piece": g.text, "probability": g.probability, "continues": g.continues, "filled": g.filled}
                    for g in of_mask
                ]
                for of_mask in guesses
            ]
            return [json.dumps({"text": line, "masks": masks})]
        return [f"{g.probability:.4f}\t{g.shown}\t{g.filled}" for of_mask in guesses for g in of_mask]

    return _answer_all(request, answer, screen, stdin)


def embed_lines(
    request: Request, settings: Settings, pooling: str, similar: str | None = None, stdin: TextIO | None = None
) -> int:
    """Tell the vector of every line, or how near each is to the line `similar`; returns the exit code."""
    if pooling not in ("mean", "cls"):
        raise UsageError(f"--pooling must be mean or cls, not {pooling!r}.")
    screen = Screen(plain=settings["plain"])
    directory = _directory(request, settings, screen)
    from weights.models.embed import Embedder
    from weights.models.encoder_checkpoint import open_encoder

    embedder = Embedder(*open_encoder(directory), pooling)
    if similar is not None:
        return _rank(request, embedder, similar, screen, stdin)

    def answer(line: str) -> list[str]:
        vector = embedder.vectors([line])[0].tolist()
        told = json.dumps({"text": line, "vector": vector}) if request.json else " ".join(f"{x:.6f}" for x in vector)
        return [told]

    return _answer_all(request, answer, screen, stdin)


def classify_lines(request: Request, settings: Settings, stdin: TextIO | None = None) -> int:
    """Tell the class of every line, and how sure the model is; returns the exit code."""
    screen = Screen(plain=settings["plain"])
    directory = _directory(request, settings, screen)
    from weights.models.classifier import Labeller

    labeller = Labeller.load(directory)

    def answer(line: str) -> list[str]:
        probs = labeller.probs([line])[0]
        label = max(probs, key=lambda name: probs[name])
        if request.json:
            return [json.dumps({"text": line, "label": label, "probabilities": probs})]
        return [f"{label}\t{probs[label]:.4f}\t{line}"]

    return _answer_all(request, answer, screen, stdin)


def _directory(request: Request, settings: Settings, screen: Screen) -> Path:
    """The model's directory; the threads are set, and torch is imported here."""
    directory = models.resolve(request.model)
    screen.wait(f"loading {directory.name}")
    import torch

    if settings["threads"] is not None:
        torch.set_num_threads(settings["threads"])
    return directory


def _answer_all(request: Request, answer: Answer, screen: Screen, stdin: TextIO | None, keep_blank: bool = True) -> int:
    """Answer each line as soon as it is there. One that cannot be answered is told on stderr; the others go on.

    keep_blank: a line without text gives an empty line, so that lines out stand where the lines in do; else nothing.
    """
    code = 0
    renderer = screen.renderer(markdown=False)

    def blank(text: str) -> list[str]:
        return [json.dumps({"text": text}) if request.json else ""] if keep_blank else []

    for line in _lines(request, screen, stdin):
        try:
            if line.wrong:
                raise UsageError(line.wrong)
            told = answer(line.text) if line.text.strip() else blank(line.text)
        except UsageError as e:
            code = e.exit_code
            screen.report(f"tfm: {e.message if line.wrong else f'Line {line.number}: {e}'}")
            told = [json.dumps({"text": line.text, "error": e.message})] if request.json else []
        screen.write("".join(row + "\n" if request.json else renderer.feed(row + "\n") for row in told))
    return code


def _rank(request: Request, embedder: "Embedder", query: str, screen: Screen, stdin: TextIO | None) -> int:
    """All lines with their cosine to the query, the nearest first."""
    code = 0
    near = embedder.vectors([query])[0]
    found: list[tuple[float, str]] = []

    def answer(line: str) -> list[str]:
        found.append((float(embedder.vectors([line])[0] @ near), line))
        return []

    code = _answer_all(request, answer, screen, stdin, keep_blank=False)
    renderer = screen.renderer(markdown=False)
    for cosine, line in sorted(found, key=lambda pair: -pair[0]):
        row: dict[str, Any] = {"text": line, "cosine": cosine}
        screen.write(json.dumps(row) + "\n" if request.json else renderer.feed(f"{cosine:.4f}\t{line}\n"))
    return code


@dataclass(frozen=True)
class _Numbered:
    """A line and its number; wrong says why it cannot be read."""

    number: int
    text: str
    wrong: str


def _lines(request: Request, screen: Screen, stdin: TextIO | None) -> Iterator[_Numbered]:
    """The lines of a request, counted."""
    stdin = sys.stdin if stdin is None else stdin
    # Each argument ends its line: an empty one, too, is a line.
    texts = ["".join(t if t.endswith("\n") else f"{t}\n" for t in request.texts)] if request.texts else []
    number = 0
    with open_lines(texts, request.files, stdin) as groups:
        screen.stop_waiting()
        for group in groups:
            for line in group:
                number += 1
                yield _Numbered(number, line.text or "", line.wrong)

"""`tfm translate`: a line in, a line out, in the same order, each as soon as it is done."""

import json
import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from chat import models
from chat.lines import Line, open_lines
from chat.screen import Screen
from chat.settings import Settings, flag
from engine.errors import UsageError
from engine.params import SamplingParams

if TYPE_CHECKING:
    from weights.models.translate import Options, Translation, Translator

SEED_BITS = 31  # of a seed that was not given: short enough to type again
LINE_ENDS = re.compile(r"[\r\n]+")
CELL_ENDS = re.compile(r"[\t\r\n]+")


@dataclass(frozen=True)
class Request:
    """What one call of `tfm translate` asks for. None: as it is best, or as another field makes it."""

    text: Sequence[str] = ()
    files: Sequence[str] = ()
    to: str | None = None
    model: str = models.TRANSLATOR
    beam: int | None = None
    length_penalty: float | None = None
    alternatives: int = 0
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    json: bool = False
    source: str | None = None  # the language of the text, where the model knows several

    @property
    def options(self) -> "Options":
        """How to translate. Raises UsageError for flags that mean nothing, alone or together."""
        from weights.models.translate import Options

        drawn = {n: v for n in ("temperature", "top_p") if (v := getattr(self, n)) is not None}
        searched = {n: v for n in ("beam", "length_penalty") if (v := getattr(self, n)) is not None}
        if not drawn:
            if self.seed is not None:
                raise UsageError("--seed has no place in a search by beams.", "Draw with --temperature or --top-p.")
            return Options(alternatives=self.alternatives, **searched)
        if searched:
            raise UsageError(f"{flag(next(iter(searched)))} and {flag(next(iter(drawn)))} exclude each other.")
        seed = secrets.randbits(SEED_BITS) if self.seed is None else self.seed
        params = SamplingParams(**drawn, seed=seed)
        return Options(alternatives=self.alternatives, sampling=params, seed=seed)


def translate_lines(request: Request, settings: Settings, *, stdin: TextIO | None = None) -> int:
    """Translate every line; returns the exit code. What can be wrong but for a line is found before the first."""
    stdin = sys.stdin if stdin is None else stdin
    screen = Screen(plain=settings["plain"])
    directory = models.resolve(request.model)
    with open_lines(request.text, request.files, stdin) as groups:
        options = request.options
        translator = _load(directory, settings["threads"], screen)
        translator.check_language(request.to, request.source)
        if not (request.text or request.files) and stdin.isatty() and screen.tells_a_person:
            screen.aside("Each line is translated when it ends; Ctrl-D leaves.")
        done, wrong = 0, 0
        for group in groups:
            _answer(group, translator, replace(options, seed=options.seed + done), request, screen)
            done += len(group)
            bad = [line for line in group if line.text is None]
            if bad and not wrong:
                screen.report(f"tfm: {bad[0].wrong} Such a line stays empty.")
            wrong += len(bad)
    return UsageError.exit_code if wrong else 0


def _load(directory: Path, threads: int | None, screen: Screen) -> "Translator":
    """The translator of a directory. This is where torch is imported."""
    screen.wait(f"loading {directory.name}")
    try:
        import torch

        from weights.models.translate import Translator

        if threads is not None:
            torch.set_num_threads(threads)
        return Translator.load(directory)
    finally:
        screen.stop_waiting()


def _answer(
    group: Sequence[Line], translator: "Translator", options: "Options", request: Request, screen: Screen
) -> None:
    """Write the translations of a group of lines, each on a line of its own."""
    assert request.to is not None
    found = translator.translate([line.text or "" for line in group], request.to, options, request.source)
    if request.json:
        records = (
            _record(line, translation, request.to) | ({"seed": options.seed + n} if options.sampling else {})
            for n, (line, translation) in enumerate(zip(group, found, strict=True))
        )
        screen.write("".join(json.dumps(record) + "\n" for record in records))
        return
    renderer = screen.renderer(markdown=False)
    screen.write("".join(renderer.feed(_row(translation, request.alternatives) + "\n") for translation in found))


def _row(translation: "Translation", alternatives: int) -> str:
    """The translation as one line; where alternatives were asked for, they follow, each after a tab."""
    if not alternatives:
        return LINE_ENDS.sub(" ", translation.text)
    return "\t".join(CELL_ENDS.sub(" ", t) for t in (translation.text, *(text for text, _ in translation.alternatives)))


def _record(line: Line, translation: "Translation", to: str) -> dict[str, Any]:
    """Everything about one line as plain values. A line that is not UTF-8 has an error, and neither text."""
    if line.text is None:
        return {"text": None, "translation": None, "to": to, "error": line.wrong}
    return {
        "text": line.text,
        "translation": translation.text,
        "to": to,
        "logprob": translation.logprob,
        "n_tokens": translation.n_tokens,
        "n_parts": translation.n_parts,
        "alternatives": [{"translation": text, "logprob": logprob} for text, logprob in translation.alternatives],
    }

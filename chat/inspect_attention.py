"""`tfm inspect attention`: what each head looks at while a model reads a text."""

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

from chat import models
from chat.loading import load_exactly
from chat.render import safe_text
from chat.screen import Screen
from chat.settings import Settings
from engine.errors import DataError, UsageError

if TYPE_CHECKING:
    from weights.models.boards import Board

SHADES = " ░▒▓█"  # a cell of less than a fifth of the whole attention, of less than two fifths, and so on
PARTS = ("encoder", "decoder", "cross")
FEWEST_CELLS = 8  # in a line, however narrow the terminal is


@dataclass(frozen=True)
class Request:
    """What one call asks for. layer, head: one head instead of all; png: a picture beside what is printed."""

    text: Sequence[str] = ()
    model: str = models.DEFAULT
    to: str | None = None
    target: str | None = None
    part: str | None = None
    chat: bool = False
    layer: int | None = None
    head: int | None = None
    png: str | None = None
    json: bool = False


def inspect_attention(request: Request, settings: Settings, screen: Screen | None = None) -> int:
    """Show the attention of a model on a text; returns the exit code.

    Raises UsageError for flags that do not fit the model or name no head, DataError for a picture that cannot be.
    """
    screen = screen or Screen(plain=settings["plain"])
    if not " ".join(request.text).strip():
        raise UsageError("inspect attention wants a text.")
    if (request.layer is None) != (request.head is None):
        raise UsageError("--layer and --head name one head together.")
    board = board_of(request, settings, screen)
    _check_head(board, request.layer, request.head)
    if request.png is not None:
        _draw(board, request)
        screen.report(f"{request.png} shows the {board.part}'s attention.")
    width = shutil.get_terminal_size().columns if screen.out.isatty() else None
    for line in _lines(board, request, width):
        screen.write(line + "\n")
    return 0


def board_of(request: Request, settings: Settings, screen: Screen) -> "Board":
    """The board that a request asks for, of whatever kind of model the directory holds."""
    from weights.models.kinds import COMMANDS, architecture, wrong_kind

    directory = models.resolve(request.model)
    name = architecture(directory)
    command, text = COMMANDS.get(name or ""), " ".join(request.text)
    allowed: dict[str, set[str]] = {"tfm run": {"chat"}, "tfm translate": {"to", "target", "part"}}
    for flag in ("to", "target", "part", "chat"):
        if getattr(request, flag) and flag not in allowed.get(command or "", set()):
            raise UsageError(f"--{flag} means nothing to the {name} in {directory}.")
    if command == "tfm run":
        return _of_decoder(directory, text, request.chat, settings, screen)
    if command == "tfm fill":
        from weights.models.boards import encoder_board
        from weights.models.fill import Filler

        return encoder_board(Filler.load(directory), text)
    if command == "tfm translate":
        return _of_translator(directory, text, request)
    raise wrong_kind(directory, name, "cannot be looked into here", "")


def _of_decoder(directory: Path, text: str, as_chat: bool, settings: Settings, screen: Screen) -> "Board":
    from engine.events import Finish
    from engine.params import SamplingParams
    from engine.template import Message
    from weights.models.boards import decoder_board

    engine = load_exactly(directory, settings, screen)
    if not as_chat:
        return decoder_board(engine, engine.raw_ids(text))
    conversation = [Message("user", text)]
    *_, end = engine.chat(conversation, SamplingParams(greedy=True, max_new_tokens=48))
    assert isinstance(end, Finish)
    return decoder_board(engine, [*end.prompt_ids, *end.ids])


def _of_translator(directory: Path, text: str, request: Request) -> "Board":
    from weights.models.boards import translator_boards
    from weights.models.translate import Translator

    part = request.part or "cross"
    if part not in PARTS:
        raise UsageError(f"--part is one of {', '.join(PARTS)}, not {part!r}.")
    translator = Translator.load(directory)
    translator.check_language(request.to)
    assert request.to is not None
    return translator_boards(translator, text, request.to, request.target)[part]


def _check_head(board: "Board", layer: int | None, head: int | None) -> None:
    n_layers, n_heads = board.weights.shape[:2]
    for what, value, count in (("layer", layer, n_layers), ("head", head, n_heads)):
        if value is not None and not 0 <= value < count:
            raise UsageError(f"There is no {what} {value}: this {board.part} has {what}s 0 to {count - 1}.")


def _draw(board: "Board", request: Request) -> None:
    from weights.models.boards import draw_boards, draw_head

    path = Path(request.png or "")
    if request.layer is not None and request.head is not None:
        drawn = draw_head(board, request.layer, request.head, path)
    else:
        drawn = draw_boards(board, path)
    if not drawn:
        raise DataError("A picture needs matplotlib.", "pip install tfm[viz], or leave out --png.")


def _lines(board: "Board", request: Request, width: int | None) -> Iterator[str]:
    """One head shaded, or a line about each head, or all of it as JSON."""
    if request.json:
        weights = board.weights
        if request.layer is not None and request.head is not None:
            weights = weights[request.layer, request.head]
        rounded = (weights * 10_000).round() / 10_000
        yield json.dumps(
            {"part": board.part, "rows": board.rows, "columns": board.columns, "weights": rounded.tolist()}
        )
    elif request.layer is not None and request.head is not None:
        yield from shaded(board, request.layer, request.head, width)
    else:
        yield from _summary(board)


def shaded(board: "Board", layer: int, head: int, width: int | None = None) -> Iterator[str]:
    """One head as text: a line for each token that looks, a cell for each looked at, and where it looks most.

    width: letters of a line. Cells are two letters wide or, where that is too much, one; columns that still find no
    room come below, in blocks.
    """
    rows, columns = ([safe_text(name) for name in names] for names in (board.rows, board.columns))
    weights = board.weights[layer, head].tolist()
    best = [max(range(len(row)), key=row.__getitem__) for row in weights]
    ends = [f"{columns[s]} {row[s]:.0%}" for row, s in zip(weights, best, strict=True)]
    label, end = (max(map(cell_len, texts)) for texts in (rows, ends))
    room = max(FEWEST_CELLS, width - label - end - 4) if width else 2 * len(columns)
    wide = 2 if 2 * len(columns) <= room else 1
    yield f"{board.part}, layer {layer}, head {head}: a row looks at the columns; darker is more"
    for start in range(0, len(columns), room // wide):
        stop = min(len(columns), start + room // wide)
        if stop - start < len(columns):
            yield f"columns {start} to {stop - 1} of {len(columns)}: {' '.join(columns[start:stop])}"
        for name, row, last in zip(rows, weights, ends, strict=True):
            cells = "".join(SHADES[min(len(SHADES) - 1, int(w * len(SHADES)))] * wide for w in row[start:stop])
            yield f"{' ' * (label - cell_len(name))}{name} |{cells}| {last}"


def _summary(board: "Board") -> Iterator[str]:
    """For each head how sharp it is, how far it looks, and what it looks at most on the whole."""
    yield "layer\thead\tentropy\tdistance\tlooks most at"
    n_rows, n_columns = len(board.rows), len(board.columns)
    for layer, heads in enumerate(board.weights.tolist()):
        for head, rows in enumerate(heads):
            entropy = -sum(w * math.log(w) for row in rows for w in row if w > 0) / n_rows
            far = sum(w * abs(t - s) for t, row in enumerate(rows) for s, w in enumerate(row)) / n_rows
            mass = [sum(row[s] for row in rows) / n_rows for s in range(n_columns)]
            best = max(range(n_columns), key=mass.__getitem__)
            yield f"{layer}\t{head}\t{entropy:.2f}\t{far:.1f}\t{safe_text(board.columns[best])} {mass[best]:.0%}"

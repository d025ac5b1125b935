"""Attention boards: what each head of a model looks at while it reads a text, with the tokens named.

A board has a row for each token that looks and a column for each token that is looked at; its rows sum to one.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.api import Engine
from engine.attention_maps import decoder_maps, watched_attention
from engine.errors import CheckpointError, ContextOverflow
from weights.models.fill import Filler
from weights.models.reading import MASKS
from weights.models.rnn import LSTMSeq2Seq
from weights.models.routes import choose
from weights.models.translate import Options, Translator

DECODER, ENCODER, CROSS = "decoder", "encoder", "cross"
WIDEST = 60.0  # inches of a picture, at most: a long text and many heads would need more memory than there is


@dataclass(frozen=True)
class Board:
    """part: decoder, encoder or cross (decoder to encoder).  weights: L H T S, float32; T rows, S columns."""

    part: str
    rows: list[str]
    columns: list[str]
    weights: Tensor


def decoder_board(engine: Engine, ids: Sequence[int]) -> Board:
    """The board of a decoder that reads `ids`. Raises ContextOverflow for more than it has positions for."""
    if len(ids) > engine.context:
        raise ContextOverflow(f"{len(ids)} tokens are more than the context of {engine.context}.", "Shorten the text.")
    names = _names(engine.tokenizer, ids)
    return Board(DECODER, names, names, decoder_maps(engine.model, ids))


@torch.inference_mode()
def encoder_board(filler: Filler, text: str) -> Board:
    """The board of a masked language model that reads a text, with or without a [MASK].

    Raises UsageError for a text with more tokens than it reads.
    """
    ids = filler.reader.masked_ids(text) if MASKS.search(text) else filler.reader.ids(text)
    with watched_attention([block.attention for block in filler.model.blocks]) as seen:  # type: ignore[misc]
        filler.model.hidden(torch.tensor([ids]))
    names = _names(filler.tokenizer, ids)
    return Board(ENCODER, names, names, _joined(seen))


@torch.inference_mode()
def translator_boards(translator: Translator, text: str, to: str, target: str | None = None) -> dict[str, Board]:
    """The three boards of an encoder-decoder, by part. target: the translation; None: its own greedy one.

    Raises CheckpointError for a recurrent model, UsageError for a language that the model does not have, and
    ContextOverflow for a text or translation that is too long to be read at once.
    """
    if isinstance(translator.model, LSTMSeq2Seq):
        raise CheckpointError("A recurrent translator has no heads.", "Name a transformer with -m.")
    route = choose(translator.routes, to, None)
    tokenizer = translator.tokenizer
    room = translator.model.config.max_positions
    own = translator.translate([text], to, Options(beam=1))[0].text if target is None else ""
    source = route.source(tokenizer, text, sys.maxsize)
    inputs = [route.start, *route.forced, *tokenizer.encode(own if target is None else target)]
    if target is None:
        inputs = inputs[:room]  # the pieces of its own text can be more than the model wrote
    if max(len(source), len(inputs)) > room:
        raise ContextOverflow(
            f"The text has {len(source)} tokens and its translation {len(inputs)}, and the model reads at most "
            f"{room} at once.", "Shorten it."
        )  # fmt: skip
    encoder, decoder = (list(side.blocks) for side in (translator.model.encoder, translator.model.decoder))
    layers: list[Any] = [b.attention for b in encoder] + [b.attention for b in decoder] + [b.cross for b in decoder]
    with watched_attention(layers) as seen:
        translator.model.hidden(torch.tensor([source]), torch.tensor([inputs]))
    rows, columns = _names(tokenizer, inputs), _names(tokenizer, source)
    split = len(encoder), len(encoder) + len(decoder)
    return {
        ENCODER: Board(ENCODER, columns, columns, _joined(seen[: split[0]])),
        DECODER: Board(DECODER, rows, rows, _joined(seen[split[0] : split[1]])),
        CROSS: Board(CROSS, rows, columns, _joined(seen[split[1] :])),
    }


def _joined(seen: Sequence[Sequence[Tensor]]) -> Tensor:
    return torch.cat([passes[0] for passes in seen]).float().cpu()


def _names(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Tokens as people read them; ▁ is where a word begins."""
    return [str(tokenizer.piece(i)) for i in ids]


def draw_boards(board: Board, path: Path) -> bool:
    """All layers (down) and heads (across) of a board as one PNG; False without matplotlib. Darker is more."""
    from weights.figure import draw_grid

    down, across = board.weights.shape[:2]

    def draw(axes: Any, index: int) -> None:
        draw_panel(axes, board, *divmod(index, across), size=5)

    side = min(1.2 + 0.09 * max(len(board.rows), len(board.columns)), WIDEST / max(down, across))
    return draw_grid(path, down, across, side, draw)


def draw_head(board: Board, layer: int, head: int, path: Path) -> bool:
    """One head of a board as a PNG with its tokens; False without matplotlib."""
    from weights.figure import draw_grid

    side = min(2.6 + 0.2 * max(len(board.rows), len(board.columns)), WIDEST)
    return draw_grid(path, 1, 1, side, lambda axes, _: draw_panel(axes, board, layer, head))


def draw_panel(
    axes: Any, board: Board, layer: int, head: int, marks: Iterable[tuple[int, int]] = (), size: int = 8
) -> None:
    """Draw one head on matplotlib's axes, letters of `size` points. marks: (row, column) of cells that get a frame."""
    axes.imshow(board.weights[layer, head].numpy(), cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_title(f"layer {layer} head {head}", fontsize=8)
    axes.set_xticks(range(len(board.columns)), [_plain(name) for name in board.columns], rotation=90, fontsize=size)
    axes.set_yticks(range(len(board.rows)), [_plain(name) for name in board.rows], fontsize=size)
    for row, column in marks:
        x, y = column - 0.5, row - 0.5
        axes.plot([x, x + 1, x + 1, x, x], [y, y, y + 1, y + 1, y], color="tab:red", linewidth=1)


def _plain(name: str) -> str:
    """A token as matplotlib takes it: a dollar would begin a formula."""
    return name.replace("$", r"\$").replace("\n", "⏎")

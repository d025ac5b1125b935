"""A text as a model reads it, with its words and turns found again among the tokens."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from weights.models.fill import CONTINUES, WORD_BEGINS

WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
ROLES = {"<|system|>": "system", "<|user|>": "user", "<|assistant|>": "assistant"}
END = "<|end|>"
END_MARKS = (".", "?", "!")


@dataclass(frozen=True)
class Span:
    """Some letters of a text, and the tokens from `first` up to but without `end` that hold them."""

    text: str
    first: int
    end: int

    @property
    def last(self) -> int:
        """The token with which it is read whole."""
        return self.end - 1

    @property
    def positions(self) -> set[int]:
        return set(range(self.first, self.end))

    @property
    def lower(self) -> str:
        return self.text.lower()


@dataclass(frozen=True)
class Turn:
    """What one role says: its mark's position, and its tokens from mark + 1 up to but without `end`."""

    role: str
    mark: int
    end: int


class Tokens:
    """Tokens by the names that their tokenizer gives them. controls: the positions that are no text."""

    def __init__(self, pieces: Sequence[str], controls: set[int]) -> None:
        self.pieces, self.controls = list(pieces), controls
        said = [_said(piece, place in controls) for place, piece in enumerate(pieces)]
        self.text = "".join(said)
        self._place = [place for place, letters in enumerate(said) for _ in letters]

    def __len__(self) -> int:
        return len(self.pieces)

    def spans(self, pattern: re.Pattern[str]) -> list[Span]:
        """Where a pattern stands, from left to right."""
        return [
            Span(m[0], self._place[m.start()], self._place[m.end() - 1] + 1)
            for m in pattern.finditer(self.text) if m[0]
        ]  # fmt: skip

    @cached_property
    def words(self) -> list[Span]:
        """Words and punctuation marks; "don't" is one word."""
        return self.spans(WORD)

    @cached_property
    def sentences(self) -> list[list[Span]]:
        """The words of each sentence; a control token or an end mark ends one."""
        found: list[list[Span]] = [[]]
        before = 0
        for word in self.words:
            if found[-1] and any(place in self.controls for place in range(before, word.first)):
                found.append([])
            found[-1].append(word)
            before = word.last
            if word.text in END_MARKS:
                found.append([])
        return [sentence for sentence in found if sentence]

    @cached_property
    def turns(self) -> list[Turn]:
        """The turns of a conversation in our own template; none in any other text."""
        found: list[Turn] = []
        start: int | None = None
        for place in sorted(self.controls):
            if self.pieces[place] in ROLES:
                start = place
            elif self.pieces[place] == END and start is not None:
                found.append(Turn(ROLES[self.pieces[start]], start, place))
                start = None
        return found

    def bare(self, place: int) -> str:
        """A piece without the mark of the space before it: a name is the same at a line's start."""
        return _said(self.pieces[place], place in self.controls).strip(" ")


def _said(piece: str, is_control: bool) -> str:
    """The letters of a piece. A control token ends a line; a byte of a letter that has no piece is some letter."""
    if is_control:
        return "\n"
    if piece.startswith("<0x") and len(piece) == 6:
        return "\n" if piece == "<0x0A>" else "ø"
    if piece.startswith(CONTINUES):
        return piece[len(CONTINUES) :]
    for mark in WORD_BEGINS:
        piece = piece.replace(mark, " ")
    return piece

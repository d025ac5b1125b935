"""The file that a SentencePiece model is, a protocol buffer: read for what the library does not tell, and written.

Only the fields that decide how a text is read are known here (sentencepiece_model.proto of Kudo & Richardson 2018).
Torch-free.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from engine.errors import TokenizerError

ROLES = {"unk": 40, "bos": 41, "eos": 42, "pad": 43}  # their fields in TrainerSpec
BPE = 2  # TrainerSpec.model_type
Value = bytes | int


class Kind(IntEnum):
    """What a piece is. GGUF has the same numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """One piece: its text with ▁ for a space, its score (of merges the higher goes first), its kind."""

    text: str
    score: float
    kind: Kind


@dataclass(frozen=True)
class PieceModel:
    """A SentencePiece model as its file describes it.

    obstacle: why it reads a text in another way than by merges of the text as it is; "" where it does not.
    """

    pieces: Sequence[Piece]
    space_prefix: bool  # whether a space is put before each text
    obstacle: str = ""

    @property
    def has_bytes(self) -> bool:
        """Whether it has pieces for bytes, so that no text is unknown to it."""
        return sum(piece.kind == Kind.BYTE for piece in self.pieces) == 256


def read_piece_model(proto: bytes) -> PieceModel:
    """The contents of a tokenizer.model. Raises TokenizerError when they are no protocol buffer of that kind."""
    pieces: list[Piece] = []
    trainer: dict[int, Value] = {}
    normalizer: dict[int, Value] = {}
    try:
        for number, value in _fields(proto):
            if number == 1 and isinstance(value, bytes):
                told = dict(_fields(value))
                text, score = told[1], told.get(2, b"\0\0\0\0")
                assert isinstance(text, bytes) and isinstance(score, bytes)
                pieces.append(Piece(text.decode(), struct.unpack("<f", score)[0], Kind(int(told.get(3, 1)))))
            elif number == 2 and isinstance(value, bytes):
                trainer = dict(_fields(value))
            elif number == 3 and isinstance(value, bytes):
                normalizer = dict(_fields(value))
    except (AssertionError, IndexError, KeyError, ValueError, struct.error) as e:
        raise TokenizerError("A SentencePiece model is damaged.") from e
    return PieceModel(pieces, bool(normalizer.get(3, 1)), _obstacle(trainer, normalizer))


def _obstacle(trainer: Mapping[int, Value], normalizer: Mapping[int, Value]) -> str:
    """Defaults, where a field is not there, are those of the format."""
    if trainer.get(3, 1) != BPE:
        return "it is no BPE model"
    if normalizer.get(2):
        name = normalizer.get(1, b"")
        return f"it normalises text ({name.decode('utf-8', 'replace') if isinstance(name, bytes) else name})"
    if normalizer.get(4, 1):
        return "it removes extra white space"
    if not normalizer.get(5, 1) or trainer.get(24, 0):
        return "it marks spaces in another way than with ▁ before a word"
    return ""


def write_piece_model(pieces: Sequence[Piece], roles: Mapping[str, int | None], *, space_prefix: bool) -> bytes:
    """A tokenizer.model that merges, without normalisation, with byte fallback where there are pieces for bytes.

    roles: a key of ROLES -> its id; None where no piece has the role.
    """
    proto = b"".join(
        _field(1, _field(1, piece.text.encode()) + _field(2, piece.score) + _field(3, int(piece.kind)))
        for piece in pieces
    )
    trainer = _field(3, BPE) + _field(35, int(any(piece.kind == Kind.BYTE for piece in pieces)))
    trainer += b"".join(_field(number, -1 if (i := roles[key]) is None else i) for key, number in ROLES.items())
    # No normalisation; a space before a text if it is said; other spaces stay.
    normalizer = _field(1, b"identity") + _field(3, int(space_prefix)) + _field(4, 0) + _field(5, 1)
    return proto + _field(2, trainer) + _field(3, normalizer)


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """The fields of one message: (number, whole number or bytes); a float32 is its four bytes."""
    at = 0
    while at < len(data):
        tag, at = _number(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _number(data, at)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, at = _number(data, at)
        if size is None or at + size > len(data):
            raise ValueError("no field of a message")
        yield tag >> 3, data[at : at + size]
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """(a varint, where it ends)."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _field(number: int, value: bytes | int | float) -> bytes:
    """One field of a message: bytes with their length, a float32, or a whole number."""
    if isinstance(value, bytes):
        return _varint(number << 3 | 2) + _varint(len(value)) + value
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    return _varint(number << 3) + _varint(value % (1 << 64))  # a negative one in two's complement


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])

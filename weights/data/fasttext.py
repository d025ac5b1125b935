"""fastText's own binary format (.bin, versions 11 and 12; Bojanowski 2017), read for the vectors of known words.

A word's vector is the mean of its own row and those of its character n-grams, which share `bucket` rows by a hash.
Little-endian: magic, version, 12 settings (int32) and one float64; the dictionary; a flag; rows, columns (int64) and
the input matrix (float32).
"""

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.errors import DataError

MAGIC = struct.pack("<i", 793712314)
VERSIONS = (11, 12)
LONGEST_WORD = 4096  # bytes


@dataclass(frozen=True)
class _Settings:
    width: int
    bucket: int
    shortest: int  # n-grams, in characters
    longest: int


class _Reader:
    """Reads through a file's bytes. Raises DataError at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = np.memmap(path, np.uint8, "r")
        self.at = len(MAGIC)

    def numbers(self, form: str) -> tuple[int, ...]:
        size = struct.calcsize(f"<{form}")
        return struct.unpack(f"<{form}", self._take(size).tobytes())

    def word(self) -> bytes:
        stretch = self.data[self.at : self.at + LONGEST_WORD].tobytes()
        length = stretch.find(b"\0")
        if length < 0:
            raise DataError(f"{self.path} is damaged or truncated: a word has no end.")
        self.at += length + 1
        return stretch[:length]

    def matrix(self, rows: int, columns: int) -> npt.NDArray[np.float32]:
        return self._take(4 * rows * columns).view("<f4").reshape(rows, columns)

    def _take(self, size: int) -> npt.NDArray[np.uint8]:
        part = self.data[self.at : self.at + size]
        if size < 0 or len(part) < size:
            raise DataError(f"{self.path} is truncated.")
        self.at += size
        return part


def read_fasttext(path: Path, wanted: Collection[str]) -> tuple[dict[str, npt.NDArray[np.float32]], int]:
    """The vectors (each D) of those of the wanted words that the model was trained on, and D.

    Raises DataError for a file that is packed, quantised, truncated or of a version that is not known.
    """
    try:
        reader = _Reader(path)
    except ValueError as e:  # numpy: an empty file
        raise DataError(f"{path} cannot be read: {e}.") from e
    if reader.data[: len(MAGIC)].tobytes() != MAGIC:
        raise DataError(f"{path} is packed; fastText's binary format is read unpacked.", "gunzip it first.")
    settings = _settings(reader)
    n_words, words = _dictionary(reader)
    if reader.numbers("?")[0]:
        raise DataError(f"{path} is a quantised fastText model, which is not supported.", "Take its .bin or .vec.")
    rows, columns = reader.numbers("qq")
    if columns != settings.width or rows < n_words + settings.bucket * (settings.longest > 0):
        raise DataError(f"{path} is damaged: its matrix of {rows} x {columns} does not fit its dictionary.")
    matrix = reader.matrix(rows, columns)
    found = {}
    for row, word in enumerate(words):
        if word in wanted:
            of_grams = [n_words + _hash(gram) % settings.bucket for gram in _grams(word, settings)]
            found[word] = matrix[[row, *of_grams]].mean(0, dtype=np.float32)
    return found, settings.width


def _settings(reader: _Reader) -> _Settings:
    (version,) = reader.numbers("i")
    if version not in VERSIONS:
        raise DataError(f"{reader.path} is of version {version} of fastText's format; known are {VERSIONS}.")
    told = reader.numbers("12i")
    reader.numbers("d")
    return _Settings(width=told[0], bucket=told[8], shortest=told[9], longest=told[10])


def _dictionary(reader: _Reader) -> tuple[int, list[str]]:
    """(words, their names by row). Labels of a classifier stand after the words and have no row."""
    size, n_words, _, _, pruned = reader.numbers("iiiqq")
    entries = []
    for _ in range(size):
        entries.append(reader.word().decode("utf-8", "replace"))
        reader.numbers("qb")
    reader.numbers(f"{2 * max(0, pruned)}i")
    return n_words, entries[:n_words]


def _grams(word: str, settings: _Settings) -> Iterator[bytes]:
    """Character n-grams of <word>, but for the lone brackets."""
    marked = f"<{word}>"
    for start in range(len(marked)):
        for n in range(max(1, settings.shortest), settings.longest + 1):
            end = start + n
            if end > len(marked):
                break
            if n > 1 or 0 < start < len(marked) - 1:
                yield marked[start:end].encode("utf-8")


def _hash(gram: bytes) -> int:
    """FNV-1a of 32 bits, with bytes taken as signed numbers, as fastText does."""
    value = 2166136261
    for byte in gram:
        signed = byte if byte < 128 else byte | 0xFFFFFF00
        value = ((value ^ signed) * 16777619) & 0xFFFFFFFF
    return value

"""Word vectors from files: word2vec's text and binary formats, fastText's text (.vec) and binary (.bin). Torch-free.

    word2vec, text    "n d", then n lines "word v1 .. vd" (Mikolov 2013); fastText's .vec files are such
    word2vec, binary  "n d", then n times the word, a space and d little-endian float32
    fastText, binary  see weights/data/fasttext.py

A reader of our own, for gensim brings scipy with it (204 MB on disk together, measured) and this is little code. Files
may be packed with gzip. Nothing but the wanted words is kept: a file may be larger than the memory.
"""

import gzip
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from weights.data.fasttext import MAGIC, read_fasttext

Vector = npt.NDArray[np.float32]
LONGEST_WORD = 4096  # bytes: a word of more is no word, and the file is something else
MOST_NUMBERS = 1 << 16  # of one vector


def read_vectors(path: Path, wanted: Collection[str]) -> tuple[dict[str, Vector], int]:
    """The vectors of those of the wanted words that the file has (each D), and D. Where a word stands twice, its first.

    Raises DataError, in a sentence with the place, for a file that is missing, truncated, or none of these formats.
    """
    try:
        with _opened(path) as file:
            if file.read(len(MAGIC)) == MAGIC:
                return read_fasttext(path, wanted)
            file.seek(0)
            count, width = _head(path, file)
            start = file.tell()
            first = file.readline(LONGEST_WORD + 32 * width)
            file.seek(start)
            entries = (_text if _is_text(first, width) else _binary)(path, file, count, width)
            found: dict[str, Vector] = {}
            for number, word, raw in entries:
                if word in wanted and word not in found:
                    found[word] = _vector(path, number, raw)
            return found, width
    except FileNotFoundError as e:
        raise DataError(f"There is no file {path}.") from e
    except (OSError, EOFError, zlib.error) as e:
        raise DataError(f"{path} cannot be read: {getattr(e, 'strerror', None) or e}.") from e


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if packed else path.open("rb")


def _head(path: Path, file: IO[bytes]) -> tuple[int, int]:
    """(words, numbers of each) from the first line."""
    line = file.readline(64)
    parts = line.split()
    if len(parts) != 2 or not all(p.isdigit() for p in parts) or not 1 <= int(parts[1]) <= MOST_NUMBERS:
        raise DataError(
            f"{path} holds no word vectors: its first line does not give their number and size.",
            "A GloVe file lacks that line: put one before it, such as 400000 100.",
        )
    return int(parts[0]), int(parts[1])


def _is_text(line: bytes, width: int) -> bool:
    parts = line.rstrip(b" \r\n").split(b" ")
    try:
        return len([float(p) for p in parts[-width:]]) == width and len(parts) > width
    except ValueError:
        return False


def _vector(path: Path, number: int, raw: bytes | list[bytes]) -> Vector:
    """The vector of word `number` from its bytes, or from its fields in a text."""
    if isinstance(raw, bytes):
        vector = np.frombuffer(raw, "<f4").astype(np.float32)
    else:
        try:
            vector = np.array([float(field) for field in raw], np.float32)
        except ValueError as e:
            raise DataError(f"{path}, line {number + 1}: a number of the vector is none ({e}).") from e
    if not np.isfinite(vector).all():
        raise DataError(f"{path}: the vector of word {number} holds a number that is not finite.")
    return vector


Entry = tuple[int, str, bytes | list[bytes]]  # which one, from 1; word; its vector, not yet read: few are wanted


def _text(path: Path, file: IO[bytes], count: int, width: int) -> Iterator[Entry]:
    """A word may hold spaces; the last `width` fields are the numbers."""
    for number in range(1, count + 1):
        line = file.readline()
        if not line:
            raise DataError(f"{path} is truncated: it ends after {number - 1} of {count} vectors.")
        parts = line.rstrip(b" \r\n").split(b" ")
        if len(parts) <= width:
            raise DataError(f"{path}, line {number + 1}: a word and {width} numbers were expected.")
        yield number, b" ".join(parts[:-width]).decode("utf-8", "replace"), parts[-width:]


def _binary(path: Path, file: IO[bytes], count: int, width: int) -> Iterator[Entry]:
    for number in range(1, count + 1):
        word = bytearray()
        while (byte := file.read(1)) not in (b" ", b""):
            word += byte
            if len(word) > LONGEST_WORD:
                raise DataError(f"{path} is neither word2vec's text nor its binary format: word {number} has no end.")
        raw = file.read(4 * width)
        if len(raw) < 4 * width:
            raise DataError(f"{path} is truncated: it ends after {number - 1} of {count} vectors.")
        yield number, word.lstrip(b"\n").decode("utf-8", "replace"), raw

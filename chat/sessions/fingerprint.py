"""A short hash of a model's files, cheap enough for the start of every conversation.

The whole of a large model takes seconds to read, and its header tells two trainings of one shape not apart. So a large
file is sampled: its two ends, and a piece at each of 256 even places, which meets every tensor of more than that share
of the file. Training changes every tensor, so another training is another fingerprint; a single flipped bit may not be.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".safetensors", ".gguf", ".json", ".model", ".jinja")
WHOLE = 1 << 20  # bytes; files up to this size are read whole
END = 1 << 16
PIECE = 1 << 12
PLACES = 256
DIGITS = 16


def fingerprint(*paths: str | Path) -> str:
    """The hash of the files of a model and its adapter, in hexadecimal; empty when one of them cannot be read.

    The names of the directories do not matter, nor do times: a copy has the same fingerprint.
    """
    digest = hashlib.sha256()
    try:
        for path in map(Path, paths):
            for file in _files(path):
                digest.update(f"{file.name} {file.stat().st_size}\n".encode())
                for part in _parts(file):
                    digest.update(part)
    except OSError:
        return ""
    return digest.hexdigest()[:DIGITS]


def _files(path: Path) -> list[Path]:
    """The files that decide what the model answers; how it is best sampled and what trained it do not."""
    if not path.is_dir():
        return [path]
    skipped = ("generation_config.json", "training.json", "tfm-source.json")
    return sorted(f for f in path.iterdir() if f.suffix in SUFFIXES and f.name not in skipped)


def _parts(file: Path) -> Iterator[bytes]:
    with file.open("rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size <= WHOLE:
            yield stream.read()
            return
        for start, length in ((0, END), *((size * n // PLACES, PIECE) for n in range(1, PLACES)), (size - END, END)):
            stream.seek(start)
            yield stream.read(length)

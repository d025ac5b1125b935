"""What safetensors files say of their tensors, read without the tensors: names, types, shapes. Torch-free.

A header is believed only as far as the file goes: its length, and the bytes of every tensor, must lie in it. So a
damaged or lying file is an error in bounded time and memory.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import CheckpointError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
LENGTH = 8  # bytes of the number that a file begins with: how long its header is
LARGEST_HEADER = 100_000_000  # bytes; the format's own limit
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "F4": 4,
}  # fmt: skip


@dataclass(frozen=True)
class TensorHeader:
    """One tensor as its file describes it. dtype: the format's word, such as BF16."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int

    @property
    def count(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)


def headers_of(directory: Path) -> list[TensorHeader]:
    """The tensors of a checkpoint directory, single or sharded.

    Raises CheckpointError for weights that are missing or damaged.
    """
    return [header for path in weight_files(directory) for header in read_headers(path)]


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a checkpoint directory. Raises CheckpointError when one of them is missing."""
    index = directory / INDEX
    names = _shards(index) if index.is_file() else [SINGLE]
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(f"{index} names {name!r}, which is no file name in the directory.")
        if not (directory / name).is_file():
            pickled = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in directory.glob(pattern))
            why = f" {pickled[0]} is a pickle, which can run code, and is not read." if pickled else ""
            raise CheckpointError(f"There is no {name} in {directory}.{why}")
    return [directory / name for name in names]


def _shards(index: Path) -> list[str]:
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return sorted({str(name) for name in names})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise CheckpointError(f"{index} cannot be read: it has no weight_map ({type(e).__name__}).") from e


def read_headers(path: Path) -> list[TensorHeader]:
    """The tensors of one safetensors file. Raises CheckpointError when it is truncated, damaged or another thing."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH), "little")
            if not 2 <= length <= min(size - LENGTH, LARGEST_HEADER):
                raise CheckpointError(f"{path} is truncated or no safetensors file: its header would not fit in it.")
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as e:
        raise CheckpointError(f"{path} is damaged or no safetensors file: its header cannot be read ({e}).") from e
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} is no safetensors file: its header is no JSON object.")
    header.pop("__metadata__", None)
    return [_tensor(path, name, told, size - LENGTH - length) for name, told in header.items()]


def _tensor(path: Path, name: str, told: Any, room: int) -> TensorHeader:
    """One entry of a header. room: bytes of the file after the header."""
    try:
        dtype, shape, (begin, end) = told["dtype"], told["shape"], told["data_offsets"]
        numbers = [*shape, begin, end]
    except (KeyError, TypeError, ValueError) as e:
        raise CheckpointError(f"{path}: the header's entry for {name} lacks its type, shape or place.") from e
    if any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in numbers):
        raise CheckpointError(f"{path}: the header's entry for {name} holds what is no size.")
    if not begin <= end <= room:
        raise CheckpointError(f"{path} is truncated: {name} would end {end - room:,} bytes after the file.")
    header = TensorHeader(name, str(dtype), tuple(shape), end - begin)
    if dtype in BITS and header.count * BITS[dtype] != header.nbytes * 8:
        raise CheckpointError(f"{path}: {name} takes {header.nbytes:,} bytes, which its shape and type do not.")
    return header

"""The GGUF container of llama.cpp (versions 2 and 3, little-endian): metadata by key, tensors by name.

The header is read here and not by the package `gguf`, whose reader trusts every length in it: a lying one would keep
it busy for ever. Nothing here allocates more than the file has bytes. What the blocks of a quantised tensor mean, the
package knows (the extra [gguf]). Torch-free.
"""

import mmap
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from engine.errors import CheckpointError, ModelError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32  # bytes, where the file does not say
MOST_DIMENSIONS = 4
PIECE = 1 << 18  # numbers that are dequantised at once: few enough for the processor's cache
# The numbers that a type of value has in the file -> how struct reads it.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
FLOAT32, STRING, ARRAY = 6, 8, 9


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in a file. shape: outermost dimension first, as torch says it. start: its first byte's place."""

    name: str
    shape: tuple[int, ...]
    type: int  # its number among ggml's types
    start: int
    row_bytes: int  # of one run of the innermost dimension

    @property
    def rows(self) -> int:
        """Runs of the innermost dimension."""
        count = 1
        for size in self.shape[:-1]:
            count *= size
        return count


@dataclass(frozen=True)
class GgufFile:
    """The header of a GGUF file."""

    path: Path
    metadata: Mapping[str, Any] = field(repr=False)
    tensors: Mapping[str, StoredTensor] = field(repr=False)

    def quantisation(self) -> str:
        """The types of the tensors and how many there are of each, most numbers first: "Q4_1 (210), F32 (61)"."""
        tensors, numbers = Counter[int](), Counter[int]()
        for tensor in self.tensors.values():
            tensors[tensor.type] += 1
            numbers[tensor.type] += tensor.rows * tensor.shape[-1]
        return ", ".join(f"{type_name(kind)} ({tensors[kind]})" for kind, _ in numbers.most_common())

    def raw(self, tensor: StoredTensor, first: int, count: int) -> NDArray[np.uint8]:
        """`count` rows of a tensor from `first` on, or what there is, as they are stored: rows x bytes of one.

        Raises CheckpointError.
        """
        count, begin = min(count, tensor.rows - first), tensor.start + first * tensor.row_bytes
        try:
            raw = np.fromfile(self.path, np.uint8, count * tensor.row_bytes, offset=begin)
            return raw.reshape(count, tensor.row_bytes)
        except (OSError, ValueError) as e:
            raise CheckpointError(f"{self.path}: the tensor {tensor.name} cannot be read: {e}.") from e

    def pieces(self, tensor: StoredTensor, unit: int = 1) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """A tensor in pieces: (which rows, their numbers in float32, rows x innermost dimension).

        A piece has a multiple of `unit` rows. Raises CheckpointError for a type that cannot be dequantised.
        """
        from gguf.constants import GGMLQuantizationType
        from gguf.quants import dequantize

        kind = GGMLQuantizationType(tensor.type)
        step = max(1, PIECE // (tensor.shape[-1] * unit)) * unit
        try:
            with self.path.open("rb") as file:
                file.seek(tensor.start)
                for first in range(0, tensor.rows, step):
                    count = min(step, tensor.rows - first)
                    raw = np.fromfile(file, np.uint8, count * tensor.row_bytes)
                    # As one row: the package goes through 16 rows at a time, which takes five times as long.
                    numbers = dequantize(raw.reshape(1, count * tensor.row_bytes), kind)
                    yield slice(first, first + count), numbers.reshape(count, tensor.shape[-1])
        except NotImplementedError as e:
            raise CheckpointError(f"{self.path}: {tensor.name} is stored as {kind.name}, which is not read.") from e
        except (OSError, ValueError) as e:
            raise CheckpointError(f"{self.path}: the tensor {tensor.name} cannot be read: {e}.") from e


def is_gguf(path: Path) -> bool:
    """Whether a path is named like a GGUF file, and is a file."""
    return path.suffix.lower() == ".gguf" and path.is_file()


def gguf_at(path: Path) -> Path | None:
    """The GGUF file that a path means: itself, or the only one in a directory without a config.json; else None."""
    if is_gguf(path):
        return path
    if not path.is_dir() or (path / "config.json").is_file():
        return None
    found = sorted(p for p in path.iterdir() if is_gguf(p))
    if len(found) > 1:
        raise CheckpointError(f"{path} holds {len(found)} GGUF files.", f"Name one of them: {found[0]}, for one.")
    return found[0] if found else None


def type_name(kind: int) -> str:
    """What ggml calls one of its types: Q4_1, say."""
    from gguf.constants import GGMLQuantizationType

    return str(GGMLQuantizationType(kind).name)


def open_gguf(path: Path) -> GgufFile:
    """Read the header of a GGUF file.

    Raises CheckpointError when it is damaged, truncated, of another version or another thing, and ModelError when
    the package gguf is missing.
    """
    if find_spec("gguf") is None:
        raise ModelError(f"{path} needs the package gguf.", "Install it: pip install 'tfm[gguf]'.")
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise CheckpointError(f"{path} is no GGUF file.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Header(path, data).read()
    except OSError as e:
        raise CheckpointError(f"{path} cannot be read: {e.strerror or e}.") from e


class _Header:
    """Reads a header from its beginning to its end, never beyond the file's."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, len(MAGIC)

    def read(self) -> GgufFile:
        version = self._number("I")
        if version & 0xFFFF == 0:
            self._fail("is a big-endian GGUF file, which is not read")
        if version not in VERSIONS:
            raise CheckpointError(
                f"{self.path} is GGUF of version {version}; versions {VERSIONS[0]} and {VERSIONS[1]} are read."
            )
        n_tensors, n_keys = self._number("Q"), self._number("Q")
        metadata: dict[str, Any] = {}
        for _ in range(n_keys):
            key = self._text()
            if key in metadata:
                self._fail(f"names the key {key} twice")
            metadata[key] = self._value(self._number("I"), key)
        told = [self._tensor() for _ in range(n_tensors)]
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            self._fail(f"has the alignment {alignment!r}, which is no power of two")
        begin = -(-self.at // alignment) * alignment
        tensors: dict[str, StoredTensor] = {}
        for name, shape, kind, offset in told:
            if name in tensors:
                self._fail(f"holds the tensor {name} twice")
            tensors[name] = self._placed(name, shape, kind, begin + offset)
        return GgufFile(self.path, metadata, tensors)

    def _fail(self, what: str) -> NoReturn:
        raise CheckpointError(f"{self.path} {what}.")

    def _take(self, count: int) -> int:
        """Where the next `count` bytes begin; they are then behind."""
        begin = self.at
        if count > len(self.data) - begin:
            self._fail("is truncated, or its header is damaged")
        self.at += count
        return begin

    def _number(self, kind: str) -> Any:
        return struct.unpack_from("<" + kind, self.data, self._take(struct.calcsize("<" + kind)))[0]

    def _text(self) -> str:
        size = self._number("Q")
        begin = self._take(size)
        try:
            return self.data[begin : begin + size].decode("utf-8")
        except UnicodeDecodeError:
            self._fail(f"has a text at byte {begin} that is not UTF-8")

    def _value(self, kind: int, key: str) -> Any:
        if kind in SCALARS:
            number = self._number(SCALARS[kind])
            return float(str(np.float32(number))) if kind == FLOAT32 else number  # 0.3, and not 0.30000001192092896
        if kind == STRING:
            return self._text()
        if kind != ARRAY:
            self._fail(f"has a value of the unknown type {kind} at {key}")
        inner, count = self._number("I"), self._number("Q")
        if inner == STRING:
            return [self._text() for _ in range(count)]
        if inner not in SCALARS:
            self._fail(f"has a list of the type {inner} at {key}, which is not read")
        dtype = np.dtype("<" + SCALARS[inner]) if inner != 7 else np.dtype(np.bool_)
        begin = self._take(count * dtype.itemsize)
        return np.frombuffer(self.data[begin : self.at], dtype).tolist()

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """(name, shape, type, offset) of one tensor."""
        name = self._text()
        dimensions = self._number("I")
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            self._fail(f"gives the tensor {name} {dimensions} dimensions")
        shape = tuple(reversed([self._number("Q") for _ in range(dimensions)]))  # innermost first in the file
        return name, shape, self._number("I"), self._number("Q")

    def _placed(self, name: str, shape: tuple[int, ...], kind: int, start: int) -> StoredTensor:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        if kind not in set(GGMLQuantizationType):
            self._fail(f"stores the tensor {name} in the unknown type {kind}")
        in_block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        if shape[-1] % in_block or not all(shape):
            self._fail(f"gives the tensor {name} the impossible shape {list(shape)}")
        tensor = StoredTensor(name, shape, kind, start, shape[-1] // in_block * block_bytes)
        if start + tensor.rows * tensor.row_bytes > len(self.data):
            self._fail(f"is truncated: the tensor {name} ends beyond its end")
        return tensor

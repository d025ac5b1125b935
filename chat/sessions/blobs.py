"""Lists of numbers as bytes, the same on every machine: ids as u32, log-probabilities as float32, little-endian."""

import struct
from collections.abc import Sequence


def pack_ids(ids: Sequence[int]) -> bytes:
    """Token ids as u32."""
    return struct.pack(f"<{len(ids)}I", *ids)


def unpack_ids(data: bytes) -> tuple[int, ...]:
    """What pack_ids was given; an incomplete number at the end is left out."""
    return struct.unpack_from(f"<{len(data) // 4}I", data)


def pack_floats(values: Sequence[float]) -> bytes:
    """Numbers as float32."""
    return struct.pack(f"<{len(values)}f", *values)


def unpack_floats(data: bytes) -> tuple[float, ...]:
    """What pack_floats was given, in the precision of float32."""
    return struct.unpack_from(f"<{len(data) // 4}f", data)

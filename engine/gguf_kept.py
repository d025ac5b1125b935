"""Matrices of a GGUF file that stay quantised in memory: which, and their way into a model.

A matrix here may be several tensors of the file, one below the other (queries, keys and values): it stays as it is
where all of them are of types that layers/quantised.py multiplies, and of one kind.
"""

from collections.abc import Iterable, Sequence

import torch

from engine.decoder import DecoderLM
from engine.gguf import GgufFile, StoredTensor, type_name
from engine.gguf_blocks import KINDS, Digits, join, take_apart
from engine.gguf_places import Place, apart
from engine.layers.quantised import DENSE_ROWS, QuantisedMatrix, tile_rows
from engine.memory import QUANTISED
from engine.quantising import put_quantised

FLOATS = ("F32", "F16", "BF16", "F64")


def stays_quantised(file: GgufFile) -> bool:
    """Whether most numbers of a file are of types for which this processor has a kernel."""
    counts = {True: 0, False: 0}
    for tensor in file.tensors.values():
        counts[type_name(tensor.type) in KINDS] += tensor.rows * tensor.shape[-1]
    return counts[True] > counts[False] and tile_rows() is not None


def kept_bytes(file: GgufFile, size: int) -> int:
    """What the weights take where those stay quantised that can, at `size` bytes of every other number."""
    total = 0.0
    for tensor in file.tensors.values():
        kind = KINDS.get(type_name(tensor.type))
        total += tensor.rows * tensor.shape[-1] * (size if kind is None else QUANTISED * kind[1])
    return int(total)


def told_quantisation(file: GgufFile, model: DecoderLM | None = None) -> str:
    """The types of a file's tensors, and what became of those that are quantised: "Q4_0 (210), F32 (61), kept"."""
    types = file.quantisation()
    every = sum(t.rows * t.shape[-1] for t in file.tensors.values() if type_name(t.type) not in FLOATS)
    if model is None or not every:
        return types
    kept = sum(m.rows * m.width for m in model.modules() if isinstance(m, QuantisedMatrix))
    return f"{types}, " + ("kept" if kept == every else f"{kept / every:.0%} kept" if kept else "dequantised")


def keep_quantised(model: DecoderLM, file: GgufFile, places: Iterable[Place]) -> list[Place]:
    """Put what can stay quantised into a model, in place of its matrices without values; returns the other places."""
    by_matrix: dict[str, list[Place]] = {}
    for place in places:
        by_matrix.setdefault(place.ours, []).append(place)
    others: list[Place] = []
    for name, parts in by_matrix.items():
        stored = [file.tensors[p.theirs] for p in parts if p.theirs in file.tensors]
        owner, _, last = name.rpartition(".")
        fits = last == "weight" and len(stored) == len(parts) and _alike(stored, model.get_parameter(name).shape)
        if fits:
            put_quantised(model, owner, _read(file, parts))
        else:
            others += parts
    return others


def _alike(stored: Sequence[StoredTensor], shape: Sequence[int]) -> bool:
    """Whether tensors are one matrix of this shape, all with one or all with two summands."""
    kinds = {KINDS[type_name(t.type)][1] if type_name(t.type) in KINDS else 0 for t in stored}
    whole = len(shape) == 2 and all(len(t.shape) == 2 and t.shape[1] == shape[1] for t in stored)
    return whole and kinds in ({1}, {2}) and sum(t.shape[0] for t in stored) == shape[0]


def _read(file: GgufFile, parts: Sequence[Place]) -> QuantisedMatrix:
    """The matrix of some tensors. One that is a single tensor, and may be large, is read piece by piece."""
    tensors = [file.tensors[place.theirs] for place in parts]
    rows, width = sum(tensor.rows for tensor in tensors), tensors[0].shape[1]
    matrix = QuantisedMatrix(KINDS[type_name(tensors[0].type)][1], rows, width)
    if len(parts) == 1 and not parts[0].head_dim:
        for first in range(0, rows, DENSE_ROWS):
            _fill(matrix, first, _digits(file, parts[0], first, DENSE_ROWS))
    else:
        order = sorted(parts, key=lambda place: place.rows.start if place.rows else 0)
        _fill(matrix, 0, join([_digits(file, place, 0, rows) for place in order]))
    return matrix


def _digits(file: GgufFile, place: Place, first: int, count: int) -> Digits:
    tensor = file.tensors[place.theirs]
    piece = take_apart(file.raw(tensor, first, count), type_name(tensor.type))
    return piece.in_order(apart(torch.arange(tensor.rows), place.head_dim)) if place.head_dim else piece


def _fill(matrix: QuantisedMatrix, first: int, piece: Digits) -> None:
    matrix.fill(first, piece.digits, piece.scales, piece.offsets)

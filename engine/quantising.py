"""Matrices of a float checkpoint that are quantised as they are read, with the rounding of llama.cpp's Q8_0 and Q4_0.

    q8_0   whole numbers from -127 to 127 times a scale, a 127th of the largest of 32 neighbours
    q4_0   whole numbers from -8 to 7 times a scale, an eighth of the largest, which with its sign becomes -8

They are the numbers that `tfm convert --quant` writes to a GGUF file. Embedding, head and the linear maps of attention
and feed-forward parts are quantised; norms, biases, routers and matrices of experts are not, nor what has rows that 32
does not divide. The head keeps 8 bits with q4_0, too: most of what 4 bits lose is lost there.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.decoder import DecoderLM
from engine.family import Placement
from engine.gguf_blocks import Digits
from engine.layers.linear import Embedding, Linear
from engine.layers.quantised import DENSE_ROWS, GROUP, QuantisedEmbedding, QuantisedLinear, QuantisedMatrix
from engine.memory import QuantKind

LEFT = ("router", "shared_gate", "learned")  # by name: they decide, or are looked up by position
Fill = Callable[[Path, list[Placement], Mapping[str, Tensor]], None]


def quantise_as_read(
    model: DecoderLM, places: Iterable[Placement], files: Mapping[str, Path], quant: QuantKind, fill: Fill
) -> list[Placement]:
    """Put quantised matrices into a model without values; returns the places of all other tensors.

    files: where each tensor is. fill: copies tensors of a file into parameters by name. One matrix at a time is held
    in float32.
    """
    by_matrix: dict[str, list[Placement]] = {}
    for place in places:
        by_matrix.setdefault(place.ours, []).append(place)
    others: list[Placement] = []
    for name, parts in by_matrix.items():
        if not _fits(model, name):
            others += parts
            continue
        numbers = torch.empty(model.get_parameter(name).shape, dtype=torch.float32)
        for path in {files[place.theirs] for place in parts}:
            fill(path, [place for place in parts if files[place.theirs] == path], {name: numbers})
        owner = name.removesuffix(".weight")
        is_head = owner == ("embedding" if model.head is None else "head")
        put_quantised(model, owner, quantise(numbers, "q8_0" if is_head else quant))
    return others


def _fits(model: DecoderLM, name: str) -> bool:
    """Whether a parameter is a matrix that is quantised."""
    owner, _, last = name.rpartition(".")
    module = model.get_submodule(owner)
    if not isinstance(module, Linear | Embedding) or owner.rpartition(".")[2] in LEFT:
        return False
    return last == "weight" and module.weight.shape[1] % GROUP == 0


def quantise(numbers: Tensor, quant: QuantKind) -> QuantisedMatrix:
    """A matrix (N K, float32, K a multiple of GROUP) in 8 or 4 bits."""
    digits_of = _q8_0 if quant == "q8_0" else _q4_0
    matrix = QuantisedMatrix(2 if quant == "q8_0" else 1, *numbers.shape)
    for first in range(0, len(numbers), DENSE_ROWS):
        piece = digits_of(numbers[first : first + DENSE_ROWS].view(-1, numbers.shape[1] // GROUP, GROUP))
        matrix.fill(first, piece.digits, piece.scales, piece.offsets)
    return matrix


def _q8_0(groups: Tensor) -> Digits:
    """N K/32 32 -> a signed byte each, which is 16 times its high digit and its low digit."""
    scales = groups.abs().amax(-1, keepdim=True) / 127
    # Halves go away from zero, as in C.
    whole = _times_inverse(groups, scales)
    bytes_ = (whole.abs() + 0.5).floor().copysign(whole).to(torch.int16) + 128
    stored = scales.squeeze(-1).half().float()  # as a file has it
    digits = torch.stack([bytes_ >> 4, bytes_ & 15]).to(torch.uint8).flatten(-2)
    return Digits(digits, torch.stack([16 * stored, stored]), torch.stack([torch.zeros_like(stored), 8 * stored]))


def _q4_0(groups: Tensor) -> Digits:
    """N K/32 32 -> a digit each, 8 for zero."""
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    scales = largest / -8
    digits = (_times_inverse(groups, scales) + 8.5).trunc().clamp(0, 15).to(torch.uint8)
    stored = scales.squeeze(-1).half().float()
    return Digits(digits.flatten(-2).unsqueeze(0), stored.unsqueeze(0), torch.zeros_like(stored).unsqueeze(0))


def _times_inverse(groups: Tensor, scales: Tensor) -> Tensor:
    """As llama.cpp divides; of a group of zeros all are zero."""
    return groups * torch.where(scales == 0, 0.0, 1 / scales)


def put_quantised(model: DecoderLM, owner: str, matrix: QuantisedMatrix) -> None:
    """In place of an embedding or a linear map, whose bias stays."""
    if owner == "embedding":
        model.set_submodule(owner, QuantisedEmbedding(matrix))
    else:
        bias: Mapping[str, nn.Parameter] = dict(model.get_submodule(owner).named_parameters())
        model.set_submodule(owner, QuantisedLinear(matrix, bias.get("bias")))


def told_quantised(model: DecoderLM, quant: QuantKind) -> str:
    """How many matrices are quantised, and what that saves: "q4_0 (25 matrices), 9.1 MB instead of 20.5 MB"."""
    matrices = [m for m in model.modules() if isinstance(m, QuantisedMatrix)]
    taken = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
    return (
        f"{quant} ({len(matrices)} matrices), {taken / 1e6:,.1f} MB "
        f"instead of {2 * model.config.n_parameters / 1e6:,.1f} MB in bfloat16"
    )

"""Matrices that stay quantised in memory: 4 bits a number, or twice 4, with a scale and an offset for each 32.

    number = (digit - 8) · scale + offset        digit: 0 to 15; scale, offset: bfloat16
    a number of 8 bits is the sum of two such: its high digit with 16 times the scale, its low digit with the scale

One token is multiplied by torch's kernel for 4-bit weights, which reads a quarter of what bfloat16 takes; many tokens
by matrices that are made dense piece by piece. Scales are rounded to bfloat16, so each number is off by at most 2⁻⁹ of
itself (and of its offset), as it would be as a bfloat16. The kernel's order of bits depends on the processor and is
looked up on it, once; where torch has only its slow definition, there is no kernel here.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

GROUP = 32  # numbers of a row that share a scale
FEW = 48  # rows of x up to which the kernel is quicker than a dense product, with making it dense (measured)
DENSE_ROWS = 1024  # rows that are made dense at once: few enough for the processor's cache
LAYOUTS = (64, 32)  # rows whose digits lie together: with AVX-512, with AVX2


@lru_cache(maxsize=1)
def tile_rows() -> int | None:
    """How many rows' digits lie together here: byte b of a column holds those of rows b and b + half. None: no kernel.

    Tried on a small matrix, and the kernel's result with it.
    """
    if not hasattr(torch.ops.aten, "_weight_int4pack_mm_for_cpu"):
        return None
    digits = torch.randint(0, 16, (128, GROUP), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    packed = _pack(digits)
    tiles = next((t for t in LAYOUTS if torch.equal(_digits(packed, t), digits.T.float())), None)
    if tiles is None:
        return None
    scales = torch.tensor([1.0, 0.0], dtype=torch.bfloat16).expand(1, 128, 2).contiguous()
    product = _multiply(torch.eye(GROUP, dtype=torch.bfloat16), packed, scales)
    return tiles if torch.equal(product.float(), digits.T.float() - 8) else None


def _pack(digits: Tensor) -> Tensor:
    """N K uint8 -> N K/2 in the kernel's order."""
    return torch.ops.aten._convert_weight_to_int4pack_for_cpu(digits.to(torch.int32), 1)  # type: ignore[no-any-return]


def _multiply(x: Tensor, packed: Tensor, scales: Tensor) -> Tensor:
    """x: M K. Returns M N."""
    return torch.ops.aten._weight_int4pack_mm_for_cpu(x, packed, GROUP, scales)  # type: ignore[no-any-return]


def _digits(packed: Tensor, tile: int) -> Tensor:
    """N K/2 packed -> K N in float32."""
    rows, half = packed.shape
    both = packed.view(rows // tile, 2 * half, tile // 2).transpose(0, 1)
    digits = torch.empty(2 * half, rows // tile, 2, tile // 2)
    digits[:, :, 0] = both & 15
    digits[:, :, 1] = both >> 4
    return digits.view(2 * half, rows)


class QuantisedMatrix(nn.Module):
    """One matrix (N K) of digits, zero until it is filled. x · matrixᵀ: ... K -> ... N, in bfloat16.

    summands: 1 with numbers of 4 bits, 2 with numbers of 8. K must be a multiple of GROUP. Needs tile_rows().
    """

    packed: Tensor  # P·R K/2, where P is summands, and R is N and zeros up to whole tiles
    scales: Tensor  # K/32 P·R 2: scale and offset

    def __init__(self, summands: int, rows: int, width: int) -> None:
        super().__init__()
        tile = tile_rows()
        assert tile is not None, "there is no kernel"
        self.tile, self.summands, self.rows, self.width = tile, summands, rows, width
        self.stride = -(-rows // tile) * tile
        self.register_buffer("packed", torch.zeros(summands * self.stride, width // 2, dtype=torch.uint8))
        scales = torch.zeros(width // GROUP, summands * self.stride, 2, dtype=torch.bfloat16)
        self.register_buffer("scales", scales)

    def fill(self, first: int, digits: Tensor, scales: Tensor, offsets: Tensor) -> None:
        """Give values to rows from `first` on, which begins a tile; only the last ones may end within one.

        digits: P n K uint8. scales, offsets: P n K/32.
        """
        count = digits.shape[1]
        spare = -count % self.tile
        for summand in range(self.summands):
            rows = slice(summand * self.stride + first, summand * self.stride + first + count)
            padded = slice(rows.start, rows.stop + spare)
            self.packed[padded] = _pack(nn.functional.pad(digits[summand], (0, 0, 0, spare)))
            self.scales[:, rows] = torch.stack([scales[summand].T, offsets[summand].T], -1).to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, self.width)
        if len(flat) > FEW:
            parts = [flat @ self._dense(n, n + DENSE_ROWS) for n in range(0, self.rows, DENSE_ROWS)]
            return torch.cat(parts, -1).view(*x.shape[:-1], self.rows)
        out = _multiply(flat.contiguous(), self.packed, self.scales)
        if self.summands == 2:
            out = out[:, : self.stride] + out[:, self.stride :]
        return out[:, : self.rows].reshape(*x.shape[:-1], self.rows)

    def _dense(self, first: int, last: int) -> Tensor:
        """Rows from `first` (of a tile) up to `last`, as K x rows in bfloat16."""
        last = min(last, self.stride)
        total: Tensor | None = None
        for start in range(first, self.summands * self.stride, self.stride):
            rows = slice(start, start + last - first)
            digits = _digits(self.packed[rows], self.tile).view(-1, GROUP, last - first)
            scale, offset = self.scales[:, rows].float().permute(2, 0, 1).contiguous().unsqueeze(2)
            numbers = torch.addcmul(offset - 8 * scale, digits, scale, out=digits)
            total = numbers if total is None else total.add_(numbers)
        assert total is not None
        return total.to(torch.bfloat16).view(self.width, -1)[:, : self.rows - first]

    def lookup(self, ids: Tensor) -> Tensor:
        """Rows: ... -> ... K."""
        flat, half = ids.reshape(-1), self.tile // 2
        tiles = self.packed.view(-1, self.width, half)
        total = torch.zeros(len(flat), self.width, device=flat.device)
        for summand in range(self.summands):
            row = flat + summand * self.stride
            within = row % self.tile
            both = tiles[row // self.tile, :, within % half]  # n K
            digits = torch.where((within < half).unsqueeze(1), both & 15, both >> 4).float().view(len(flat), -1, GROUP)
            scale, offset = self.scales[:, row].float().transpose(0, 1).unsqueeze(2).unbind(-1)
            total += torch.addcmul(offset - 8 * scale, digits, scale).reshape(len(flat), self.width)
        return total.to(torch.bfloat16).view(*ids.shape, self.width)


class QuantisedLinear(nn.Module):
    """As Linear, of a matrix that stays quantised."""

    def __init__(self, matrix: QuantisedMatrix, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.matrix, self.bias = matrix, bias

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.matrix(x)
        return out if self.bias is None else out + self.bias


class QuantisedEmbedding(nn.Module):
    """As Embedding, of a matrix that stays quantised. ids B T -> B T C."""

    def __init__(self, matrix: QuantisedMatrix) -> None:
        super().__init__()
        self.matrix = matrix

    @property
    def weight(self) -> Tensor:
        """Not the matrix, but a tensor of the dtype and on the device of what comes out."""
        return self.matrix.scales

    def forward(self, ids: Tensor) -> Tensor:
        return self.matrix.lookup(ids)

    def logits(self, x: Tensor) -> Tensor:
        """Where it is the head too: ... C -> ... V."""
        return self.matrix(x)  # type: ignore[no-any-return]

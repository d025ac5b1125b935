"""Products with a matrix that stays quantised, against float32 and bfloat16: microseconds of processor time.

    python benchmarks/quantised.py [WIDTHxROWS ...]     one thread; the best of several runs over several matrices

Processor time and not the clock's: so that another program on the machine does not count, or little.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch.nn import functional

from engine.layers.quantised import GROUP, QuantisedMatrix, tile_rows

BYTES = 100e6  # of the float32 matrices in turn, so that no cache holds them
SHAPES = ("576x1536", "1536x576", "2048x5632", "576x49152")
TOKENS = (1, 16, 64, 512)


def best(work: Callable[[], object], copies: int) -> float:
    """Microseconds for each copy."""
    work()
    seconds = []
    for _ in range(7):
        start = time.thread_time()
        work()
        seconds.append(time.thread_time() - start)
    return min(seconds) / copies * 1e6


def quantised(rows: int, width: int, summands: int) -> QuantisedMatrix:
    matrix = QuantisedMatrix(summands, rows, width)
    digits = torch.randint(0, 16, (summands, rows, width), dtype=torch.uint8)
    matrix.fill(0, digits, *(torch.rand(2, summands, rows, width // GROUP) / width))
    return matrix


def main() -> None:
    """Print a table in Markdown."""
    torch.set_num_threads(1)
    print(f"tiles of {tile_rows()} rows, {torch.backends.cpu.get_cpu_capability()}\n")
    print("| matrix | tokens | float32 | bfloat16 | 4 bits | 8 bits |\n|---|---:|---:|---:|---:|---:|")
    for shape in sys.argv[1:] or SHAPES:
        width, rows = map(int, shape.split("x"))
        copies = max(1, min(24, int(BYTES / (width * rows * 4))))
        floats = [torch.randn(rows, width) for _ in range(copies)]
        halves = [m.to(torch.bfloat16) for m in floats]
        fours, eights = ([quantised(rows, width, n) for _ in range(copies)] for n in (1, 2))
        for tokens in TOKENS:
            x = torch.randn(tokens, width)
            y = x.to(torch.bfloat16)
            times = [
                best(lambda: [functional.linear(x, m) for m in floats], copies),  # noqa: B023
                best(lambda: [functional.linear(y, m) for m in halves], copies),  # noqa: B023
                *(best(lambda: [m(y) for m in kept], copies) for kept in (fours, eights)),  # noqa: B023
            ]
            print(f"| {shape} | {tokens} | " + " | ".join(f"{t:,.0f}" for t in times) + " |", flush=True)


if __name__ == "__main__":
    main()

"""What this processor does fastest, found by measuring once and kept in the user's cache directory.

bf16 without hardware for it is slower than float32, and nothing but a measurement tells: so `--dtype auto` asks here.
"""

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import platformdirs
import torch
from torch.nn import functional

from engine.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
REPEATS = 7


def resolve_dtype(name: str) -> torch.dtype:
    """A torch dtype from "float32", "bfloat16" or "auto" (what this processor decodes fastest)."""
    if name == "auto":
        return DTYPES[fastest("decode")]
    if name not in DTYPES:
        raise UsageError(f"--dtype must be auto, {' or '.join(DTYPES)}, not {name!r}.")
    return DTYPES[name]


def resolve_device(name: str) -> torch.device:
    """A torch device that is there. Raises UsageError otherwise."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" is a device that holds no numbers
    except (RuntimeError, AssertionError) as e:
        raise UsageError(f"--device {name} cannot be used here: {str(e).splitlines()[0]}") from e
    return device


def fastest(work: str) -> str:
    """ "float32" or "bfloat16" for "decode" (one row times a matrix) or "matmul" (many rows), measured once."""
    cache = Path(platformdirs.user_cache_dir("tfm")) / "processor.json"
    key = f"{processor_name()} torch {torch.__version__}"
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))[key][work]
    except (OSError, ValueError, KeyError, TypeError):
        known = None
    if known in list(DTYPES):
        return str(known)
    measured = {name: _fastest_now(rows) for name, rows in (("decode", 1), ("matmul", 256))}
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        half_written = cache.with_suffix(f".{os.getpid()}.tmp")
        half_written.write_text(json.dumps({key: measured}), encoding="utf-8")
        os.replace(half_written, cache)
    except OSError:
        pass  # a cache that cannot be written is measured again next time
    return measured[work]


def matmul_flops(dtype: torch.dtype, device: torch.device, size: int = 2048) -> float:
    """Floating-point operations per second in a product of two square matrices: the limit of the machine.

    Of the quickest repeat: another process that takes the processor for a moment makes a product slow, never quick.
    """
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def product() -> None:
        out = a @ b
        if device.type != "cpu":
            out.sum().item()  # a GPU computes later than it is asked

    return 2 * size**3 / min(_seconds(product))


def processor_name() -> str:
    """Model name and instruction sets of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    flags = [
        f for f in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if f in facts.get("flags", "").split()
    ]
    return " ".join([facts.get("model name", platform.machine()), *flags])


def _fastest_now(rows: int) -> str:
    return min(DTYPES, key=lambda name: _median_seconds(_linear(rows, DTYPES[name])))


def _linear(rows: int, dtype: torch.dtype) -> Callable[[], object]:
    """One product the size of a small model's feed-forward; four matrices in turn, so that no cache holds them."""
    x = torch.randn(rows, 512).to(dtype)
    matrices = [torch.randn(2048, 512).to(dtype) for _ in range(4)]
    return lambda: [functional.linear(x, m) for m in matrices]


def _median_seconds(work: Callable[[], object]) -> float:
    return sorted(_seconds(work))[REPEATS // 2]


def _seconds(work: Callable[[], object]) -> list[float]:
    """How long each of REPEATS calls takes, after one that warms up."""
    work()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds

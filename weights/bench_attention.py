"""`tfm bench attention`: time and memory of one attention layer against the length, fused, plain, and from the cache.

fused: all positions at once by torch's kernel, which never holds the board of scores. plain: the definition, which
does. decode: one new position that reads the keys and values of all before it from the KV cache. Projections are left
out: they grow with the length alone. Rounds take all lengths and arms in turn, so that a slow minute is slow for all.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from engine.cache import KVCache
from engine.config import ModelConfig
from engine.layers.attention import attend, attend_plainly, causal_mask
from weights.figure import draw_figure, mark_powers

CONFIG = ModelConfig(
    vocab_size=8, d_model=256, n_layers=1, n_heads=4, n_kv_heads=4, head_dim=64, d_ff=1, max_positions=1 << 20,
)  # fmt: skip
LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192)
ARMS = ("fused", "plain", "decode")
Work = Callable[[], Any]


@dataclass(frozen=True)
class Measured:
    """One arm at one length. seconds: of each round; peak_bytes: most that one call had allocated at a time."""

    arm: str
    length: int
    seconds: list[float]
    peak_bytes: int

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)


def arm_of(name: str, length: int) -> Work:
    """What is measured: a call that attends over `length` positions."""
    generator = torch.Generator().manual_seed(0)
    count = 1 if name == "decode" else length
    q, k, v = (torch.randn(1, 4, count, CONFIG.head_dim, generator=generator) for _ in range(3))
    if name == "fused":
        return partial(attend, q, k, v, None, True)
    if name == "plain":
        return lambda: attend_plainly(q, k, v, causal_mask(0, length, q.device))
    cache = KVCache(CONFIG, limit=length)
    cache.reserve(length)
    before = torch.randn(1, 4, length - 1, CONFIG.head_dim, generator=generator)
    cache.write(0, before, before)
    cache.commit(length - 1)
    return lambda: attend(q, *cache.write(0, k, v), None, False)  # never committed: each call is the same step


def peak_bytes(work: Work) -> int:
    """The most bytes of tensors that were allocated at one time while `work` ran, by torch's own allocator events."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler tells stderr that it starts and stops
    from torch.profiler import ProfilerActivity, profile

    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        kept = work()
    del kept
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        found.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [e["args"]["Bytes"] for e in sorted(events, key=lambda e: e.get("ts", 0)) if e["name"] == "[memory]"]
    peak = now = 0
    for change in changes:
        now += change
        peak = max(peak, now)
    return peak


def measure_attention(lengths: Sequence[int], rounds: int) -> list[Measured]:
    """Every arm at every length: the time of each round, and the memory."""
    works = {(arm, length): arm_of(arm, length) for length in lengths for arm in ARMS}
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in works}
    peaks = {key: peak_bytes(work) for key, work in works.items()}  # this is the warm-up too
    with torch.inference_mode():
        for _ in range(rounds):
            for key, work in works.items():
                start = time.perf_counter()
                work()
                seconds[key].append(time.perf_counter() - start)
    return [Measured(arm, length, seconds[arm, length], peaks[arm, length]) for arm, length in works]


def attention_table(found: Sequence[Measured]) -> str:
    """A markdown table: a row for each length."""
    by = {(m.arm, m.length): m for m in found}
    lines = [
        "| length | fused, ms | plain, ms | plain / fused | one token from the cache, ms | fused, peak MB | "
        "plain, peak MB | plain, peak bytes / length² |",
        "|" + "---:|" * 8,
    ]
    for length in dict.fromkeys(m.length for m in found):
        fused, plain, decode = (by[arm, length] for arm in ARMS)
        lines.append(
            f"| {length} | {1e3 * fused.median:.2f} | {1e3 * plain.median:.2f} | {plain.median / fused.median:.1f} | "
            f"{1e3 * decode.median:.3f} | {fused.peak_bytes / 1e6:.2f} | {plain.peak_bytes / 1e6:.2f} | "
            f"{plain.peak_bytes / length**2:.1f} |"
        )
    return "\n".join(lines) + "\n"


def draw_attention(found: Sequence[Measured], path: Path) -> bool:
    """Draw time and memory against length; False when matplotlib is not installed."""
    lengths = list(dict.fromkeys(m.length for m in found))
    names = {"fused": "fused, all positions", "plain": "plain, all positions", "decode": "one token from the cache"}

    def draw(times: Any, memory: Any) -> None:
        for arm, name in names.items():
            mine = [m for m in found if m.arm == arm]
            style: dict[str, Any] = {"marker": "o", "markersize": 3, "linewidth": 1, "label": name}
            times.plot(lengths, [1e3 * m.median for m in mine], **style)
            memory.plot(lengths, [m.peak_bytes / 1e6 for m in mine], **style)
        times.set(yscale="log", ylabel="milliseconds (median)")
        memory.set(yscale="log", ylabel="MB allocated at the peak")
        for axes in (times, memory):
            mark_powers(axes, lengths, "length")

    return draw_figure(path, 2, draw)


def bench_attention(lengths: Sequence[int], rounds: int, out: Path | None) -> str:
    """Measure; with `out`, write attention.md, attention.json and (where matplotlib is) attention.png; the text."""
    found = measure_attention(sorted(set(lengths)), rounds)
    text = (
        f"## Attention against length\n\n{attention_table(found)}\nOne layer, width {CONFIG.d_model}, {CONFIG.n_heads} "
        f"heads, float32, {torch.get_num_threads()} threads; medians of {rounds} rounds. The cache takes "
        f"{CONFIG.kv_bytes_per_token(4):,} bytes a position and layer.\n"
    )
    if out is None:
        return text
    if draw_attention(found, out / "attention.png"):
        text += "\n![Time and memory of attention against length](attention.png)\n"
    (out / "attention.md").write_text(text, encoding="utf-8")
    (out / "attention.json").write_text(json.dumps([asdict(m) for m in found], indent=1) + "\n", encoding="utf-8")
    return text

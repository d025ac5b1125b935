"""`tfm bench train`: this trainer beside transformers' Llama, and the limit of the machine, in one run.

Every arm is a process of its own that takes one step when it is told to; rounds go A B C A B C, so that a slow minute
of the machine is slow for all. Same shape, same rows, same fused AdamW. What is quoted are medians and ratios.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.errors import DataError
from engine.hardware import fastest, matmul_flops
from weights.data.mixture import Mixture
from weights.data.shards import Shard
from weights.estimate import flops_per_token
from weights.recipe import Stage
from weights.train.loop import Run, deterministic, prepare, take_step

ROWS, ROW = 16, 512
SHAPES = {
    "14M": ModelConfig(
        vocab_size=8192, d_model=384, n_layers=6, n_heads=6, n_kv_heads=6, head_dim=64, d_ff=1024,
        max_positions=ROW, tie_embeddings=True,
    ),
    "36M": ModelConfig(
        vocab_size=16384, d_model=512, n_layers=8, n_heads=8, n_kv_heads=8, head_dim=64, d_ff=1536,
        max_positions=ROW, tie_embeddings=True,
    ),
}  # fmt: skip
OURS = "tfm"
PEERS = ("float32 eager", "float32 compiled", "bfloat16 eager", "bfloat16 compiled")
Step = Callable[[], None]


def bench_train(shape: str, rounds: int, console: Console) -> None:
    """Measure every arm and print the table. Raises DataError for a shape that is not there."""
    if shape not in SHAPES:
        raise DataError(f"There is no shape {shape!r} to measure; there are {', '.join(SHAPES)}.")
    arms = [OURS, *(PEERS if _has_transformers() else ())]
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    limits: list[float] = []
    dtype = torch.bfloat16 if fastest("matmul") == "bfloat16" else torch.float32
    with contextlib.ExitStack() as stack:
        workers = {}
        for arm in arms:
            console.print(f"loading and warming up: {arm}", style="dim")
            workers[arm] = stack.enter_context(_worker(arm, shape))
        for _ in range(rounds):
            limits.append(matmul_flops(dtype, torch.device("cpu")))
            for arm in arms:
                times[arm].append(_told(workers[arm], "step"))
        memory = {arm: _told(workers[arm], "memory") for arm in arms}
    _show(shape, times, memory, statistics.median(limits), console)


def _show(shape: str, times: dict[str, list[float]], memory: dict[str, float], limit: float, console: Console) -> None:
    config, tokens = SHAPES[shape], ROWS * ROW
    table = Table(title=f"{config.n_parameters:,} parameters, {ROWS} x {ROW} tokens a step", title_justify="left")
    for column in ("", "tokens/s", "(range)", "of the limit", "peak MB", "tfm is faster by", "memory of tfm"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    ours = statistics.median(times[OURS])
    for arm, seconds in times.items():
        middle = statistics.median(seconds)
        share = flops_per_token(config, ROW) * tokens / middle / limit
        table.add_row(
            arm if arm == OURS else f"transformers {arm}", f"{tokens / middle:,.0f}",
            f"{tokens / max(seconds):,.0f} - {tokens / min(seconds):,.0f}", f"{share:.0%}", f"{memory[arm]:,.0f}",
            "" if arm == OURS else f"{middle / ours:.2f}", "" if arm == OURS else f"{memory[OURS] / memory[arm]:.2f}",
        )  # fmt: skip
    console.print(table)
    console.print(
        f"limit: {limit / 1e9:,.0f} GFLOP/s in a product of two 2048 x 2048 matrices, {fastest('matmul')}, "
        f"{torch.get_num_threads()} threads; medians of {len(times[OURS])} rounds."
    )


def _has_transformers() -> bool:
    from importlib.util import find_spec

    return find_spec("transformers") is not None


@contextlib.contextmanager
def _worker(arm: str, shape: str) -> Iterator["subprocess.Popen[str]"]:
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(
            [sys.executable, "-m", "weights.bench", arm, shape],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told, text=True,
        ) as process,
    ):  # fmt: skip
        try:
            if cast(IO[str], process.stdout).readline() != "ready\n":
                told.seek(0)
                raise DataError(f"The arm {arm!r} could not start: {told.read()[-400:].strip()}.")
            yield process
        finally:
            process.kill()


def _told(process: "subprocess.Popen[str]", question: str) -> float:
    stdin, stdout = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
    stdin.write(question + "\n")
    stdin.flush()
    return float(json.loads(stdout.readline()))


def _mixture(config: ModelConfig, stage: Stage) -> Mixture:
    """Rows of random ids, in documents as long as a row: transformers' arms know no documents."""
    count = stage.tokens // ROW + 2
    rng = np.random.default_rng(0)
    ids = rng.integers(3, config.vocab_size, count * ROW).astype(np.uint16)
    starts = np.arange(0, (count + 1) * ROW, ROW, dtype=np.int64)
    return Mixture(stage, {"random": Shard(ids, np.ones_like(ids, np.uint8), starts)}, seed=0)


def _stage() -> Stage:
    return Stage(
        "bench", "lm", tokens=100 * ROWS * ROW, shares={"random": 1.0}, row=ROW, batch=ROWS, micro_batch=ROWS,
        optimizer="adamw", lr=1e-4, warmup=1, spike=100.0,
    )  # fmt: skip


def our_arm(config: ModelConfig) -> Step:
    """One step of weights.train.loop, compiled, in the width that is fastest here."""
    model = DecoderLM(config)
    model.init_weights(torch.Generator().manual_seed(0))
    stage = _stage()
    work = prepare(model, stage, _mixture(config, stage), Run(Path(), "", compiled=True))
    steps = iter(range(10**6))

    def step() -> None:
        with deterministic(work.run.world):  # as the loop does
            take_step(work, next(steps))

    return step


def peer_model(config: ModelConfig) -> Any:
    """The LlamaForCausalLM of the same shape."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size, hidden_size=config.d_model, intermediate_size=config.d_ff,
            num_hidden_layers=config.n_layers, num_attention_heads=config.n_heads,
            num_key_value_heads=config.n_kv_heads, max_position_embeddings=ROW, tie_word_embeddings=True,
        )
    )  # fmt: skip


def peer_arm(config: ModelConfig, width: str, mode: str) -> Step:
    """One step as transformers' users write it: LlamaForCausalLM with labels, clipping, fused AdamW."""
    model = peer_model(config).train()
    forward = torch.compile(model) if mode == "compiled" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    stage = _stage()
    mixture = _mixture(config, stage)
    numbers = iter(range(0, 10**9, ROWS))

    def step() -> None:
        ids = mixture.batch(next(numbers), ROWS).ids
        with torch.autocast("cpu", torch.bfloat16, enabled=width == "bfloat16"):
            loss = forward(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def work(arguments: Sequence[str]) -> None:
    """A worker: builds its arm, warms up, then answers "step" with seconds and "memory" with peak MB."""
    from weights.train.metrics import peak_megabytes

    arm, shape = arguments
    config = SHAPES[shape]
    step = our_arm(config) if arm == OURS else peer_arm(config, *arm.split())
    for _ in range(3):
        step()
    print("ready", flush=True)
    for question in sys.stdin:
        start = time.perf_counter()
        if question == "step\n":
            step()
        took = time.perf_counter() - start
        print(json.dumps(took if question == "step\n" else peak_megabytes(torch.device("cpu"))), flush=True)


if __name__ == "__main__":
    work(sys.argv[1:])

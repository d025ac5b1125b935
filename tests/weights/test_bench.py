"""`tfm bench train`: the same model in every arm, rounds that go A B C A B C, medians, ratios, workers."""

import contextlib
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from rich.console import Console

from engine.config import ModelConfig
from engine.errors import DataError
from weights import bench

TINY = ModelConfig(
    vocab_size=64, d_model=32, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=16, d_ff=64, max_positions=bench.ROW,
    tie_embeddings=True,
)  # fmt: skip


class Answers:
    """A worker's two pipes, in one: it answers `seconds` for a step, one after another, and `megabytes` for memory."""

    def __init__(self, arm: str, seconds: list[float], megabytes: float, asked: list[str]) -> None:
        self.arm, self.seconds, self.megabytes, self.asked = arm, iter(seconds), megabytes, asked
        self.stdin = self.stdout = self

    def write(self, question: str) -> None:
        self.question = question
        self.asked.append(f"{self.arm} {question.strip()}")

    def flush(self) -> None: ...

    def readline(self) -> str:
        return json.dumps(next(self.seconds) if self.question == "step\n" else self.megabytes)


def test_rounds_are_interleaved_and_medians_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    times = {"tfm": [1.0, 9.0, 2.0], "float32 eager": [4.0, 4.0, 5.0], "bfloat16 eager": [3.0, 1.0, 3.0]}

    @contextlib.contextmanager
    def worker(arm: str, shape: str) -> Iterator[Any]:
        assert shape == "14M"
        yield Answers(arm, times[arm], 500.0 if arm == "tfm" else 1000.0, asked)

    monkeypatch.setattr(bench, "_worker", worker)
    monkeypatch.setattr(bench, "PEERS", ("float32 eager", "bfloat16 eager"))
    monkeypatch.setattr(bench, "matmul_flops", lambda *given: 1e12)
    told = io.StringIO()
    bench.bench_train("14M", 3, Console(file=told, width=140))
    assert asked == [f"{arm} step" for _ in range(3) for arm in times] + [f"{arm} memory" for arm in times]
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.getvalue().splitlines()]
    rows = {line[0]: line[1:] for line in lines if line}
    tokens = bench.ROWS * bench.ROW
    assert rows["tfm"][0] == f"{tokens / 2:,.0f}" and rows["tfm"][1] == f"{tokens / 9:,.0f} - {tokens:,.0f}"
    assert rows["transformers float32 eager"][-2:] == ["2.00", "0.50"]  # 4 s against 2 s; 500 MB of 1000
    assert rows["transformers bfloat16 eager"][-2] == "1.50"


@pytest.mark.parametrize("shape", bench.SHAPES)
def test_both_sides_train_the_same_model(shape: str) -> None:
    pytest.importorskip("transformers")
    with torch.device("meta"):
        model = bench.peer_model(bench.SHAPES[shape])
    assert sum(p.numel() for p in model.parameters()) == bench.SHAPES[shape].n_parameters


def test_a_worker_warms_up_and_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setitem(bench.SHAPES, "tiny", TINY)
    monkeypatch.setattr(bench, "ROWS", 2)
    monkeypatch.setattr("sys.stdin", io.StringIO("step\nmemory\nstep\n"))
    bench.work(("float32 eager", "tiny"))
    ready, step, memory, again = capsys.readouterr().out.split()
    assert ready == "ready" and float(step) > 0 and float(again) > 0 and float(memory) > 50


@pytest.mark.slow
def test_our_arm_takes_steps_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ROWS", 2)
    step = bench.our_arm(TINY)
    step()
    step()


def test_what_cannot_start_is_said() -> None:
    with pytest.raises(DataError, match="There is no shape '2M' to measure; there are 14M, 36M"):
        bench.bench_train("2M", 1, Console())
    with (
        pytest.raises(DataError, match="The arm 'float32 eager' could not start"),
        bench._worker("float32 eager", "2M"),
    ):
        pass

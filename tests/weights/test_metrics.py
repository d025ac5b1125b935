"""weights/train/metrics.py: what a run leaves to be read."""

import json
from pathlib import Path

import pytest

from weights.train.metrics import Metrics
from weights.train.plot import plot_losses


def write(home: Path, steps: range) -> None:
    with Metrics(home, "s", 100, steps.start, 64) as metrics:
        for step in steps:
            metrics.step(step, 1.0 / (step + 1), lr=0.1)


def steps(home: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (home / "metrics.jsonl").read_text().splitlines()]


def test_each_step_is_one_whole_line_that_says_loss_and_speed(tmp_path: Path) -> None:
    write(tmp_path, range(5))
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text.endswith("\n")
    rows = [json.loads(line) for line in text.splitlines()]
    assert [r["loss"] for r in rows] == [1.0 / (i + 1) for i in range(5)]
    assert all({"lr", "seconds", "tokens_per_s"} <= set(r) for r in rows)


def test_a_line_is_on_disk_as_soon_as_its_step_is_done(tmp_path: Path) -> None:
    with Metrics(tmp_path, "s", 100, 0, 64) as metrics:
        for step in range(3):
            metrics.step(step, 1.0)
            assert steps(tmp_path) == list(range(step + 1))


def test_a_resumed_run_cuts_what_came_after_its_state(tmp_path: Path) -> None:
    write(tmp_path, range(10))
    write(tmp_path, range(6, 8))
    assert steps(tmp_path) == list(range(8))


@pytest.mark.parametrize("torn", ['{"step": 3, "lo', '{"step"', "{}", "\0\0\0\0"])
def test_a_line_that_a_kill_cut_in_two_is_dropped(torn: str, tmp_path: Path) -> None:
    write(tmp_path, range(3))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(torn)
    write(tmp_path, range(3, 5))
    assert steps(tmp_path) == list(range(5))


def test_the_curve_is_a_picture_with_and_without_evaluations(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for evaluated in (False, True):
        write(tmp_path, range(5))
        if evaluated:
            with Metrics(tmp_path, "s", 100, 5, 64) as metrics:
                metrics.write({"step": 4, "bits_per_byte": {"books": 2.0, "chat": 1.0}})
        assert plot_losses(tmp_path, tmp_path / "losses.png")
        assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG\r\n")

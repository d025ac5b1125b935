"""weights/train/metrics.py: what a run leaves to be read."""

import json
import resource
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError
from weights.train.metrics import Metrics
from weights.train.plot import plot_losses, read_metrics, terminal_plot


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


def test_a_step_says_its_share_of_the_limit_and_the_most_memory(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("weights.train.metrics._limit", lambda device: 1e5)
    with Metrics(tmp_path, "s", 3, 0, 64, flops_per_token=10.0) as metrics:
        for step in range(3):
            metrics.step(step, 1.0)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        assert row["of_limit"] == pytest.approx(row["tokens_per_s"] * 10.0 / 1e5, abs=1e-3)
        assert row["peak_mb"] > 10


def test_a_quiet_one_writes_and_shows_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, range(3))
    before = (tmp_path / "metrics.jsonl").read_bytes()
    capfd.readouterr()
    with Metrics(tmp_path, "s", 100, 0, 64, quiet=True, tensorboard=True) as metrics:
        metrics.step(0, 1.0)
        metrics.write({"step": 0, "bits_per_byte": {"x": 1.0}})
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_full_disk_is_a_data_error_that_names_the_file(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DataError, match=r"metrics\.jsonl cannot be written: File too large"):
            write(tmp_path, range(50))
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))  # what a resume writes anew does not fit either
        with pytest.raises(DataError, match=r"metrics\.jsonl cannot be written: File too large"):
            write(tmp_path, range(3, 5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [r["step"] for r in read_metrics(tmp_path)][:3] == [0, 1, 2]  # nothing that was written is lost


def test_tensorboard_that_is_not_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(DataError, match="--tensorboard needs the package tensorboard"):
        Metrics(tmp_path, "s", 100, 0, 64, tensorboard=True)


def test_tensorboard_gets_every_number(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Metrics(tmp_path, "s", 100, 0, 64, tensorboard=True) as metrics:
        metrics.step(0, 1.5)
        metrics.write({"step": 0, "bits_per_byte": {"x": 2.5}})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Scalars("loss")[0].value == 1.5
    assert events.Scalars("bits_per_byte/x")[0].value == 2.5


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("width", [12, 20, 40, 80, 200])
@pytest.mark.parametrize("height", [1, 4, 16])
def test_a_curve_in_the_terminal_fits_its_width_whatever_the_number_of_steps(
    count: int, width: int, height: int
) -> None:
    rows = [{"step": 7 + i, "loss": 9.0 - 8.0 * i / max(1, count - 1)} for i in range(count)]
    lines = terminal_plot(rows, width, height).splitlines()
    assert max(map(len, lines)) <= width
    drawn = [line for line in lines if "\u2800" < line[-1] <= "\u28ff"]
    assert 1 <= len(drawn) <= height
    assert "9.000" in lines[0] or height == 1


def test_a_falling_loss_falls_from_left_to_right_in_the_terminal() -> None:
    lines = terminal_plot([{"step": i, "loss": 5.0 - i / 100} for i in range(400)], 60, 8).splitlines()[:8]
    ends = [len(line) for line in lines]
    assert ends == sorted(ends)
    assert ends[-1] == 60
    assert ("5.000" in lines[0]) and ("1.010" in lines[-1])


def test_a_line_that_a_kill_cut_is_not_drawn_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    assert [r["step"] for r in read_metrics(tmp_path)] == [0, 1, 2]
    for damaged in ("\n", "[]\n"):
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write(damaged)
        with pytest.raises(DataError, match="is damaged"):
            read_metrics(tmp_path)


@pytest.mark.parametrize("content", [None, "", '{"step": 1}\n'])
def test_without_a_step_there_is_nothing_to_draw_and_a_sentence_says_so(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(DataError, match=r"metrics\.jsonl"):
        read_metrics(tmp_path)

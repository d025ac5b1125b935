"""`tfm bench attention`: every arm computes attention, and memory is that of what was allocated."""

import json
from pathlib import Path

import pytest
import torch

from engine.errors import UsageError
from weights.bench_attention import arm_of, peak_bytes
from weights.cli import main


@pytest.fixture(autouse=True)
def no_gradients() -> None:
    torch.set_num_threads(1)


def test_fused_and_plain_compute_the_same_and_decode_the_shape_of_one_position() -> None:
    assert torch.allclose(arm_of("fused", 20)(), arm_of("plain", 20)(), atol=1e-5)
    decode = arm_of("decode", 20)
    assert decode().shape == (1, 4, 1, 64) and torch.equal(decode(), decode())


def test_the_plain_board_is_in_the_measured_peak_and_the_fused_kernel_has_none() -> None:
    board = 4 * 512 * 512 * 4  # heads, positions twice, bytes
    plain, fused = peak_bytes(arm_of("plain", 512)), peak_bytes(arm_of("fused", 512))
    assert 2 * board <= plain < 4 * board
    assert fused < board / 2
    assert peak_bytes(lambda: torch.empty(1000)) == pytest.approx(4000, abs=200)


def test_the_command_writes_a_table_a_figure_and_the_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from weights.cli import bench_app

    bench_app(
        ["attention", "--lengths", "16,64", "--rounds", "2", "--out", str(tmp_path), "--threads", "1"],
        standalone_mode=False,
    )
    text = capsys.readouterr().out
    assert "| 16 |" in text and "| 64 |" in text and "2,048 bytes a position and layer" in text
    assert (tmp_path / "attention.png").stat().st_size > 10_000
    numbers = json.loads((tmp_path / "attention.json").read_text())
    assert {(m["arm"], m["length"]) for m in numbers} == {
        (a, n) for a in ("fused", "plain", "decode") for n in (16, 64)
    }
    assert all(len(m["seconds"]) == 2 for m in numbers)


@pytest.mark.parametrize("lengths", ["16,x", "1", "16,,32", "-4"])
def test_lengths_that_are_none_are_refused(lengths: str) -> None:
    with pytest.raises(UsageError, match="--lengths"):
        main(["attention", "--lengths", lengths], "bench")

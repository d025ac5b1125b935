"""Why √d_k: entropy and gradient against their definitions, and what they say of each score."""

import json
import math
from pathlib import Path

import pytest
import torch

from engine.errors import UsageError
from weights.cli import main
from weights.sharpness import entropy, gradient_norm, measure_sharpness, report_sharpness


def test_gradient_norm_is_that_of_the_jacobian() -> None:
    scores = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    jacobian = torch.autograd.functional.jacobian(lambda s: s.softmax(-1), scores)  # type: ignore[no-untyped-call]
    assert float(gradient_norm(scores.softmax(-1))) == pytest.approx(float(torch.linalg.matrix_norm(jacobian)))


def test_the_ends_are_equal_weights_and_one_that_takes_all() -> None:
    equal, one = torch.full((50,), 0.02, dtype=torch.float64), torch.eye(50, dtype=torch.float64)[3]
    assert float(entropy(equal)) == pytest.approx(math.log(50)) and float(entropy(one)) == 0.0
    assert float(gradient_norm(equal)) == pytest.approx(math.sqrt(49) / 50) and float(gradient_norm(one)) == 0.0


def test_only_the_scaled_product_is_alike_at_every_width() -> None:
    found = {(f.score, f.width): f for f in measure_sharpness([0], (8, 512))}
    for what in ("entropy", "gradient"):
        scaled = [getattr(found["q·k / √d", width], what) for width in (8, 512)]
        assert scaled[0] == pytest.approx(scaled[1], rel=0.1)
    assert found["q·k", 512].entropy < 0.1 < 0.4 < found["q·k", 8].entropy
    assert found["q·k", 512].gradient < 0.1 * found["q·k", 8].gradient
    assert found["cosine", 512].entropy > 0.999


def test_the_report_has_a_row_for_each_width_a_figure_and_the_numbers(tmp_path: Path) -> None:
    text = report_sharpness(tmp_path, range(2))
    assert text == (tmp_path / "softmax.md").read_text(encoding="utf-8")
    widths = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    assert widths == ["| d_k", *(f"| {2**n}" for n in range(3, 11))]
    assert (tmp_path / "softmax.png").stat().st_size > 10_000
    assert len(json.loads((tmp_path / "softmax.json").read_text())) == 2 * 8 * 3


def test_the_command_needs_a_corpus_or_none_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare-attention", "--softmax-only", "--seeds", "1", "--out", str(tmp_path), "--threads", "1"]) == 0
    assert "| d_k | entropy, q·k |" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--softmax-only"):
        main(["compare-attention", "--out", str(tmp_path)])

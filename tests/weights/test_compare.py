"""weights/compare/trials.py: equal rows for all, what is done is read, tables, pictures; and the command on experts."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.config import ModelConfig
from engine.errors import DataError
from weights.cli import main
from weights.compare import experts as compare_experts
from weights.compare.trials import Data, Outcome, Variant, compare, draw, read_data, table, write_report

Make = Callable[..., Any]
SETTINGS: dict[str, Any] = {"tokens": 512, "row": 16, "batch": 4, "lr": 1e-3}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    corpus = Path(__file__).parent / "corpus"
    return read_data(corpus, tmp_path_factory.mktemp("data"), vocab_size=500, tokens=4000)


@pytest.fixture(scope="module")
def variants(data: Data) -> list[Variant]:
    small = ModelConfig(data.vocab_size, 16, 1, 2, 1, 8, 24, max_positions=16)
    return [Variant("small", small), Variant("a bit wider", replace(small, d_ff=32))]


def test_every_variant_and_seed_has_an_outcome_and_the_second_time_they_are_read(
    data: Data, variants: list[Variant], tmp_path: Path
) -> None:
    seen = []
    run = dict(SETTINGS, out=tmp_path, measure=lambda model, rows: {"seen": float(len(seen.append(rows) or seen))})
    outcomes = compare(variants, data, seeds=(0, 1), **run)
    assert [(o.variant, o.seed) for o in outcomes] == [
        ("small", 0), ("a bit wider", 0), ("small", 1), ("a bit wider", 1)
    ]  # fmt: skip
    assert all(o.steps == list(range(512 // 64)) and len(o.losses) == len(o.steps) for o in outcomes)
    assert len({o.held_out for o in outcomes}) == 4 and all(4 < o.held_out < 8 for o in outcomes)
    assert compare(variants, data, seeds=(0, 1), **run) == outcomes
    assert len(seen) == 4 and not list(tmp_path.glob("*.run"))
    with pytest.raises(DataError, match=r"small-0\.json is of other settings"):
        compare(variants, data, seeds=(0,), **(run | {"lr": 2e-3}))


def test_a_seed_decides_the_numbers(data: Data, variants: list[Variant], tmp_path: Path) -> None:
    first, again = (compare(variants[:1], data, seeds=(3,), **SETTINGS, out=tmp_path / n)[0] for n in ("a", "b"))
    assert first.losses == again.losses and first.held_out == again.held_out


OUTCOMES = [
    Outcome("a", 0, [0, 1], [3.0, 2.0], 2.0, 1000.0, {"x": 1.0}),
    Outcome("a", 1, [0, 1], [3.0, 2.0], 4.0, 1000.0, {"x": 1.0}),
    Outcome("b", 0, [0, 1], [3.0, 1.0], 5.0, 2500.0),
]


def test_a_table_has_means_and_standard_deviations() -> None:
    rows = table(OUTCOMES, {"held out": "held_out", "tokens/s": "tokens_per_s", "x": "x"}).splitlines()
    assert rows == [
        "| | held out | tokens/s | x |", "|---|---:|---:|---:|", "| a | 3.000 ± 1.414 | 1,000 | 1.000 |",
        "| b | 5.000 | 2,500 | – |",
    ]  # fmt: skip


def test_a_report_is_a_table_numbers_and_a_picture(tmp_path: Path) -> None:
    text = write_report(tmp_path, "it", "Title", OUTCOMES, {"held out": "held_out"}, "About it.")
    assert (tmp_path / "it.md").read_text() == text and "![Title](it.png)" in text and "About it." in text
    assert [Outcome(**told) for told in json.loads((tmp_path / "it.json").read_text())] == OUTCOMES
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DataError, match="cannot be drawn"):
        draw(OUTCOMES, tmp_path / "none" / "it.png", "Title")


def test_a_corpus_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file text"):
        read_data(tmp_path, tmp_path, vocab_size=500, tokens=10)


def test_the_command_compares_experts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, corpus: Path
) -> None:
    for name, value in {"VOCABULARY": 500, "ROW": 16, "BATCH": 4}.items():
        monkeypatch.setattr(compare_experts, name, value)
    line = ["compare-experts", "--corpus", str(corpus), "--out", str(tmp_path), "--seeds", "1", "--tokens", "128"]
    assert main([*line, "--threads", "1"]) == 0
    told = capsys.readouterr().out
    for name in ("dense", "top-1", "top-2", "shared"):
        assert f"\n| {name} |" in told
    assert "| dense |" in (tmp_path / "compare-experts.md").read_text()
    loads = json.loads((tmp_path / "compare-experts.json").read_text())[1]["extra"]
    assert sum(loads[f"load 3.{e}"] for e in range(8)) == pytest.approx(8)

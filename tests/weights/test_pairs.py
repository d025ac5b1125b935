"""weights/data/pairs.py: what is read, and which pairs stand in which row."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import DataError
from weights.data.pairs import BUCKETS, EncodedPairs, PairRows, pair_batch, read_pairs
from weights.data.readers import Report

Make = Callable[..., Any]
IDS = (1, 2, 3)


def encoded(count: int, control: int, seed: int = 0, longest: int = 30) -> EncodedPairs:
    """Pairs of random lengths; the first source id tells which pair it is."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest, (2, count))
    sources = [np.concatenate([[100 + i], rng.integers(5, 99, n - 1)]) for i, n in enumerate(lengths[0])]
    targets = [rng.integers(5, 99, n) for n in lengths[1]]
    starts = [np.cumsum([0, *n]) for n in lengths]
    return EncodedPairs(control, np.concatenate(sources), starts[0], np.concatenate(targets), starts[1])


@pytest.fixture
def make_rows(make_stage: Make) -> Make:
    def make(tokens: int = 20_000, seed: int = 1, counts: tuple[int, int] = (60, 40), **changes: Any) -> PairRows:
        stage = make_stage(**({
            "objective": "translation", "tokens": tokens, "row": 128, "batch": 2, "micro_batch": 1,
            "shares": {"fr": 3.0, "es": 1.0},
        } | changes))  # fmt: skip
        sets = {"fr": encoded(counts[0], 4), "es": encoded(counts[1], 5, seed=1)}
        return PairRows(stage, sets, seed, IDS)

    return make


def test_a_row_is_a_pure_function_of_the_seed(make_rows: Make) -> None:
    one, again, other = make_rows(), make_rows(), make_rows(seed=2)
    for row in (7, 0, 3, 7):
        a, b, c = (rows.batch(row, 1) for rows in (one, again, other))
        assert torch.equal(a.source, b.source) and torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)
        assert a.source.shape != c.source.shape or not torch.equal(a.source, c.source)


def test_a_row_holds_pairs_of_one_width_and_always_the_same_number_of_them(make_rows: Make) -> None:
    rows = make_rows()
    shapes = set()
    for row in range(2 * rows.n_steps):
        batch = rows.batch(row, 1)
        count, width = batch.source.shape
        assert batch.inputs.shape == batch.targets.shape == (count, width)
        assert width in BUCKETS and count == 128 // width
        widths = torch.maximum((batch.source != 3).sum(1), (batch.inputs != 3).sum(1))
        narrower = BUCKETS[BUCKETS.index(width) - 1] if width > BUCKETS[0] else 0
        assert widths.max() <= width and widths.min() > narrower
        shapes.add((count, width))
    assert 1 < len(shapes) <= len(BUCKETS)


def test_inputs_and_targets_are_the_translation_shifted(make_rows: Make) -> None:
    batch = make_rows().batch(0, 1)
    for source, inputs, targets in zip(batch.source, batch.inputs, batch.targets, strict=True):
        said = targets[targets >= 0].tolist()
        assert inputs[inputs != 3].tolist() == [1, *said[:-1]]
        assert said[-1] == 2
        read = source[source != 3].tolist()
        assert read[0] in (4, 5) and read[-1] == 2
    assert batch.n_targets == int((batch.targets >= 0).sum())


def seen(rows: PairRows, first: int, last: int) -> Counter[tuple[int, int]]:
    """How often each (language, pair) stands in some rows."""
    return Counter(
        (int(source[0]), int(source[1])) for row in range(first, last) for source in rows.batch(row, 1).source
    )


def test_each_language_has_its_share_and_goes_around_evenly(make_rows: Make) -> None:
    rows = make_rows(tokens=60_000)
    n_rows = 2 * rows.n_steps
    found = seen(rows, 0, n_rows)
    weight = {4: 0, 5: 0}
    for row in range(n_rows):
        batch = rows.batch(row, 1)
        for source in batch.source:
            weight[int(source[0])] += batch.source.shape[1]
    assert weight[4] / sum(weight.values()) == pytest.approx(0.75, abs=0.03)
    for language, count in ((4, 60), (5, 40)):
        times = [n for (control, _), n in found.items() if control == language]
        assert len(times) == count
        assert max(times) - min(times) <= 4  # whole passes, but for what fills the last bundle of a width


def test_languages_and_passes_are_spread_over_the_whole_stage(make_rows: Make) -> None:
    rows = make_rows(tokens=60_000)
    half = rows.n_steps
    for part in (seen(rows, 0, half), seen(rows, half, 2 * half)):
        share = sum(n for (control, _), n in part.items() if control == 4) / sum(part.values())
        assert share == pytest.approx(0.75, abs=0.08)


def test_the_stage_has_the_tokens_that_it_asks_for(make_rows: Make) -> None:
    rows = make_rows(tokens=50_000)
    assert rows.n_steps * 2 * 128 == pytest.approx(50_000, rel=0.08)


def test_few_pairs_fill_a_row_by_standing_in_it_twice(make_rows: Make) -> None:
    rows = make_rows(tokens=300, counts=(3, 2))
    assert rows.n_steps >= 1
    assert rows.batch(0, 1).source.shape[0] > 1


def test_several_rows_are_padded_to_the_widest(make_rows: Make) -> None:
    rows = make_rows()
    parts = [rows.batch(r, 1) for r in range(4)]
    whole = rows.batch(0, 4)
    assert whole.source.shape == (sum(len(p.source) for p in parts), max(p.source.shape[1] for p in parts))
    assert whole.n_targets == sum(p.n_targets for p in parts)


def test_what_is_no_translation_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    lines = [
        "Good morning.\tBonjour.", "ငင် လို ချင်\tka. gwei: ja.", "He lived in Москва.\tIl vivait à Москва.",
        "1 + 1 = 2.\t1 + 1 = 2.",
        "Only one column", " \tRien.", "Café, naïve\tCafé « naïf »",
    ]  # fmt: skip
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    report = Report()
    found = list(read_pairs([file], report))
    assert [english for english, _ in found] == ["Good morning.", "He lived in Москва.", "1 + 1 = 2.", "Café, naïve"]
    assert len(report.bad) == 1
    with pytest.raises(DataError, match="line 5"):
        list(read_pairs([file], Report(strict=True)))


def test_a_batch_can_be_padded_further() -> None:
    pairs = [(np.array([7, 8]), np.array([9]), 4)]
    batch = pair_batch(pairs, 6, IDS)
    assert batch.source.tolist() == [[4, 7, 8, 2, 3, 3]]
    assert batch.inputs.tolist() == [[1, 9, 3, 3, 3, 3]]
    assert batch.targets.tolist() == [[9, 2, -1, -1, -1, -1]]

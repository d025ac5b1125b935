"""weights/train/schedule.py: the learning rate, a pure function of the step."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights.train.schedule import lr_at

Make = Callable[..., Any]


def rates(stage: Any, n_steps: int) -> list[float]:
    return [lr_at(step, n_steps, stage) for step in range(n_steps)]


@given(st.integers(1, 300), st.integers(0, 400), st.floats(0.0, 1.0), st.floats(0.0, 0.01))
def test_the_rate_is_never_above_lr_nor_below_min_lr_after_warm_up(
    make_stage: Make, n_steps: int, warmup: int, decay: float, min_lr: float
) -> None:
    stage = make_stage(lr=0.01, min_lr=min_lr, warmup=warmup, decay=decay)
    all_rates = rates(stage, n_steps)
    assert all_rates == rates(stage, n_steps)
    assert all(0 < r <= 0.01 + 1e-12 for r in all_rates[: min(warmup, n_steps // 2)])
    assert all(min_lr - 1e-12 <= r <= 0.01 + 1e-12 for r in all_rates[min(warmup, n_steps // 2) :])


def test_it_rises_in_even_steps_and_reaches_lr_at_the_end_of_warm_up(make_stage: Make) -> None:
    warm = rates(make_stage(lr=1.0, warmup=10), 100)[:10]
    assert warm == pytest.approx([0.1 * (i + 1) for i in range(10)])


def test_it_stays_on_its_plateau_until_the_last_part(make_stage: Make) -> None:
    all_rates = rates(make_stage(lr=1.0, warmup=10, decay=0.5), 110)
    assert all_rates[10:61] == [1.0] * 51
    assert all(a > b for a, b in pairwise(all_rates[60:]))


def test_it_ends_near_min_lr_and_stays_there_beyond_the_end(make_stage: Make) -> None:
    stage = make_stage(lr=1.0, min_lr=0.1, warmup=0)
    assert lr_at(999, 1000, stage) == pytest.approx(0.1, abs=1e-4)
    assert lr_at(1000, 1000, stage) == lr_at(5000, 1000, stage) == pytest.approx(0.1)


def test_half_of_a_cosine_is_half_way_down(make_stage: Make) -> None:
    assert lr_at(50, 100, make_stage(lr=1.0, min_lr=0.2, warmup=0)) == pytest.approx(0.6)


def test_a_warm_up_longer_than_the_run_takes_half_of_it(make_stage: Make) -> None:
    assert lr_at(9, 20, make_stage(lr=1.0, warmup=1000)) == pytest.approx(1.0)

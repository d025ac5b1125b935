"""SamplingParams: validated once, with the flag's name in the message."""

import json
import math
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from engine.errors import UsageError
from engine.params import SamplingParams

BAD: list[tuple[str, Any, str]] = [
    ("temperature", -1.0, "--temperature"), ("temperature", math.nan, "--temperature"),
    ("temperature", math.inf, "--temperature"), ("top_k", -1, "--top-k"),
    ("top_p", 1.5, "--top-p"), ("top_p", 0.0, "--top-p"), ("top_p", -0.1, "--top-p"), ("top_p", math.nan, "--top-p"),
    ("min_p", -0.1, "--min-p"), ("min_p", 1.1, "--min-p"), ("min_p", math.nan, "--min-p"),
    ("typical_p", 0.0, "--typical-p"), ("typical_p", 2.0, "--typical-p"),
    ("repetition_penalty", 0.0, "--repetition-penalty"), ("repetition_penalty", -1.0, "--repetition-penalty"),
    ("repetition_penalty", math.inf, "--repetition-penalty"),
    ("presence_penalty", math.nan, "--presence-penalty"), ("frequency_penalty", 1e9, "--frequency-penalty"),
    ("logit_bias", {5: math.inf}, "--logit-bias 5"), ("logit_bias", {5: math.nan}, "--logit-bias 5"),
    ("max_new_tokens", -1, "--max-new-tokens"), ("min_new_tokens", -1, "--min-new-tokens"),
    ("seed", -1, "--seed"), ("seed", 2**63, "--seed"), ("logprobs", -1, "--logprobs"), ("logprobs", 21, "--logprobs"),
    ("stop", ("a", ""), "--stop"), ("sampler_order", "alphabetical", "--sampler-order"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "flag"), BAD, ids=[f"{n}={v}" for n, v, _ in BAD])
def test_a_value_without_meaning_is_refused_by_the_name_of_its_flag(name: str, value: Any, flag: str) -> None:
    """S4, S5, S9"""
    with pytest.raises(UsageError, match=flag):
        SamplingParams(**{name: value})


def test_more_minimum_than_maximum_tokens_is_refused_with_both_numbers() -> None:
    with pytest.raises(UsageError, match=r"--min-new-tokens 9 .*--max-new-tokens 8"):
        SamplingParams(min_new_tokens=9, max_new_tokens=8)


def test_the_bounds_themselves_are_allowed() -> None:
    SamplingParams(
        temperature=0.0, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0, max_new_tokens=0, seed=0, logprobs=20,
    )  # fmt: skip
    SamplingParams(temperature=100.0, top_p=1e-9, min_p=1.0, typical_p=1e-9, seed=2**63 - 1, logprobs=0)


def test_every_cut_that_is_not_named_is_off() -> None:
    p = SamplingParams()
    assert (p.temperature, p.top_k, p.top_p, p.min_p, p.typical_p) == (1.0, 0, 1.0, 0.0, 1.0)
    assert (p.repetition_penalty, p.presence_penalty, p.frequency_penalty, p.logit_bias) == (1.0, 0.0, 0.0, {})


def test_temperature_zero_is_greedy() -> None:
    """S1"""
    assert SamplingParams(temperature=0.0).is_greedy and SamplingParams(greedy=True, temperature=2.0).is_greedy
    assert not SamplingParams(temperature=1e-8).is_greedy


def test_settings_cannot_be_changed_after_they_were_checked() -> None:
    with pytest.raises(FrozenInstanceError):
        SamplingParams().temperature = -1.0  # type: ignore[misc]
    with pytest.raises(UsageError, match="--top-p"):
        replace(SamplingParams(), top_p=7.0)


def test_a_record_gives_the_same_settings_back() -> None:
    """H2: every field, through the dictionary."""
    changed = SamplingParams(
        greedy=True, temperature=0.5, top_k=7, top_p=0.9, min_p=0.1, typical_p=0.8, repetition_penalty=1.1,
        presence_penalty=0.2, frequency_penalty=0.3, logit_bias={3: -1.5}, stop=("a", "b"), max_new_tokens=9,
        min_new_tokens=1, seed=4, logprobs=2, sampler_order="llama.cpp",
    )  # fmt: skip
    for f in fields(SamplingParams):
        assert getattr(changed, f.name) != getattr(SamplingParams(), f.name), f.name
    for params in (SamplingParams(), changed):
        assert SamplingParams(**params.as_dict()) == params
        json.dumps(params.as_dict())

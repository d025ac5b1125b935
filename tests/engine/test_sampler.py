"""The sampler: each stage against a slow obvious function, the draw against exact distributions, the order by hand."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny import chi_square_fits
from torch import Tensor

from engine.params import SAMPLER_ORDERS, SamplingParams
from engine.sampler import (
    History,
    Stage,
    TokenRules,
    add_bias,
    draw,
    forbid,
    highest,
    min_p,
    penalise_presence,
    penalise_repetition,
    sample,
    stages,
    top_k,
    top_p,
    typical_p,
)  # fmt: skip

OFF = -math.inf
V = 12
NO_RULES = TokenRules.of(V, [], [])
numbers = st.floats(-8, 8, width=32)
some_logits = st.lists(numbers, min_size=2, max_size=V)
shares = st.floats(0.01, 0.999)
NOTHING_SAID = History([[]], V)


# The slow obvious functions. Each takes and returns a list of logits.


def probabilities(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    weights = [math.exp(x - top) if x > OFF else 0.0 for x in logits]
    return [w / sum(weights) for w in weights]


def only(logits: Sequence[float], kept: set[int]) -> list[float]:
    return [x if i in kept else OFF for i, x in enumerate(logits)]


def slow_top_k(logits: Sequence[float], k: int) -> list[float]:
    kth = sorted(logits, reverse=True)[min(k, len(logits)) - 1]
    return [x if x >= kth else OFF for x in logits]


def slow_top_p(logits: Sequence[float], p: float) -> list[float]:
    probs, kept, total = probabilities(logits), set(), 0.0
    for i in sorted(range(len(logits)), key=lambda i: (-logits[i], i)):
        if kept and total >= p:
            break
        kept.add(i)
        total += probs[i]
    return only(logits, kept)


def slow_min_p(logits: Sequence[float], share: float) -> list[float]:
    probs = probabilities(logits)
    return [x if q >= share * max(probs) else OFF for x, q in zip(logits, probs, strict=True)]


def slow_typical_p(logits: Sequence[float], p: float) -> list[float]:
    probs = probabilities(logits)
    entropy = -sum(q * math.log(q) for q in probs if q > 0)
    distance = [abs(-math.log(q) - entropy) if q > 0 else math.inf for q in probs]
    kept, total = set(), 0.0
    for i in sorted(range(len(logits)), key=lambda i: (distance[i], i)):
        if kept and total >= p:
            break
        kept.add(i)
        total += probs[i]
    return only(logits, kept)


def slow_repetition(logits: Sequence[float], seen: set[int], penalty: float) -> list[float]:
    return [x if i not in seen else x / penalty if x > 0 else x * penalty for i, x in enumerate(logits)]


def slow_presence(logits: Sequence[float], said: Sequence[int], presence: float, frequency: float) -> list[float]:
    return [x - presence * (i in said) - frequency * list(said).count(i) for i, x in enumerate(logits)]


def row(values: Sequence[float]) -> Tensor:
    return torch.tensor([list(values)], dtype=torch.float32)


def support(logits: Tensor | Sequence[float]) -> list[int]:
    values = logits[0].tolist() if isinstance(logits, Tensor) else logits
    return [i for i, x in enumerate(values) if x > OFF]


def after(
    params: SamplingParams,
    logits: Sequence[float],
    prompt: Sequence[int] = (),
    said: Sequence[int] = (),
    rules: TokenRules | None = None,
) -> Tensor:
    """The logits that the draw sees."""
    history = History([list(prompt)], len(logits))
    for token in said:
        history.add([token])
    result = row(logits)
    for stage in stages(params, rules or TokenRules.of(len(logits), [], [])):
        result = stage(result, history)
    return result


def far_from(value: float, places: Sequence[float], by: float) -> bool:
    return all(abs(value - place) > by for place in places)


# Each stage against its obvious form.


@given(logits=some_logits, k=st.integers(1, V + 2))
def test_top_k_keeps_the_k_highest_and_ties_with_the_kth(logits: list[float], k: int) -> None:
    assert top_k(row(logits), k)[0].tolist() == slow_top_k(logits, k)


@pytest.mark.parametrize("k", [V, V + 1, 10**9])
def test_top_k_of_the_whole_vocabulary_or_more_is_no_top_k(k: int) -> None:
    """S2, S3"""
    logits = torch.randn(1, V)
    assert torch.equal(top_k(logits, k), logits)


def test_top_k_zero_is_off_and_one_is_the_best() -> None:
    """S2"""
    logits = [0.3, 2.0, -1.0, 1.9]
    assert support(after(SamplingParams(top_k=0), logits)) == [0, 1, 2, 3]
    assert support(after(SamplingParams(top_k=1), logits)) == [1]
    assert support(after(SamplingParams(top_k=3), logits)) == [0, 1, 3]


def test_top_k_keeps_ties_at_the_kth_place() -> None:
    assert support(top_k(row([1.0, 3.0, 1.0, 1.0, 0.0]), 2)) == [0, 1, 2, 3]


@given(logits=some_logits, p=shares)
@settings(max_examples=300)
def test_top_p_is_the_smallest_set_that_reaches_p(logits: list[float], p: float) -> None:
    ordered = sorted(probabilities(logits), reverse=True)
    assume(far_from(p, [sum(ordered[: n + 1]) for n in range(len(ordered))], 1e-9))
    assert top_p(row(logits), p)[0].tolist() == slow_top_p(logits, p)


@pytest.mark.parametrize("p", [1e-9, 1e-300])
def test_top_p_of_almost_nothing_keeps_the_best_one(p: float) -> None:
    """S4"""
    assert support(top_p(row([0.0, 5.0, 5.0, 1.0]), p)) == [1]


@given(logits=some_logits, share=shares)
def test_min_p_keeps_what_has_that_share_of_the_highest(logits: list[float], share: float) -> None:
    assume(far_from(max(logits) + math.log(share), logits, 1e-4))
    assert min_p(row(logits), share)[0].tolist() == slow_min_p(logits, share)


def test_min_p_of_one_keeps_the_highest_and_its_equals() -> None:
    assert support(min_p(row([1.0, 3.0, 3.0, 2.9]), 1.0)) == [1, 2]


@given(logits=some_logits, p=shares)
@settings(max_examples=300)
def test_typical_p_keeps_what_is_nearest_to_the_entropy(logits: list[float], p: float) -> None:
    probs = probabilities(logits)
    entropy = -sum(q * math.log(q) for q in probs if q > 0)
    distance = sorted((abs(-math.log(q) - entropy), i) for i, q in enumerate(probs) if q > 0)
    sums = [sum(probs[i] for _, i in distance[: n + 1]) for n in range(len(distance))]
    assume(far_from(p, sums, 1e-9))
    assume(all(b - a > 1e-9 for (a, _), (b, _) in pairwise(distance)))
    assert typical_p(row(logits), p)[0].tolist() == slow_typical_p(logits, p)


@given(
    logits=st.lists(numbers, min_size=V, max_size=V),
    prompt=st.lists(st.integers(0, V - 1), max_size=6),
    said=st.lists(st.integers(0, V - 1), max_size=6),
    penalty=st.floats(0.25, 4),
)
def test_repetition_penalty_counts_prompt_and_completion_once(
    logits: list[float], prompt: list[int], said: list[int], penalty: float
) -> None:
    """S6: the window is everything, each token once."""
    history = History([prompt], V)
    for token in said:
        history.add([token])
    expected = slow_repetition(logits, set(prompt) | set(said), penalty)
    assert penalise_repetition(row(logits), history, penalty)[0].tolist() == pytest.approx(expected, rel=1e-5)


@given(
    logits=st.lists(numbers, min_size=V, max_size=V),
    prompt=st.lists(st.integers(0, V - 1), max_size=6),
    said=st.lists(st.integers(0, V - 1), max_size=6),
    presence=st.floats(-2, 2),
    frequency=st.floats(-2, 2),
)
def test_presence_and_frequency_count_the_completion_only(
    logits: list[float], prompt: list[int], said: list[int], presence: float, frequency: float
) -> None:
    """S6: a word of the prompt, or a name in the template, costs nothing."""
    history = History([prompt], V)
    for token in said:
        history.add([token])
    expected = slow_presence(logits, said, presence, frequency)
    assert penalise_presence(row(logits), history, presence, frequency)[0].tolist() == pytest.approx(expected, abs=1e-4)


def test_bias_is_added_to_its_token_and_to_no_other() -> None:
    result = add_bias(row([1.0, 2.0, 3.0]), SamplingParams(logit_bias={0: -1.5, 2: 4.0}))
    assert result[0].tolist() == [-0.5, 2.0, 7.0]


def test_end_tokens_wait_for_the_minimum_and_controls_never_come() -> None:
    rules = TokenRules.of(5, ends=[1, 2], never=[2, 3])  # 2 is a control token and an end token: it may end
    assert forbid(row([1.0] * 5), rules, too_early=True)[0].tolist() == [1.0, OFF, OFF, OFF, 1.0]
    assert forbid(row([1.0] * 5), rules, too_early=False)[0].tolist() == [1.0, 1.0, 1.0, OFF, 1.0]
    params = SamplingParams(min_new_tokens=2)
    assert support(after(params, [1.0] * 5, said=[0], rules=rules)) == [0, 4]
    assert support(after(params, [1.0] * 5, said=[0, 0], rules=rules)) == [0, 1, 2, 4]


def test_no_stage_changes_what_it_was_given() -> None:
    logits = torch.randn(2, V)
    before, history = logits.clone(), History([[1, 2], [3]], V)
    params = SamplingParams(
        temperature=0.7, top_k=5, top_p=0.9, min_p=0.05, typical_p=0.9, repetition_penalty=1.2, presence_penalty=0.1,
        frequency_penalty=0.1, logit_bias={1: 2.0},
    )  # fmt: skip
    for stage in stages(params, NO_RULES):
        stage(logits, history)
        assert torch.equal(logits, before)


# Properties of the stages.

CUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "top_k": lambda x: top_k(x, 4), "top_p": lambda x: top_p(x, 0.7), "min_p": lambda x: min_p(x, 0.2),
    "typical_p": lambda x: typical_p(x, 0.7),
}  # fmt: skip


@pytest.mark.parametrize("name", CUTS)
@given(logits=st.lists(numbers, min_size=V, max_size=V, unique=True), seed=st.integers(0, 999))
def test_permuting_the_vocabulary_permutes_the_result(name: str, logits: list[float], seed: int) -> None:
    order = torch.randperm(V, generator=torch.Generator().manual_seed(seed))
    distances = sorted(
        abs(-math.log(q) + sum(r * math.log(r) for r in probabilities(logits))) for q in probabilities(logits)
    )
    assume(all(b - a > 1e-6 for a, b in pairwise(distances)))  # no ties of typical_p
    cut = CUTS[name]
    kept, permuted = cut(row(logits)), cut(row(logits)[:, order])
    assume(far_from(0.7, torch.tensor(probabilities(logits)).sort(descending=True).values.cumsum(0).tolist(), 1e-6))
    assert torch.equal(permuted, kept[:, order])


@pytest.mark.parametrize("name", ["top_k", "min_p"])
@given(logits=some_logits)
def test_twice_is_as_once(name: str, logits: list[float]) -> None:
    once = CUTS[name](row(logits))
    assert torch.equal(CUTS[name](once), once)


UGLY: dict[str, list[float]] = {
    "all equal": [0.0] * V,
    "one left": [OFF] * (V - 1) + [3.0],
    "first left": [-2.0] + [OFF] * (V - 1),
    "large": [1e4, -1e4] * (V // 2),
    "very large": [1e30, -1e30] + [0.0] * (V - 2),
    "far apart": [80.0 * i for i in range(V)],
    "two left": [OFF, 1.0, OFF, 1.0] + [OFF] * (V - 4),
    "tiny": [1e-38 * i for i in range(V)],
}
EVERYTHING = {
    "top_k": 5, "top_p": 0.9, "min_p": 0.1, "typical_p": 0.9, "repetition_penalty": 1.3, "presence_penalty": 0.5,
    "frequency_penalty": 0.25, "logit_bias": {3: 1.0}, "temperature": 0.6,
}  # fmt: skip


@pytest.mark.parametrize("name", UGLY)
@pytest.mark.parametrize(
    "options", [{}, *({k: v} for k, v in EVERYTHING.items()), EVERYTHING, {"temperature": 1e-8}, {"top_p": 1e-9}]
)
def test_probabilities_always_sum_to_one(name: str, options: dict[str, Any]) -> None:
    """S5, A1: with inf, with equals, with one that is left, with numbers near the end of the range."""
    for order in SAMPLER_ORDERS:
        result = after(SamplingParams(**options, sampler_order=order), UGLY[name], prompt=[0, V - 1], said=[1])
        assert not result.isnan().any() and result.max() > OFF
        probs = result.double().softmax(-1)
        assert float(probs.sum()) == pytest.approx(1.0)
        for u in (0.0, 0.5, 1 - 2**-53):
            token = int(draw(result, torch.tensor([u], dtype=torch.float64)))
            assert 0 <= token < V and probs[0, token] > 0


@pytest.mark.parametrize("temperature", [0.0, 1e-8, 1e-30, 1e-44, 5e-324])
def test_temperature_near_zero_is_greedy_with_penalties_and_bias_on(temperature: float) -> None:
    """S1"""
    options: dict[str, Any] = {"repetition_penalty": 1.5, "presence_penalty": 0.5, "logit_bias": {3: 2.5}}
    for seed in range(20):
        logits = (3 * torch.randn(V, generator=torch.Generator().manual_seed(seed))).tolist()
        greedy = SamplingParams(greedy=True, **options)
        nearly = SamplingParams(temperature=temperature, **options)
        chosen = highest(after(greedy, logits, prompt=[1, 2], said=[4]))
        uniform = torch.tensor([0.999])
        history = History([[1, 2]], V)
        history.add([4])
        assert sample(row(logits), nearly, stages(nearly, NO_RULES), history, uniform).tolist() == chosen.tolist()


def test_greedy_is_the_highest_and_the_lowest_id_among_equals() -> None:
    assert highest(torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [OFF, OFF, 0.0]])).tolist() == [1, 0, 2]


def test_greedy_applies_bias_and_penalties_but_no_cut() -> None:
    """S1"""
    assert len(stages(SamplingParams(greedy=True, top_k=1, top_p=0.1, min_p=0.5, typical_p=0.2), NO_RULES)) == 1
    biased = after(SamplingParams(temperature=0.0, logit_bias={2: 9.0}), [1.0, 2.0, 0.0])
    assert int(highest(biased)) == 2


# The order.


def test_the_order_of_transformers_divides_by_temperature_before_the_cuts() -> None:
    """S8: 0.5 0.3 0.2 at temperature 2 is 0.415 0.322 0.263: the nucleus of 0.75 has three tokens, not two."""
    logits = [math.log(x) for x in (0.5, 0.3, 0.2)]
    hot: dict[str, Any] = {"temperature": 2.0, "top_p": 0.75}
    assert support(after(SamplingParams(**hot), logits)) == [0, 1, 2]
    assert support(after(SamplingParams(**hot, sampler_order="llama.cpp"), logits)) == [0, 1]
    shared: dict[str, Any] = {"temperature": 2.0, "min_p": 0.5}  # 0.2 / 0.5 is less than half, and its root is more
    assert support(after(SamplingParams(**shared), logits)) == [0, 1, 2]
    assert support(after(SamplingParams(**shared, sampler_order="llama.cpp"), logits)) == [0, 1]


@pytest.mark.parametrize("order", ["transformers", "llama.cpp"])
def test_top_k_comes_before_top_p(order: Any) -> None:
    """S8: of 0.4 0.3 0.2 0.1, two are left by top-k and are 0.57 0.43: one reaches 0.5. top-p first would leave two."""
    logits = [math.log(x) for x in (0.4, 0.3, 0.2, 0.1)]
    assert support(after(SamplingParams(top_k=2, top_p=0.5, sampler_order=order), logits)) == [0]


def test_typical_p_comes_last_for_transformers_and_before_top_p_for_llama_cpp() -> None:
    """S8"""
    logits = [math.log(x) for x in (0.7, 0.12, 0.1, 0.08)]
    params: dict[str, Any] = {"typical_p": 0.6, "top_p": 0.75}
    last = slow_typical_p(slow_top_p(logits, 0.75), 0.6)
    first = slow_top_p(slow_typical_p(logits, 0.6), 0.75)
    assert support(after(SamplingParams(**params), logits)) == support(last)
    assert support(after(SamplingParams(**params, sampler_order="llama.cpp"), logits)) == support(first)


def test_the_two_orders_differ_where_typical_p_meets_top_p() -> None:
    """S8: without the rarest token the entropy is lower, and two tokens are typical enough, not three."""
    logits = [math.log(x / 29) for x in (7, 7, 1, 5, 9)]
    params: dict[str, Any] = {"typical_p": 0.49, "top_p": 0.9}
    assert support(after(SamplingParams(**params), logits)) == [0, 1]
    assert support(after(SamplingParams(**params, sampler_order="llama.cpp"), logits)) == [0, 1, 3]


@pytest.mark.parametrize("order", ["transformers", "llama.cpp"])
def test_bias_then_repetition_then_presence_then_temperature(order: Any) -> None:
    """S8: each pair swapped would give another number."""
    common: dict[str, Any] = {"sampler_order": order}
    # bias, repetition: (-1 + 3) / 4; swapped: -1 * 4 + 3
    assert after(SamplingParams(logit_bias={0: 3.0}, repetition_penalty=4.0, **common), [-1.0, 0.0], [0])[0, 0] == 0.5
    # repetition, presence: 2 / 2 - 1; swapped: (2 - 1) / 2
    both = SamplingParams(repetition_penalty=2.0, presence_penalty=1.0, **common)
    assert after(both, [2.0, 0.0], said=[0])[0, 0] == 0.0
    # presence and frequency, temperature: (5 - 1 - 2 * 0.5) / 0.5; swapped: 5 / 0.5 - 2
    cold = SamplingParams(presence_penalty=1.0, frequency_penalty=0.5, temperature=0.5, **common)
    gap = after(cold, [5.0, 0.0], said=[0, 0])[0]
    assert float(gap[0] - gap[1]) == 6.0


def test_an_end_token_that_waits_is_removed_before_its_bias() -> None:
    rules = TokenRules.of(3, ends=[0], never=[])
    assert support(after(SamplingParams(min_new_tokens=1, logit_bias={0: 100.0}), [0.0, 1.0, 2.0], rules=rules)) == [
        1,
        2,
    ]


# The draw.


def counted(tokens: Tensor) -> list[int]:
    return torch.bincount(tokens, minlength=V).tolist()


LOGITS = [1.5, -0.5, 0.0, 2.0, 1.0, 0.5, -1.0, 0.25, 1.25, -0.25, 0.75, 1.75]
N = 40_000


def uniforms(seed: int) -> Tensor:
    return torch.rand(N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_wrong_distribution_is_found_out() -> None:
    """The test of the tests: draws from a distribution that is off by a quarter of one token's logit do not fit."""
    tokens = draw(row([LOGITS[0] + 0.25, *LOGITS[1:]]).expand(N, V), uniforms(1))
    assert not chi_square_fits(counted(tokens), probabilities(LOGITS))


SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5},
    {"temperature": 2.0},
    {"top_k": 3},
    {"top_p": 0.6},
    {"min_p": 0.3},
    {"typical_p": 0.5},
    {"repetition_penalty": 1.7},
    {"presence_penalty": 0.8},
    {"frequency_penalty": 0.4},
    {"logit_bias": {1: 2.0, 3: -3.0}},
    {
        "temperature": 1.4,
        "top_k": 9,
        "top_p": 0.9,
        "min_p": 0.15,
        "typical_p": 0.95,
        "repetition_penalty": 1.2,
        "presence_penalty": 0.3,
        "frequency_penalty": 0.2,
        "logit_bias": {6: 1.5},
    },
]
PROMPT, SAID = [0, 3, 3], [4, 5, 4]


def slow_distribution(options: dict[str, Any], order: str) -> list[float]:
    """The exact distribution of a token, by the obvious functions in the documented order."""
    x = [v + options.get("logit_bias", {}).get(i, 0.0) for i, v in enumerate(LOGITS)]
    x = slow_repetition(x, {*PROMPT, *SAID}, options.get("repetition_penalty", 1.0))
    x = slow_presence(x, SAID, options.get("presence_penalty", 0.0), options.get("frequency_penalty", 0.0))

    def heat() -> None:
        x[:] = [v / options.get("temperature", 1.0) for v in x]

    if order == "transformers":
        heat()
    names = (
        ("top_k", "top_p", "min_p", "typical_p")
        if order == "transformers"
        else ("top_k", "typical_p", "top_p", "min_p")
    )
    slow = {"top_k": slow_top_k, "top_p": slow_top_p, "min_p": slow_min_p, "typical_p": slow_typical_p}
    for name in names:
        if name in options:
            x = slow[name](x, options[name])
    if order == "llama.cpp":
        heat()
    return probabilities(x)


@pytest.mark.parametrize("order", ["transformers", "llama.cpp"])
@pytest.mark.parametrize("options", SETTINGS, ids=lambda o: "+".join(o) or "nothing")
def test_draws_follow_the_exact_distribution(options: dict[str, Any], order: Any) -> None:
    """S7, S8: stage by stage and all together, 40,000 draws each."""
    params = SamplingParams(**options, sampler_order=order)
    expected = slow_distribution(options, order)
    logits = after(params, LOGITS, PROMPT, SAID)
    assert logits.double().softmax(-1)[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert chi_square_fits(counted(draw(logits.expand(N, V), uniforms(7))), expected)


@pytest.mark.parametrize("options", [o for o in SETTINGS if o], ids=lambda o: "+".join(o))
def test_every_setting_changes_the_distribution(options: dict[str, Any]) -> None:
    """S7: nothing is accepted and then ignored."""
    assert slow_distribution(options, "transformers") != pytest.approx(probabilities(LOGITS), abs=1e-3)
    assert not torch.allclose(after(SamplingParams(**options), LOGITS, PROMPT, SAID), row(LOGITS))


@given(logits=some_logits, u=st.floats(0, 1, exclude_max=True))
def test_a_draw_is_the_first_token_whose_cumulative_probability_exceeds_the_number(
    logits: list[float], u: float
) -> None:
    total, cumulative = 0.0, []
    for q in probabilities(logits):
        total += q
        cumulative.append(total)
    assume(far_from(u, cumulative, 1e-9))
    expected = next(i for i, c in enumerate(cumulative) if c > u)
    assert int(draw(row(logits), torch.tensor([u], dtype=torch.float64))) == expected


def test_a_removed_token_is_never_drawn() -> None:
    """S5: not by the lowest number, not by the highest."""
    logits = row([OFF, OFF, 0.0, OFF, 1.0, OFF])
    assert draw(logits, torch.tensor([0.0])).tolist() == [2]
    assert draw(logits, torch.tensor([1 - 2**-53], dtype=torch.float64)).tolist() == [4]


def test_a_row_of_a_batch_draws_as_it_would_alone() -> None:
    """S10"""
    params = SamplingParams(
        temperature=1.3,
        top_k=8,
        top_p=0.9,
        typical_p=0.9,
        repetition_penalty=1.4,
        presence_penalty=0.5,
        logit_bias={2: 1.0},
    )
    generator = torch.Generator().manual_seed(2)
    logits, numbers_ = 2 * torch.randn(50, V, generator=generator), torch.rand(50, generator=generator)
    prompts = torch.randint(0, V, (50, 4), generator=generator).tolist()
    said = torch.randint(0, V, (3, 50), generator=generator).tolist()

    def history_of(rows: Sequence[int]) -> History:
        history = History([prompts[r] for r in rows], V)
        for tokens in said:
            history.add([tokens[r] for r in rows])
        return history

    active: list[Stage] = stages(params, NO_RULES)
    together = sample(logits, params, active, history_of(range(50)), numbers_).tolist()
    alone = [int(sample(logits[r : r + 1], params, active, history_of([r]), numbers_[r : r + 1])) for r in range(50)]
    assert together == alone and len(set(together)) > 4


# The same against transformers, where it is installed.


@pytest.mark.parametrize("seed", range(8))
def test_stages_equal_the_logits_processors_of_transformers(seed: int) -> None:
    """S8"""
    process = pytest.importorskip("transformers.generation.logits_process")
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 50, generator=generator)
    ids = torch.randint(0, 50, (2, 6), generator=generator)
    history = History(ids.tolist(), 50)
    pairs: list[tuple[Tensor, Any]] = [
        (top_k(logits, 7), process.TopKLogitsWarper(7)),
        (top_p(logits, 0.8), process.TopPLogitsWarper(0.8)),
        (min_p(logits, 0.1), process.MinPLogitsWarper(0.1)),
        (typical_p(logits, 0.7), process.TypicalLogitsWarper(0.7)),
        (penalise_repetition(logits, history, 1.3), process.RepetitionPenaltyLogitsProcessor(1.3)),
        (logits / 0.7, process.TemperatureLogitsWarper(0.7)),
        (
            add_bias(logits, SamplingParams(logit_bias={5: 2.0, 9: -4.0})),
            process.SequenceBiasLogitsProcessor([[[5], 2.0], [[9], -4.0]]),
        ),
    ]
    for ours, theirs in pairs:
        assert torch.allclose(ours, theirs(ids, logits.clone()), atol=1e-5), type(theirs).__name__


def test_the_whole_list_equals_that_of_transformers() -> None:
    """S8: penalty, temperature, top-k, top-p, min-p, typical, as its `generate` lines them up."""
    process = pytest.importorskip("transformers.generation.logits_process")
    params = SamplingParams(repetition_penalty=1.2, temperature=1.6, top_k=20, top_p=0.9, min_p=0.05, typical_p=0.9)
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        logits, ids = 3 * torch.randn(1, 50, generator=generator), torch.randint(0, 50, (1, 6), generator=generator)
        expected = logits
        for warper in (
            process.RepetitionPenaltyLogitsProcessor(1.2),
            process.TemperatureLogitsWarper(1.6),
            process.TopKLogitsWarper(20),
            process.TopPLogitsWarper(0.9),
            process.MinPLogitsWarper(0.05),
            process.TypicalLogitsWarper(0.9),
        ):
            expected = warper(ids, expected)
        assert torch.allclose(after(params, logits[0].tolist(), prompt=ids[0].tolist()), expected, atol=1e-5)

"""weights/models/decoding.py: greedy, sampled and by beams, against small models whose best answer is known."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from toys import KINDS, VOCABULARY, nudged, search, sources_of, toy_model, words

from engine.params import SamplingParams
from weights.models.decoding import Search, beam_search, draw_tokens

GREEDY = SamplingParams(greedy=True)


class Rigged:
    """A model whose next token depends on the ids so far, by a table of probabilities; the rest is near 0."""

    def __init__(self, table: Mapping[tuple[int, ...], Mapping[int, float]], size: int = 8) -> None:
        self.table, self.size = table, size

    def start(self, source: torch.Tensor, limit: int) -> "RiggedState":
        return RiggedState(len(source))

    def step(self, ids: torch.Tensor, state: "RiggedState") -> torch.Tensor:
        state.said = [(*said, int(i)) for said, i in zip(state.said, ids, strict=True)]
        logits = torch.full((len(ids), self.size), -30.0)
        for row, said in enumerate(state.said):
            for token, p in self.table.get(said[1:], {2: 1.0}).items():
                logits[row, token] = math.log(p)
        return logits


class RiggedState:
    def __init__(self, batch: int) -> None:
        self.said: list[tuple[int, ...]] = [()] * batch

    def select(self, rows: torch.Tensor) -> None:
        self.said = [self.said[int(r)] for r in rows]


def rigged_search(**changes: Any) -> Search:
    return search(**({"vocab_size": 8, "never": [0, 1, 3], "limit": 6} | changes))


# The first step prefers 4, but after 4 nothing is likely, and after 5 all is sure.
GARDEN = {(): {4: 0.6, 5: 0.4}, (4,): {4: 0.3, 5: 0.3, 6: 0.4}, (5,): {6: 1.0}, (5, 6): {2: 1.0}, (4, 6): {2: 1.0}}


def test_a_beam_finds_what_greedy_decoding_misses() -> None:
    model, source = Rigged(GARDEN), torch.zeros(1, 1, dtype=torch.long)
    greedy = draw_tokens(model, source, rigged_search(), GREEDY, [0])[0]
    best = beam_search(model, source, rigged_search(beam=2))[0][0]
    assert greedy.ids == (4, 6)
    assert best.ids == (5, 6)
    assert best.score > greedy.score
    assert best.logprob == pytest.approx(math.log(0.4), abs=1e-4)


def test_a_search_ends_early_when_what_ended_is_better_than_what_goes_on() -> None:
    class Counted(Rigged):
        steps = 0

        def step(self, ids: torch.Tensor, state: RiggedState) -> torch.Tensor:
            self.steps += 1
            return super().step(ids, state)

    limit = 40
    model = Counted({(4,) * n: {2: 0.6, 4: 0.4} for n in range(limit)})  # at the limit, the penalty divides by 7.5
    found = beam_search(model, torch.zeros(1, 1, dtype=torch.long), rigged_search(beam=2, limit=limit))[0]
    assert [h.ids for h in found] == [(4,), (4, 4)]
    assert model.steps <= 4


@pytest.mark.parametrize("kind", ["transformer rope before swiglu", "transformer relative before swiglu", "lstm dot"])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_beam_of_one_is_greedy_decoding(kind: str, length_penalty: float) -> None:
    model = nudged(toy_model(**KINDS[kind]))
    source = sources_of(words(np.random.default_rng(3), 12))
    settings = search(beam=1, length_penalty=length_penalty)
    greedy = draw_tokens(model, source, settings, GREEDY, [0] * 12)
    beams = beam_search(model, source, settings)
    assert [b[0].ids for b in beams] == [g.ids for g in greedy]
    assert [b[0].logprob for b in beams] == pytest.approx([g.logprob for g in greedy], abs=1e-4)
    assert len({g.ids for g in greedy}) > 3


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.5])
def test_a_beam_as_wide_as_all_sequences_finds_the_best_of_all(length_penalty: float) -> None:
    rng = np.random.default_rng(5)
    tokens, limit = (2, 4, 5), 4
    table = {
        said: dict(zip(tokens, rng.dirichlet(np.ones(3)).tolist(), strict=True))
        for n in range(limit)
        for said in itertools.product((4, 5), repeat=n)
    }
    settings = rigged_search(beam=16, length_penalty=length_penalty, limit=limit, min_new_tokens=0)
    found = beam_search(Rigged(table), torch.zeros(1, 1, dtype=torch.long), settings)[0]

    def value(ids: Sequence[int]) -> float:
        """ids with </s> where it fits."""
        return settings.score(sum(math.log(table[tuple(ids[:n])][t]) for n, t in enumerate(ids)), len(ids))

    every = [(*said, 2) for n in range(limit) for said in itertools.product((4, 5), repeat=n)]
    every += list(itertools.product((4, 5), repeat=limit))
    assert found[0].score == pytest.approx(max(map(value, every)), abs=1e-4)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    assert len({h.ids for h in found}) == len(found)


def test_the_length_penalty_is_that_of_gnmt() -> None:
    assert search(length_penalty=0.6).score(-3.0, 7) == pytest.approx(-3.0 / ((5 + 7) / 6) ** 0.6)
    assert search(length_penalty=0.0).score(-3.0, 7) == -3.0


def test_a_higher_length_penalty_prefers_longer_translations() -> None:
    table = {(): {4: 0.5, 5: 0.5}, (4,): {2: 0.6, 6: 0.4}, (4, 6): {6: 1.0}, (4, 6, 6): {2: 1.0}, (5,): {6: 1.0}}
    table |= {(5, 6): {6: 1.0}, (5, 6, 6): {2: 0.55, 6: 0.45}}
    model, source = Rigged(table), torch.zeros(1, 1, dtype=torch.long)
    lengths = [
        len(beam_search(model, source, rigged_search(beam=4, length_penalty=alpha))[0][0].ids) for alpha in (0.0, 3.0)
    ]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("kind", ["transformer rope before swiglu", "lstm additive"])
def test_beams_in_a_batch_are_those_of_each_row_alone(kind: str) -> None:
    model = nudged(toy_model(**KINDS[kind]))
    rows = words(np.random.default_rng(4), 6)
    together = beam_search(model, sources_of(rows), search(beam=3))
    for row, found in zip(rows, together, strict=True):
        alone = beam_search(model, sources_of([row], extra=2), search(beam=3))[0]
        assert [h.ids for h in alone] == [h.ids for h in found]
        assert [h.score for h in alone] == pytest.approx([h.score for h in found], abs=1e-4)


def test_the_score_of_a_hypothesis_is_the_models_own() -> None:
    model = nudged(toy_model())
    source = sources_of([[5, 6, 7]])
    for hypothesis in beam_search(model, source, search(beam=4))[0]:
        said = [*hypothesis.ids, 2] if len(hypothesis.ids) < search().limit else list(hypothesis.ids)
        with torch.no_grad():
            logprobs = model(source, torch.tensor([[1, *said[:-1]]])).log_softmax(-1)[0]
        own = sum(float(logprobs[n, t]) for n, t in enumerate(said))
        assert hypothesis.logprob == pytest.approx(own, abs=1e-3)


def test_control_tokens_never_occur_and_no_translation_is_empty() -> None:
    model = nudged(toy_model())
    with torch.no_grad():
        model.embedding.weight[[0, 1, 3, 4]] *= 20.0
    source = sources_of(words(np.random.default_rng(1), 8))
    drawn = draw_tokens(model, source, search(), SamplingParams(), range(8))
    for h in [*drawn, *(h for b in beam_search(model, source, search(beam=3)) for h in b)]:
        assert h.ids
        assert not set(h.ids) & {0, 1, 2, 3, 4}


def test_a_row_is_drawn_in_a_batch_as_it_is_alone() -> None:
    model = nudged(toy_model())
    rows = words(np.random.default_rng(2), 5)
    params = SamplingParams(temperature=1.3, top_k=6, repetition_penalty=1.2)
    together = draw_tokens(model, sources_of(rows), search(), params, [10, 11, 12, 13, 14])
    for number, row in enumerate(rows):
        assert draw_tokens(model, sources_of([row]), search(), params, [10 + number])[0].ids == together[number].ids
    assert len({h.ids for h in together}) > 1


def test_samples_come_as_often_as_they_are_probable() -> None:
    model, source = Rigged(GARDEN), torch.zeros(2000, 1, dtype=torch.long)
    drawn = draw_tokens(model, source, rigged_search(), SamplingParams(), range(2000))
    share = sum(h.ids[0] == 5 for h in drawn) / 2000
    assert share == pytest.approx(0.4, abs=0.05)


def test_what_does_not_end_is_cut_at_the_limit() -> None:
    never_ends = Rigged({said: {4: 0.5, 5: 0.5} for n in range(6) for said in itertools.product((4, 5), repeat=n)})
    source = torch.zeros(1, 1, dtype=torch.long)
    found = beam_search(never_ends, source, rigged_search(beam=2, limit=4))[0]
    assert [len(h.ids) for h in found] == [4, 4]
    assert len(draw_tokens(never_ends, source, rigged_search(limit=4), GREEDY, [0])[0].ids) == 4


def test_the_vocabulary_of_the_toys_holds_their_symbols() -> None:
    assert max(max(w) for w in words(np.random.default_rng(0), 50)) < VOCABULARY

"""Search for a translation: greedy, sampled, and by beams. Any model with `start` and `step` is searched alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.params import SamplingParams
from engine.sampler import History, TokenRules, sample, stages


class State(Protocol):
    """What a model keeps of a batch while it decodes."""

    def select(self, rows: Tensor) -> None:
        """Row b becomes what row rows[b] was; there may be fewer rows, or more."""


class EncoderDecoder(Protocol):
    """What a search asks of a model."""

    def start(self, source: Tensor, limit: int) -> Any:
        """The State after reading source ids B S, with room for `limit` target positions."""

    def step(self, ids: Tensor, state: Any) -> Tensor:
        """Logits B V after one more target id in each row (B). They are the caller's, who may write over them."""


@dataclass(frozen=True)
class Hypothesis:
    """A finished translation: its ids without <s> and </s>, the sum of their log-probabilities, and its score."""

    ids: tuple[int, ...]
    logprob: float
    score: float  # logprob over the length penalty; hypotheses are ordered by it


@dataclass(frozen=True)
class Search:
    """How a translation is searched.

    rules: which tokens end one and which may not occur. length_penalty: alpha of Wu 2016 (GNMT), equation 14: a score
    is logprob / ((5 + length) / 6)^alpha; 0 compares bare sums, which prefers short ones. prefix: what all begin
    with, beyond bos; it is neither counted nor part of what is found. no_repeat: no run of so many tokens may occur
    twice (Paulus 2017); 0 is off.
    """

    bos: int
    eos: int
    rules: TokenRules
    limit: int  # target tokens, </s> among them
    beam: int = 1
    length_penalty: float = 1.0
    min_new_tokens: int = 1
    prefix: tuple[int, ...] = ()
    no_repeat: int = 0

    def score(self, logprob: float, length: int) -> float:
        """logprob over the length penalty; the length counts </s>."""
        return float(logprob / ((5 + length) / 6) ** self.length_penalty)

    def begin(self, model: EncoderDecoder, source: Tensor, limit: int) -> tuple[Any, Tensor]:
        """The state of source rows (B S) that have read bos and prefix but for the last id, and that id in each (B)."""
        state = model.start(source, limit + len(self.prefix))
        *before, last = (self.bos, *self.prefix)
        for token in before:
            model.step(torch.full((len(source),), token), state)
        return state, torch.full((len(source),), last)

    def without_repeats(self, logits: Tensor, said: Sequence[Sequence[int]]) -> Tensor:
        """Logits (B V) without the tokens that would say a run of `no_repeat` again. said: of each row so far."""
        if not self.no_repeat:
            return logits
        n = self.no_repeat - 1
        logits = logits.clone()
        for row, tokens in enumerate(said):
            ids = [self.bos, *self.prefix, *tokens]
            tail = ids[len(ids) - n :]
            logits[row, [ids[i + n] for i in range(len(ids) - n) if ids[i : i + n] == tail]] = -math.inf
        return logits


@torch.no_grad()
def draw_tokens(
    model: EncoderDecoder, source: Tensor, search: Search, params: SamplingParams, seeds: Sequence[int],
    limits: Sequence[int] = (),
) -> list[Hypothesis]:  # fmt: skip
    """One translation of each source row (B S): the highest logit each time, or drawn as `params` say.

    seeds: one for each row, so that a row is drawn as it would be alone. min_new_tokens is that of params, and at
    least that of search. limits: instead of search.limit, for each row its own. What does not end there is cut.
    """
    batch = len(source)
    limits = [min(limit, params.max_new_tokens) for limit in limits or [search.limit] * batch]
    least = max(params.min_new_tokens, search.min_new_tokens)
    active = stages(params, search.rules)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    said: list[list[int]] = [[] for _ in range(batch)]
    sums = [0.0] * batch
    alive = list(range(batch))  # rows of `source`, in the order of the state's rows
    state, ids = search.begin(model, source, max(limits))
    history = History([[]] * batch, len(search.rules.ends))
    for length in range(1, max(limits) + 1):
        logits = model.step(ids, state).float()
        logprobs = logits.log_softmax(-1)
        logits = search.without_repeats(logits, [said[row] for row in alive])
        if length <= least:
            logits = logits.masked_fill(search.rules.ends, -math.inf)
        uniforms = torch.stack([torch.rand((), dtype=torch.float64, generator=generators[row]) for row in alive])
        ids = sample(logits, params, active, history, uniforms)
        for row, token, logprob in zip(
            alive, ids.tolist(), logprobs.gather(1, ids[:, None])[:, 0].tolist(), strict=True
        ):
            said[row].append(token)
            sums[row] += logprob
        history.add(ids.tolist())
        drawn = zip(alive, ids.tolist(), strict=True)
        going = [place for place, (row, token) in enumerate(drawn) if token != search.eos and length < limits[row]]
        if not going:
            break
        if len(going) < len(alive):
            rows = torch.tensor(going)
            state.select(rows)
            history.seen, history.counts, ids = history.seen[rows], history.counts[rows], ids[rows]
            alive = [alive[place] for place in going]
    return [_hypothesis(search, tokens, total) for tokens, total in zip(said, sums, strict=True)]


def _hypothesis(search: Search, tokens: Sequence[int], logprob: float) -> Hypothesis:
    ids = tuple(t for t in tokens if t != search.eos)
    return Hypothesis(ids, logprob, search.score(logprob, len(tokens)))


class _Beams:
    """The beams of one source: those that may go on, with the sums of their log-probabilities, and those that ended."""

    def __init__(self, search: Search, limit: int) -> None:
        self.search, self.limit = search, limit
        self.alive: list[tuple[float, list[int]]] = [(0.0, [])]
        self.ended: list[Hypothesis] = []

    def advance(self, tokens: Sequence[Sequence[int]], logprobs: Sequence[Sequence[float]], length: int) -> list[int]:
        """Take the best continuations of all beams; the beam that each new one continues.

        tokens, logprobs: for each beam its best 2k. A hypothesis may end only among the best k, or a
        beam of one would be no greedy search. length: of what goes on; at the limit it is cut.
        """
        k = self.search.beam
        found = [
            (before + logprob, beam, token)
            for beam, (before, _) in enumerate(self.alive)
            for logprob, token in zip(logprobs[beam], tokens[beam], strict=True)
            if logprob > -math.inf
        ]
        found.sort(key=lambda c: (-c[0], c[1], c[2]))  # the lowest id among equals, as greedy decoding has it
        going: list[tuple[float, list[int]]] = []
        parents: list[int] = []
        for rank, (total, beam, token) in enumerate(found):
            tokens_now = [*self.alive[beam][1], token]
            if token == self.search.eos:
                if rank < k:
                    self.ended.append(_hypothesis(self.search, tokens_now, total))
            elif len(going) < k:
                going.append((total, tokens_now))
                parents.append(beam)
        self.ended.sort(key=lambda h: -h.score)
        del self.ended[k:]
        self.alive = going
        if length == self.limit:
            self.ended += [_hypothesis(self.search, said, total) for total, said in going]
            self.ended = sorted(self.ended, key=lambda h: -h.score)[:k]
            self.alive = []
        return parents

    @property
    def is_done(self) -> bool:
        """Whether k hypotheses ended, and nothing that goes on is better so far than the worst of them.

        A sum that goes on could still win, where the penalty divides it by more than it falls. To wait until none can,
        even at the limit, doubles the steps and finds the same translations.
        """
        if not self.alive:
            return True
        if len(self.ended) < self.search.beam:
            return False
        total, said = self.alive[0]
        return self.search.beam == 1 or self.ended[-1].score >= self.search.score(total, len(said))


@torch.no_grad()
def beam_search(
    model: EncoderDecoder, source: Tensor, search: Search, limits: Sequence[int] = ()
) -> list[list[Hypothesis]]:
    """For each source row (B S), at most `search.beam` hypotheses, the best first; all beams run at once.

    limits: instead of search.limit, for each row its own.
    """
    limits = limits or [search.limit] * len(source)
    beams = [_Beams(search, limit) for limit in limits]
    active = list(range(len(source)))
    state, ids = search.begin(model, source, max(limits))
    for length in range(1, max(limits) + 1):
        logits = model.step(ids, state)
        said = [tokens for row in active for _, tokens in beams[row].alive]
        best = _best(search.without_repeats(logits, said), logits, search, too_early=length <= search.min_new_tokens)
        tokens, logprobs = best[0].tolist(), best[1].tolist()
        places: list[int] = []  # row of the state that each row of the next step continues
        going: list[int] = []
        next_ids: list[int] = []
        offset = 0
        for row in active:
            here = slice(offset, offset + len(beams[row].alive))
            parents = beams[row].advance(tokens[here], logprobs[here], length)
            if not beams[row].is_done:
                going.append(row)
                places += [offset + parent for parent in parents]
                next_ids += [said[-1] for _, said in beams[row].alive]
            offset = here.stop
        if not going:
            break
        active = going
        state.select(torch.tensor(places))
        ids = torch.tensor(next_ids)
    return [b.ended for b in beams]


def _best(allowed: Tensor, logits: Tensor, search: Search, *, too_early: bool) -> tuple[Tensor, Tensor]:
    """The 2k best tokens of each row that may occur, and their log-probabilities in the model's own distribution.

    allowed: the logits without what may not come now.
    """
    log_sums = logits.float().logsumexp(-1, keepdim=True)
    scores = allowed.float()
    removed = search.rules.never | search.rules.ends if too_early else search.rules.never
    scores[:, removed] = -math.inf
    best, tokens = scores.topk(min(2 * search.beam, logits.shape[1]), -1)
    return tokens, best.double() - log_sums.double()  # in float32 the difference would make equals of what is not

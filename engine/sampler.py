"""From logits to a token: small pure functions in one visible list, and the draw.

Each stage takes logits (B V, float32) and a History and returns logits (B V); a removed token has -inf. The stages
do not validate: SamplingParams did. The order is that of docs/sampling.md.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.params import SamplingParams


@dataclass(frozen=True)
class TokenRules:
    """Which tokens end an answer and which may never occur in one. Both are masks over the vocabulary (V, bool)."""

    ends: Tensor
    never: Tensor

    @classmethod
    def of(cls, vocab_size: int, ends: Sequence[int], never: Sequence[int]) -> "TokenRules":
        """Masks from ids; a token that ends an answer may always occur."""
        end_mask, never_mask = torch.zeros(vocab_size, dtype=torch.bool), torch.zeros(vocab_size, dtype=torch.bool)
        end_mask[list(ends)] = True
        never_mask[list(never)] = True
        return cls(end_mask, never_mask & ~end_mask)


class History:
    """What was said so far, as counts over the vocabulary: a token costs the same at any length.

    seen: B V, whether a token is in prompt or completion.  counts: B V, how often it is in the completion.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], vocab_size: int) -> None:
        self.seen = torch.zeros(len(prompts), vocab_size, dtype=torch.bool)
        self.counts = torch.zeros(len(prompts), vocab_size)
        self.completed = 0
        for row, prompt in enumerate(prompts):
            self.seen[row, list(prompt)] = True

    def add(self, tokens: Sequence[int]) -> None:
        """One new token in each row."""
        for row, token in enumerate(tokens):
            self.seen[row, token] = True
            self.counts[row, token] += 1
        self.completed += 1


Stage = Callable[[Tensor, History], Tensor]
COLDEST = 1e-30  # a logit divided by less would overflow


def stages(params: SamplingParams, rules: TokenRules) -> list[Stage]:
    """The stages that `params` switches on, in their order. The list is the documentation."""
    before: list[Stage] = [
        lambda logits, history: forbid(logits, rules, history.completed < params.min_new_tokens),
        *_if(bool(params.logit_bias), lambda logits, _: add_bias(logits, params)),
        *_if(
            params.repetition_penalty != 1, lambda logits, h: penalise_repetition(logits, h, params.repetition_penalty)
        ),
        *_if(
            params.presence_penalty != 0 or params.frequency_penalty != 0,
            lambda logits, h: penalise_presence(logits, h, params.presence_penalty, params.frequency_penalty),
        ),
    ]
    if params.is_greedy:
        return before
    temperature = _if(params.temperature != 1, lambda logits, _: logits / max(params.temperature, COLDEST))
    k = _if(params.top_k > 0, lambda logits, _: top_k(logits, params.top_k))
    p = _if(params.top_p < 1, lambda logits, _: top_p(logits, params.top_p))
    minimum = _if(params.min_p > 0, lambda logits, _: min_p(logits, params.min_p))
    typical = _if(params.typical_p < 1, lambda logits, _: typical_p(logits, params.typical_p))
    if params.sampler_order == "llama.cpp":
        return [*before, *k, *typical, *p, *minimum, *temperature]
    return [*before, *temperature, *k, *p, *minimum, *typical]


def _if(wanted: bool, stage: Stage) -> list[Stage]:
    return [stage] if wanted else []


def forbid(logits: Tensor, rules: TokenRules, too_early: bool) -> Tensor:
    """Remove the tokens that may never occur, and the end tokens while it is too early to end."""
    return logits.masked_fill(rules.never | rules.ends if too_early else rules.never, -math.inf)


def add_bias(logits: Tensor, params: SamplingParams) -> Tensor:
    """Add to the logits of single tokens."""
    biased = logits.clone()
    for token, bias in params.logit_bias.items():
        biased[:, token] += bias
    return biased


def penalise_repetition(logits: Tensor, history: History, penalty: float) -> Tensor:
    """Divide positive and multiply negative logits of the tokens in prompt and completion (Keskar 2019)."""
    return torch.where(history.seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def penalise_presence(logits: Tensor, history: History, presence: float, frequency: float) -> Tensor:
    """Subtract `presence` once and `frequency` times the count, for the tokens in the completion."""
    return logits - presence * (history.counts > 0) - frequency * history.counts


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k highest; ties with the k-th are kept. k beyond the vocabulary keeps all."""
    if k >= logits.shape[-1]:
        return logits
    kth = logits.topk(k, dim=-1).values[:, -1:]
    return logits.masked_fill(logits < kth, -math.inf)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set, in order of probability, whose sum reaches p; at least one (Holtzman 2019)."""
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probs = ordered.double().softmax(-1)
    before = probs.cumsum(-1) - probs
    return _remove(logits, order, before >= p)


def min_p(logits: Tensor, share: float) -> Tensor:
    """Keep the tokens with at least `share` of the highest probability (Nguyen 2024)."""
    return logits.masked_fill(logits < logits.max(-1, keepdim=True).values + math.log(share), -math.inf)


def typical_p(logits: Tensor, p: float) -> Tensor:
    """Keep the tokens whose surprise is nearest to the entropy, until their sum reaches p (Meister 2022)."""
    logprobs = logits.double().log_softmax(-1)
    probs = logprobs.exp()
    entropy = -(probs * logprobs).nansum(-1, keepdim=True)  # 0 · -inf is 0 here
    order = (-logprobs - entropy).abs().sort(dim=-1, stable=True).indices
    ordered = probs.gather(-1, order)
    before = ordered.cumsum(-1) - ordered
    return _remove(logits, order, before >= p)


def _remove(logits: Tensor, order: Tensor, removed: Tensor) -> Tensor:
    """-inf where `removed`, which is given in the order of `order`; the first in that order always stays."""
    removed = removed.clone()
    removed[:, 0] = False
    return logits.masked_fill(torch.zeros_like(removed).scatter(-1, order, removed), -math.inf)


def highest(logits: Tensor) -> Tensor:
    """The highest logit of each row, the lowest id among equals: B V -> B."""
    return (logits == logits.max(-1, keepdim=True).values).byte().argmax(-1)


def draw(logits: Tensor, uniforms: Tensor) -> Tensor:
    """The first token in id order whose cumulative probability exceeds the row's number in [0, 1): B V, B -> B."""
    cumulative = logits.double().softmax(-1).cumsum(-1)
    # The last sum is 1 up to rounding; scaled by it, a number just below 1 still finds a token.
    return torch.searchsorted(cumulative, uniforms.double().unsqueeze(-1) * cumulative[:, -1:], right=True).squeeze(-1)


def sample(
    logits: Tensor, params: SamplingParams, active: Sequence[Stage], history: History, uniforms: Tensor
) -> Tensor:
    """One token for each row: B V and one number in [0, 1) per row -> B."""
    for stage in active:
        logits = stage(logits, history)
    return highest(logits) if params.is_greedy else draw(logits, uniforms)

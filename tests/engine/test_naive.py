"""The definition (engine/naive.py) against the fast path, token for token."""

from pathlib import Path

import pytest
import torch
from tiny import KINDS, OTHER_KINDS, TINY, complete, greedy, random_ids, tiny_model

from engine.api import load_engine
from engine.cache import KVCache
from engine.decoder import DecoderLM
from engine.naive import naive_greedy, naive_logits

ALL = KINDS | OTHER_KINDS
SHIPPED = Path(__file__).parents[2] / "weights" / "default"
# bf16 has 8 bits of mantissa: one rounding is up to 2**-9 of a number. A logit is a sum that passed some ten roundings
# per layer, so two ways of it differ by some hundredths of the spread (standard deviation) of the logits. Over
# eight tiny models and 200 tokens each, the token that bf16 chose was at most 0.063 of the spread behind; the tolerance
# is about twice that. A wrong mask, position or head moves logits by the spread itself.
BF16_NEAR_TIE = 0.15


def naive_ids_without_end(model: DecoderLM, prompt: list[int], count: int, removed: list[int]) -> list[int]:
    """naive_greedy, where `removed` tokens may not occur."""
    ids = list(prompt)
    for _ in range(count):
        logits = naive_logits(model, ids)[-1].clone()
        logits[removed] = -torch.inf
        ids.append(int(logits.argmax()))
    return ids[len(prompt) :]


@pytest.fixture(scope="module")
def model() -> DecoderLM:
    return tiny_model(TINY, seed=3)


@pytest.fixture(scope="module")
def defined(model: DecoderLM) -> list[int]:
    """200 greedy tokens by the definition, after a prompt of 50."""
    return naive_ids_without_end(model, random_ids(50), 200, [0, 1, 2])


@pytest.mark.parametrize("kind", ALL)
def test_one_pass_gives_the_logits_of_the_definition(kind: str) -> None:
    """K2, A1: for every shape and every kind of position."""
    model, ids = tiny_model(ALL[kind], seed=1), random_ids(90)
    assert torch.allclose(model(torch.tensor([ids]))[0], naive_logits(model, ids), atol=1e-4, rtol=0)


def test_naive_greedy_is_the_highest_logit_again_and_again(model: DecoderLM) -> None:
    prompt = random_ids(9)
    answer = naive_greedy(model, prompt, 12)
    for n, token in enumerate(answer):
        assert token == int(naive_logits(model, prompt + answer[:n])[-1].argmax())


@pytest.mark.parametrize("chunk", [512, 64, 7, 3, 1])
def test_cached_generation_equals_the_definition_for_200_tokens(
    model: DecoderLM, defined: list[int], chunk: int
) -> None:
    """K2: one-shot prefill and every chunk size."""
    generation = complete(model, random_ids(50), greedy(200), chunk=chunk)
    assert generation.completion == defined
    assert generation.splits == [min(chunk, 50 - n) for n in range(0, 50, chunk)]


@pytest.mark.parametrize("kind", ALL)
def test_cached_generation_equals_the_definition_for_every_kind_of_model(kind: str) -> None:
    model, prompt = tiny_model(ALL[kind], seed=5), random_ids(30, seed=2)
    expected = naive_ids_without_end(model, prompt, 40, [0, 1, 2])
    assert complete(model, prompt, greedy(40), chunk=7).completion == expected


def test_bf16_leaves_the_definition_only_at_a_near_tie() -> None:
    """Wherever bf16 chooses another token than float32 would, after the same tokens, the two were nearly equal."""
    model = tiny_model(TINY, seed=3, dtype=torch.bfloat16)
    prompt = random_ids(50)
    generation = complete(model, prompt, greedy(200))
    logits = naive_logits(model, prompt + generation.completion)[
        len(prompt) - 1 : -1
    ].clone()  # the same weights, in float32
    logits[:, [0, 1, 2]] = -torch.inf
    chosen = logits.gather(1, torch.tensor(generation.completion).unsqueeze(1))[:, 0]
    behind = (logits.max(-1).values - chosen) / logits[:, 3:].std(-1)
    assert behind.max() <= BF16_NEAR_TIE


@pytest.mark.skipif(not (SHIPPED / "config.json").is_file(), reason="weights/default has no model yet")
class TestTheShippedModel:
    """The same promises, kept by the model that people get."""

    PROMPT = "How do I extract a tar.gz archive?"

    def test_cached_generation_equals_the_definition_for_200_tokens(self) -> None:
        engine = load_engine(SHIPPED, dtype="float32")
        ids = engine.raw_ids(self.PROMPT)
        ends = [int(i) for i in (engine._rules.ends | engine._rules.never).nonzero()]
        expected = naive_ids_without_end(engine.model, ids, 200, ends)
        for chunk in (512, 3):
            cache = KVCache(engine.config)
            found = complete(engine.model, ids, greedy(200), cache=cache, rules=engine._rules, chunk=chunk)
            assert found.completion == expected

    def test_bf16_leaves_the_definition_only_at_a_near_tie(self) -> None:
        engine = load_engine(SHIPPED, dtype="bfloat16")
        ids = engine.raw_ids(self.PROMPT)
        found = complete(engine.model, ids, greedy(200), rules=engine._rules)
        logits = naive_logits(engine.model, ids + found.completion)[len(ids) - 1 : -1]
        allowed = ~(engine._rules.ends | engine._rules.never)
        spread = logits[:, allowed].std(-1)
        chosen = logits.gather(1, torch.tensor(found.completion).unsqueeze(1))[:, 0]
        assert ((logits[:, allowed].max(-1).values - chosen) / spread).max() <= BF16_NEAR_TIE

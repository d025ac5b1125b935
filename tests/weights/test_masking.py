"""weights/data/masking.py and passages.py: what is hidden, how often, and that a resume hides the same."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from engine.template import Message
from engine.tokenizer import SentencePieceTokenizer
from weights.data.masking import MaskedRows, Masker, mask_row, ordinary_ids
from weights.data.mixture import Mixture
from weights.data.passages import Passages
from weights.data.readers import Record
from weights.data.shards import Shard
from weights.recipe import Stage

MASK, VOCABULARY = 4, 40
ORDINARY = np.arange(5, VOCABULARY)


def test_the_shares_are_those_of_bert() -> None:
    rng = np.random.default_rng(0)
    ids = rng.choice(ORDINARY, 100_000)
    hidden, chosen = mask_row(ids, np.ones(len(ids), bool), ORDINARY, MASK, rng)
    assert len(chosen) == 15_000 == len(set(chosen.tolist()))
    others = np.setdiff1d(np.arange(len(ids)), chosen)
    assert (hidden[others] == ids[others]).all()
    masked = (hidden[chosen] == MASK).mean()
    kept = (hidden[chosen] == ids[chosen]).mean()
    assert masked == pytest.approx(0.8, abs=0.01)
    assert kept == pytest.approx(0.1 + 0.1 / len(ORDINARY), abs=0.01)  # a drawn one may be the true one
    assert np.isin(hidden[chosen], [*ORDINARY, MASK]).all()


def test_only_what_may_be_hidden_is_chosen() -> None:
    ids = np.full(200, 9)
    hideable = np.arange(200) % 3 == 0
    _, chosen = mask_row(ids, hideable, ORDINARY, MASK, np.random.default_rng(0))
    assert len(chosen) == round(0.15 * 67) and hideable[chosen].all()


def test_ordinary_tokens_are_no_controls(tokenizer: SentencePieceTokenizer) -> None:
    ordinary = set(ordinary_ids(tokenizer).tolist())
    controls = {i for i in range(tokenizer.vocab_size) if tokenizer.is_control(i)}
    assert controls and not ordinary & controls and 0 not in ordinary
    assert ordinary | controls | {0} == set(range(tokenizer.vocab_size))


@pytest.fixture
def rows(make_shard: Callable[..., Shard], make_stage: Callable[..., Stage]) -> MaskedRows:
    stage = make_stage(objective="mlm", row=40, tokens=800)
    return MaskedRows(Mixture(stage, {"a": make_shard(n=20)}, 1), Masker(ORDINARY, MASK, 1))


def test_targets_are_the_true_ids_of_the_chosen_and_controls_are_never_chosen(rows: MaskedRows) -> None:
    batch = rows.batch(0, 6)
    plain = rows._mixture.batch(0, 6).ids
    assert batch.ids.shape == plain.shape and batch.chosen.shape == batch.targets.shape == (6, 6)
    real = batch.targets >= 0
    assert torch.equal(plain.gather(1, batch.chosen)[real], batch.targets[real])
    assert batch.targets[real].min() >= 5  # the shard has ids 3 and 4 too
    for row in range(6):
        changed = set(torch.nonzero(batch.ids[row] != plain[row]).flatten().tolist())
        assert changed and changed <= set(batch.chosen[row][real[row]].tolist())
    assert batch.n_targets == int(real.sum()) > 20


def test_a_row_is_masked_alike_whenever_it_is_asked_for_and_anew_when_it_comes_again(rows: MaskedRows) -> None:
    one, other = rows.batch(3, 2), rows.batch(2, 4)
    assert torch.equal(one.ids, other.ids[1:3]) and torch.equal(one.chosen, other.chosen[1:3])
    n_rows = rows._mixture.n_rows
    again = rows.batch(3 + n_rows, 2)
    assert torch.equal(rows._mixture.batch(3, 2).ids, rows._mixture.batch(3 + n_rows, 2).ids)
    assert not torch.equal(one.chosen, again.chosen)


def test_passages_are_paragraphs_and_turns_with_their_answers() -> None:
    talk = [Message("system", "s"), *(Message(("user", "assistant")[i % 2], f"m{i}") for i in range(4))]
    records = [Record(text="Title\n\nOne.\nStill one.\n\n\n\nTwo.  "), Record(tuple(talk))]
    found = [r.text for r in Passages().apply(records, random.Random(0))]
    assert found == ["Title", "One.\nStill one.", "Two.", "m0 m1", "m2 m3"]

"""weights/data/mixture.py: which tokens stand in which row, as a pure function of the seed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.decoder import DecoderLM
from engine.errors import DataError
from weights.data.mixture import Mixture
from weights.data.shards import Shard
from weights.recipe import Stage

Make = Callable[..., Any]


def rows(mixture: Mixture) -> list[tuple[list[int], list[int], list[int]]]:
    return [tuple(part.tolist() for part in mixture.row(i)) for i in range(mixture.n_rows)]  # type: ignore[misc]


def drawn(mixture: Mixture) -> list[tuple[int, int]]:
    """(source, document) of every drawn document, in order."""
    return list(zip(mixture._source.tolist(), mixture._document.tolist(), strict=True))


@pytest.fixture
def shards(make_shard: Make) -> dict[str, Shard]:
    return {"a": make_shard(40, 12, 1), "b": make_shard(25, 40, 2), "c": make_shard(7, 5, 3)}


SHARES = {"a": 3.0, "b": 1.0, "c": 1.0}


@pytest.mark.parametrize("objective", ["lm", "chat"])
def test_the_same_seed_gives_the_same_rows_and_another_seed_others(
    objective: str, shards: dict[str, Shard], make_stage: Make
) -> None:
    stage = make_stage(objective=objective, shares=SHARES)
    assert rows(Mixture(stage, shards, 1)) == rows(Mixture(stage, shards, 1))
    assert rows(Mixture(stage, shards, 1)) != rows(Mixture(stage, shards, 2))
    assert rows(Mixture(stage, shards, 1)) != rows(
        Mixture(make_stage(objective=objective, shares=SHARES, name="t"), shards, 1)
    )


@pytest.mark.parametrize("objective", ["lm", "chat"])
def test_a_row_is_the_same_whenever_it_is_asked_for(objective: str, shards: dict[str, Shard], make_stage: Make) -> None:
    stage = make_stage(objective=objective, shares=SHARES)
    in_order = rows(Mixture(stage, shards, 1))
    mixture = Mixture(stage, shards, 1)
    for i in np.random.default_rng(0).permutation(mixture.n_rows):
        assert tuple(part.tolist() for part in mixture.row(i)) == in_order[i]


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(100, 3000))
def test_rows_of_running_text_joined_are_the_drawn_documents_in_order(
    make_shard: Make, make_stage: Make, seed: int, row: int, tokens: int
) -> None:
    shard = make_shard(15, 30, seed)
    mixture = Mixture(make_stage(row=row, tokens=tokens), {"a": shard}, seed)
    stream = np.concatenate([shard.ids[shard.starts[d] : shard.starts[d + 1]] for _, d in drawn(mixture)]).tolist()
    joined = [i for ids, _, _ in rows(mixture) for i in ids[:-1]]
    whole = mixture.n_rows * row
    if len(stream) > row:
        assert joined == stream[:whole]
        assert len(stream) - whole <= row  # what is left over fills no row
        for (ids, _, _), (following, _, _) in zip(rows(mixture), rows(mixture)[1:], strict=False):
            assert ids[-1] == following[0]  # the last target of a row is the first id of the next: none is lost


@given(st.integers(0, 10**6), st.integers(4, 40), st.integers(100, 3000))
def test_no_conversation_crosses_a_row_none_is_lost_and_long_ones_are_cut(
    make_shard: Make, make_stage: Make, seed: int, row: int, tokens: int
) -> None:
    shard = make_shard(15, 30, seed)
    mixture = Mixture(make_stage(objective="chat", row=row, tokens=tokens), {"a": shard}, seed)
    seen: dict[int, list[int]] = {}
    marks: dict[int, list[int]] = {}
    for ids, learned, documents in rows(mixture):
        for number in sorted(set(documents) - {-1}):
            assert number not in seen
            seen[number] = [i for i, d in zip(ids, documents, strict=True) if d == number]
            marks[number] = [x for x, d in zip(learned, documents, strict=True) if d == number]
    assert sorted(seen) == list(range(len(drawn(mixture))))
    for number, (_, document) in enumerate(drawn(mixture)):
        whole = slice(shard.starts[document], shard.starts[document + 1])
        assert seen[number] == shard.ids[whole].tolist()[: row + 1]
        assert marks[number] == shard.target[whole].tolist()[: row + 1]


@pytest.mark.parametrize("objective", ["lm", "chat"])
def test_every_row_is_trained_on_once_and_not_in_the_order_of_the_data(
    objective: str, shards: dict[str, Shard], make_stage: Make
) -> None:
    mixture = Mixture(make_stage(objective=objective, shares=SHARES), shards, 1)
    in_order = [ids[:-1] for ids, _, _ in rows(mixture)]
    trained = mixture.batch(0, mixture.n_rows).ids.tolist()
    assert sorted(trained) == sorted(in_order)
    assert trained != in_order


@pytest.mark.parametrize("objective", ["lm", "chat"])
def test_each_source_has_its_share_of_the_tokens(objective: str, shards: dict[str, Shard], make_stage: Make) -> None:
    stage = make_stage(objective=objective, shares=SHARES, tokens=20_000, row=64)
    mixture = Mixture(stage, shards, 1)
    tokens = np.bincount(mixture._source, weights=mixture._lengths)
    assert tokens / 20_000 == pytest.approx(np.array([0.6, 0.2, 0.2]), abs=41 / 20_000)


def test_a_source_is_read_whole_before_any_of_it_comes_again(make_shard: Make, make_stage: Make) -> None:
    shard = make_shard(20, 10, 0)
    once = int(shard.starts[-1])
    counts = np.bincount([d for _, d in drawn(Mixture(make_stage(tokens=3 * once), {"a": shard}, 1))], minlength=20)
    assert set(counts.tolist()) <= {3, 4}
    half = [d for _, d in drawn(Mixture(make_stage(tokens=once // 2), {"a": shard}, 1))]
    assert len(set(half)) == len(half)


def test_a_whole_source_is_learned_whole_while_others_teach_the_assistants_words(
    shards: dict[str, Shard], make_stage: Make
) -> None:
    silent = {n: Shard(s.ids, np.zeros_like(s.target), s.starts) for n, s in shards.items()}
    mixture = Mixture(make_stage(objective="chat", shares=SHARES, whole=("b",)), silent, 1)
    learned_of: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    for index in range(mixture.n_rows):
        _, learned, documents = mixture.row(index)
        for document, learn in zip(documents.tolist(), learned.tolist(), strict=True):
            if document >= 0:
                learned_of[int(mixture._source[document])].add(learn)
    assert learned_of == {0: {0}, 1: {1}, 2: {0}}


def test_a_share_of_zero_gives_nothing(shards: dict[str, Shard], make_stage: Make) -> None:
    mixture = Mixture(make_stage(shares={"a": 1.0, "b": 0.0}), shards, 1)
    assert {source for source, _ in drawn(mixture)} == {0}


@pytest.mark.parametrize("objective", ["lm", "chat"])
def test_targets_are_the_next_ids_never_cross_a_document_and_padding_is_never_learned(
    objective: str, shards: dict[str, Shard], make_stage: Make
) -> None:
    mixture = Mixture(make_stage(objective=objective, shares=SHARES), shards, 1)
    learned_somewhere = 0
    for index in range(mixture.n_rows):
        ids, learned, documents = mixture.row(int(mixture._order[index]))
        batch = mixture.batch(index, 1)
        assert batch.ids[0].tolist() == ids[:-1].tolist()
        for t, target in enumerate(batch.targets[0].tolist()):
            wanted = documents[t] == documents[t + 1] != -1 and learned[t + 1] == 1
            assert target == (ids[t + 1] if wanted else -1)
            learned_somewhere += wanted
    assert learned_somewhere > 100


def test_a_stage_with_less_text_than_a_row_still_has_one(make_shard: Make, make_stage: Make) -> None:
    mixture = Mixture(make_stage(tokens=1, row=64), {"a": make_shard(1, 5, 0)}, 1)
    assert (mixture.n_rows, mixture.n_steps) == (1, 1)
    batch = mixture.batch(0, 4)
    assert batch.ids.shape == (4, 64)
    assert int((batch.targets >= 0).sum()) < 20


def test_a_stage_without_sources_is_a_data_error(make_stage: Make) -> None:
    with pytest.raises(DataError, match="has no sources"):
        Mixture(make_stage(shares={}), {}, 1)


@pytest.mark.parametrize("cut", [3, 17, 40])  # in the first pass over the data, and in later ones
def test_the_rows_of_a_cut_and_resumed_run_are_those_of_an_uncut_one(
    cut: int, shards: dict[str, Shard], make_stage: Make
) -> None:
    stage: Stage = make_stage(shares=SHARES, tokens=4000)
    mixture = Mixture(stage, shards, 1)
    assert mixture.n_steps > 45

    def ids(mixture: Mixture, steps: range) -> list[Any]:
        return [mixture.batch(step * stage.batch, stage.batch).ids.tolist() for step in steps]

    before = ids(mixture, range(cut))
    after = ids(Mixture(stage, shards, 1), range(cut, mixture.n_steps))  # another process has nothing but the recipe
    assert before + after == ids(mixture, range(mixture.n_steps))


@pytest.mark.parametrize("objective", ["lm", "chat"])
def test_packed_documents_do_not_see_each_other(
    objective: str, make_shard: Make, make_stage: Make, make_model: Callable[..., DecoderLM]
) -> None:
    mixture = Mixture(make_stage(objective=objective, row=48), {"a": make_shard(30, 20, 0)}, 1)
    batch = mixture.batch(0, 1)
    documents = batch.documents[0]
    first, second = documents.unique(sorted=True)[-2:]
    model = make_model()
    changed = batch.ids.clone()
    changed[0, documents == first] = (changed[0, documents == first] + 7) % 40
    with torch.no_grad():
        before, after = (model.hidden(ids, documents=batch.documents)[0] for ids in (batch.ids, changed))
    assert torch.equal(before[documents == second], after[documents == second])
    assert not torch.allclose(before[documents == first], after[documents == first])

"""weights/objectives.py and the accumulation of its sums: what is counted, and that a split changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from weights import objectives
from weights.data.mixture import Batch, Mixture
from weights.objectives import OBJECTIVES, cross_entropy, next_token
from weights.train.loop import accumulate

Make = Callable[..., Any]


@pytest.fixture
def batch(make_shard: Make, make_stage: Make) -> Batch:
    """Packed conversations, with padding."""
    return Mixture(make_stage(objective="chat", row=24), {"a": make_shard()}, 1).batch(0, 4)


def test_the_loss_is_the_sum_over_the_targets_alone(batch: Batch, make_model: Make) -> None:
    model = make_model()
    expected = 0.0
    with torch.no_grad():
        for row in range(4):
            for document in batch.documents[row].unique():
                here = batch.documents[row] == document
                hidden = model.hidden(batch.ids[row : row + 1], documents=batch.documents[row : row + 1])
                logits = functional.linear(hidden, model.head_weight)[0, here]
                for position, target in zip(logits, batch.targets[row, here].tolist(), strict=True):
                    if target >= 0:
                        expected -= float(position.log_softmax(-1)[target])
        assert float(next_token(model, batch)) == pytest.approx(expected, rel=1e-5)


def test_more_padding_does_not_change_the_loss(batch: Batch, make_model: Make) -> None:
    model = make_model()
    pad = (0, 8)
    padded = Batch(
        functional.pad(batch.ids, pad),
        functional.pad(batch.targets, pad, value=-1),
        functional.pad(batch.documents, pad, value=-1),
    )
    with torch.no_grad():
        assert float(next_token(model, padded)) == pytest.approx(float(next_token(model, batch)), rel=1e-6)


def test_a_batch_without_a_target_costs_nothing(batch: Batch, make_model: Make) -> None:
    loss = next_token(make_model(), replace(batch, targets=torch.full_like(batch.targets, -1)))
    loss.backward()
    assert loss.item() == 0.0


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
@pytest.mark.parametrize("objective", ["lm", "chat"])
def test_gradients_of_many_small_batches_are_those_of_one_large_one(
    objective: str, micro_batch: int, tiny_run: Make
) -> None:
    results = []
    for size in (8, micro_batch):
        run = tiny_run(objective=objective, batch=8, micro_batch=size, row=24)
        counts = [int((run.mixture.batch(i, 1).targets >= 0).sum()) for i in range(8)]
        if objective == "chat":
            assert len(set(counts)) > 2  # ragged: a mean of means would be wrong
        loss = accumulate(run.model, OBJECTIVES[objective], run.stage, run.mixture, 0)
        results.append((float(loss), [p.grad for p in run.model.parameters()]))
    (large, gradients), (small, others) = results
    assert small == pytest.approx(large, abs=1e-6)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_a_batch_is_learned_by_heart_in_sixty_steps(batch: Batch, make_model: Make) -> None:
    model = make_model(d_model=32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    count = int((batch.targets >= 0).sum())
    for _ in range(60):
        optimizer.zero_grad()
        loss = next_token(model, batch) / count
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def reference(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> Any:
    logits = hidden @ weight.T
    return functional.cross_entropy(logits, targets, ignore_index=-1, reduction="sum", label_smoothing=smoothing)


def drawn(rows: int, vocabulary: int = 11, width: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """hidden, weight and targets, a third of which are none; hidden and weight want gradients."""
    generator = torch.Generator().manual_seed(rows)
    hidden, weight = (torch.randn(n, width, generator=generator).requires_grad_() for n in (rows, vocabulary))
    targets = torch.randint(0, vocabulary, (rows,), generator=generator)
    return hidden, weight, torch.where(torch.rand(rows, generator=generator) < 0.33, -1, targets)


def with_gradients(
    function: Make, hidden: Any, weight: Any, targets: Any, above: float = 1.0, smoothing: float = 0.0
) -> list[torch.Tensor]:
    """The value and both gradients, which are the sum of all calls of backward so far."""
    loss = function(hidden, weight, targets, smoothing)
    (loss * above).backward()
    return [loss.detach(), hidden.grad.clone(), weight.grad.clone()]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 17])
def test_the_loss_in_pieces_is_torchs_in_value_and_gradients(
    rows: int, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weights.objectives.LOGIT_ROWS", 4)
    ours, wanted = (with_gradients(f, *drawn(rows), above=0.3, smoothing=smoothing) for f in (cross_entropy, reference))
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-5)


def test_the_loss_in_pieces_adds_up_over_accumulated_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weights.objectives.LOGIT_ROWS", 4)
    results = []
    for function in (cross_entropy, reference):
        hidden, weight, targets = drawn(9)
        with_gradients(function, hidden, weight, targets, above=0.5)
        results.append(with_gradients(function, hidden, weight, targets.flip(0), above=2.0))
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)


def test_without_any_target_the_loss_and_its_gradients_are_zero() -> None:
    hidden, weight, targets = drawn(5)
    assert [float(x.abs().sum()) for x in with_gradients(cross_entropy, hidden, weight, targets.fill_(-1))] == [0, 0, 0]


def test_a_frozen_head_gets_no_gradient_and_what_is_below_it_does() -> None:
    hidden, weight, targets = drawn(5)
    cross_entropy(hidden, weight.requires_grad_(False), targets).backward()
    wanted = with_gradients(reference, *drawn(5))[1]
    assert weight.grad is None
    torch.testing.assert_close(hidden.grad, wanted, atol=1e-5, rtol=1e-5)


def test_in_bfloat16_the_loss_in_pieces_is_torchs_within_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weights.objectives.LOGIT_ROWS", 4)
    with torch.autocast("cpu", torch.bfloat16):
        ours = with_gradients(cross_entropy, *drawn(9))
        wanted = with_gradients(reference, *drawn(9))
    exact = with_gradients(reference, *drawn(9))
    assert [x.dtype for x in ours] == [torch.float32] * 3
    assert not torch.equal(ours[1], exact[1])  # products did run in bfloat16
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other.float(), atol=0.03, rtol=0.02)


@pytest.mark.slow
def test_compiled_the_loss_in_pieces_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weights.objectives.LOGIT_ROWS", 4)
    ours = with_gradients(torch.compile(cross_entropy), *drawn(9))
    torch.testing.assert_close(ours, with_gradients(reference, *drawn(9)), atol=1e-5, rtol=1e-5)


def test_never_more_than_a_piece_of_the_logits_exists_at_once(batch: Batch, make_model: Make, monkeypatch: Any) -> None:
    seen: list[int] = []

    def spy(logits: torch.Tensor, *rest: Any) -> Any:
        seen.append(len(logits))
        return piece(logits, *rest)

    piece = objectives._piece
    monkeypatch.setattr(objectives, "LOGIT_ROWS", 10)
    monkeypatch.setattr(objectives, "_piece", spy)
    loss = next_token(make_model(), batch)
    assert batch.n_targets == 31
    assert seen == [10] * 4  # and none for the other positions of 4 rows of 24
    loss.backward()
    assert len(seen) == 4  # the backward pass needs none

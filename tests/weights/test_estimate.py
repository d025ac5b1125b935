"""weights/estimate.py: what a dry run tells is what training does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from weights.data.mixture import Batch
from weights.estimate import estimate, flops_per_token, measure_micro_batch, memory_bytes
from weights.objectives import next_token
from weights.train.optimizer import build_optimizers

Make = Callable[..., Any]


@pytest.mark.parametrize("tied", [True, False])
def test_the_operations_are_those_that_torch_counts(tied: bool, make_model: Make) -> None:
    model = make_model(vocab_size=200, d_model=64, d_ff=128, tie_embeddings=tied)
    ids = torch.arange(3, 11)[None]
    with FlopCounterMode(display=False) as counter:
        next_token(model, Batch(ids, ids, torch.zeros_like(ids))).backward()
    assert counter.get_total_flops() / 8 == pytest.approx(flops_per_token(model.config, 8), rel=0.02)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_memory_of_weights_gradients_and_optimizer_is_what_they_take(
    optimizer: str, make_model: Make, make_stage: Make
) -> None:
    model, stage = make_model(vocab_size=5000), make_stage(optimizer=optimizer, row=1, micro_batch=1)
    optimizers = build_optimizers(model, stage)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for one in optimizers:
        one.step()
    held = [t for p in model.parameters() for t in (p, p.grad)]
    held += [t for o in optimizers for s in o.state.values() for t in s.values() if isinstance(t, torch.Tensor)]
    taken = sum(t.numel() * t.element_size() for t in held)
    assert memory_bytes(model.config, stage) == pytest.approx(taken, rel=0.05)


def test_a_stage_costs_its_steps_and_recomputation_costs_less_memory(make_model: Make, make_stage: Make) -> None:
    config = make_model().config
    stage = make_stage(tokens=1000, row=10, batch=4, micro_batch=2)
    cost = estimate(None, config, stage, 3.0)  # type: ignore[arg-type]
    assert (cost.steps, cost.seconds) == (25, 25 * 2 * 3.0)
    assert cost.flops == 1000 * flops_per_token(config, 10)
    again = make_stage(tokens=1000, row=10, batch=4, micro_batch=2, recompute=True)
    assert memory_bytes(config, again) < memory_bytes(config, stage)
    assert measure_micro_batch(config, stage, mixed=False) > 0

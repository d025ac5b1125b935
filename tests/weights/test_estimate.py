"""weights/estimate.py: what a dry run tells is what training does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engine.layers.attention import Step
from engine.layers.block import Block
from weights.data.masking import Masker
from weights.data.mixture import Batch
from weights.data.sentences import SentenceBatch
from weights.estimate import estimate, flops_per_token, measure_micro_batch, memory_bytes, stage_flops_per_token
from weights.foresight import shape_of
from weights.models.config import EncoderConfig
from weights.models.encoder import Encoder
from weights.objectives import contrastive, cross_entropy, masked_lm, next_token
from weights.recipe import read_recipe
from weights.train.optimizer import build_optimizers

Make = Callable[..., Any]
MASKED_LM = Path(__file__).parents[2] / "weights" / "recipes" / "masked-lm.toml"


@pytest.mark.parametrize("tied", [True, False])
def test_the_operations_are_those_that_torch_counts(tied: bool, make_model: Make) -> None:
    model = make_model(vocab_size=200, d_model=64, d_ff=128, tie_embeddings=tied)
    ids = torch.arange(3, 11)[None]
    with FlopCounterMode(display=False) as counter:
        next_token(model, Batch(ids, ids, torch.zeros_like(ids))).backward()
    assert counter.get_total_flops() / 8 == pytest.approx(flops_per_token(model.config, 8), rel=0.02)


@pytest.mark.parametrize("objective", ["mlm", "contrastive"])
def test_the_operations_of_an_encoder_are_those_that_torch_counts(objective: str, make_stage: Make) -> None:
    """Two rows of 40 positions; a contrastive row is two texts of 20."""
    model = Encoder(EncoderConfig(400, 64, 2, 2, 2, 32, 128))
    model.init_weights(torch.Generator().manual_seed(0))
    ids = torch.randint(5, 400, (4, 20) if objective == "contrastive" else (2, 40))
    masked = Masker(np.arange(5, 400), 4, seed=0).apply(ids, torch.zeros_like(ids), 0)
    batch: Any = masked
    if objective == "contrastive":
        batch = SentenceBatch(ids, masked.ids, masked.documents, masked.chosen, masked.targets)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # it cannot count the fused kernel
        (masked_lm if objective == "mlm" else contrastive)(model, batch).backward()
    stage = make_stage(objective=objective, row=40)
    told = stage_flops_per_token(model.config.layers(), stage)
    assert counter.get_total_flops() / 80 == pytest.approx(told, rel=0.02)
    assert told != pytest.approx(flops_per_token(model.config.layers(), 40), rel=0.1)  # a decoder's are not


def test_an_encoders_recipe_is_costed_as_an_encoder() -> None:
    recipe = read_recipe(MASKED_LM)
    config, n_parameters = shape_of(recipe)
    assert n_parameters == config.n_parameters + config.d_model**2 + config.d_model  # the matrix and norm of its head
    mlm, pairs = recipe.stage("mlm"), recipe.stage("pairs")
    for stage in (mlm, pairs):
        cost = estimate(recipe, config, stage, 0.0)
        assert cost.flops == stage.tokens * stage_flops_per_token(config, stage)
    assert memory_bytes(config, mlm) < memory_bytes(config, replace(mlm, objective="lm"))  # fewer logits


@pytest.mark.parametrize("objective", ["mlm", "contrastive"])
def test_a_pass_of_an_encoder_is_measured_with_its_mask_and_its_chosen_positions(
    objective: str, make_stage: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    class Spy(Block):
        def forward(self, x: torch.Tensor, step: Step) -> torch.Tensor:  # type: ignore[override]
            seen.update(shape=tuple(x.shape), causal=step.is_causal)
            return super().forward(x, step)

    def head(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen["told"] = int((targets >= 0).sum())
        return cross_entropy(hidden, weight, targets)

    monkeypatch.setattr("weights.estimate.Block", Spy)
    monkeypatch.setattr("weights.estimate.cross_entropy", head)
    config = EncoderConfig(50, 16, 1, 2, 2, 8, 24).layers()
    assert measure_micro_batch(config, make_stage(objective=objective, row=20, micro_batch=4), mixed=False) > 0
    shape = (4, 20, 16) if objective == "mlm" else (8, 10, 16)
    assert seen == {"shape": shape, "causal": False, "told": 12}  # 15 % of 80


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

"""weights/train/optimizer.py: who is updated by what, and what decays."""

from collections.abc import Callable
from typing import Any

import pytest
from torch.optim import AdamW, Muon

from weights.train.optimizer import build_optimizers, set_lr

Make = Callable[..., Any]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_is_in_exactly_one_group_of_one_optimizer(
    optimizer: str, tied: bool, make_model: Make, make_stage: Make
) -> None:
    model = make_model(tie_embeddings=tied, attention_bias=True, mlp_bias=True)
    built = build_optimizers(model, make_stage(optimizer=optimizer))
    held = [id(p) for o in built for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_norms_biases_embedding_and_head_do_not_decay_and_matrices_do(
    optimizer: str, make_model: Make, make_stage: Make
) -> None:
    model = make_model(tie_embeddings=False, attention_bias=True)
    built = build_optimizers(model, make_stage(optimizer=optimizer, weight_decay=0.3))
    decay = {id(p): g["weight_decay"] for o in built for g in o.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        inside = name.startswith("blocks.") and parameter.dim() == 2
        assert decay[id(parameter)] == (0.3 if inside else 0.0), name


def test_muon_has_the_matrices_of_the_blocks_alone(make_model: Make, make_stage: Make) -> None:
    model = make_model(tie_embeddings=False)
    muon, adamw = build_optimizers(model, make_stage(optimizer="muon"))
    assert isinstance(muon, Muon)
    assert isinstance(adamw, AdamW)
    names = {id(p): n for n, p in model.named_parameters()}
    mine = {names[id(p)] for g in muon.param_groups for p in g["params"]}
    assert mine == {n for n, p in model.named_parameters() if n.startswith("blocks.") and p.dim() == 2}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_one_rate_is_set_for_all(optimizer: str, make_model: Make, make_stage: Make) -> None:
    built = build_optimizers(make_model(), make_stage(optimizer=optimizer))
    set_lr(built, 0.123)
    assert {g["lr"] for o in built for g in o.param_groups} == {0.123}

"""An encoder-decoder with experts: it learns, and its cache gives what its training sees."""

import pytest
from toys import accuracy, learn, toy_model

from engine.config import ExpertsConfig


@pytest.mark.parametrize(
    ("steps", "lr", "wanted"), [(120, 8e-3, 0.5), pytest.param(250, 6e-3, 0.95, marks=pytest.mark.slow)]
)
def test_experts_on_both_sides_learn_to_copy_and_decode_as_they_read(steps: int, lr: float, wanted: float) -> None:
    experts = ExpertsConfig(4, 32, n_chosen=2, d_shared=16, capacity=2.0, dense_layers=(0,))
    model = toy_model(experts=experts)
    names = {name for name, p in model.named_parameters() if p.dim() == 3}
    assert names == {f"{side}.blocks.1.mlp.{m}.weight" for side in ("encoder", "decoder") for m in ("up", "down")}
    learn(model, list, steps, lr)
    assert accuracy(model, list) >= wanted  # greedily, from the cache

"""weights/train/lora.py: the base is frozen, the parts learn, and what is saved is what was trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.adapter import AdapterConfig, apply_adapter
from engine.decoder import DecoderLM
from engine.errors import CheckpointError
from engine.layers.low_rank import LowRankLinear
from weights.objectives import OBJECTIVES
from weights.train.loop import Run, accumulate, train
from weights.train.lora import attach, low_rank_parts, save_attached
from weights.train.optimizer import build_optimizers

Make = Callable[..., Any]
CONFIG = AdapterConfig(4, 8)
IDS = torch.randint(3, 40, (2, 16), generator=torch.Generator().manual_seed(5))
SHAPES: list[dict[str, Any]] = [
    {},
    {"n_kv_heads": 2, "tie_embeddings": False},
    {"attention_bias": True, "mlp_bias": True},
]
TARGETS = [None, ("q_proj", "v_proj"), ("k_proj", "up_proj"), ("o_proj",), ("gate_proj", "layers.1.mlp.down_proj")]


def trained(
    tiny_run: Make, home: Path, config: AdapterConfig = CONFIG, cuts: tuple[int, ...] = (), **changes: Any
) -> Any:
    """A tiny run with LoRA, to its end, in as many pieces as there are cuts and one more."""
    for cut in (*cuts, None):
        made = tiny_run(**changes)
        attach(made.model, config, seed=7)
        assert train(made.model, made.stage, made.mixture, Run(home, "f", stop_after=cut)) is (cut is None)
    return made


def base_of(model: DecoderLM) -> dict[str, torch.Tensor]:
    """The parameters of the base, by the names that they have without parts."""
    return {n.replace(".base.", "."): p for n, p in model.named_parameters() if not n.endswith((".a", ".b"))}


@pytest.mark.parametrize("shape", SHAPES, ids=["gqa", "mha untied", "biases"])
@pytest.mark.parametrize("targets", TARGETS, ids=str)
def test_at_step_0_the_model_is_its_base_bit_for_bit(shape: Any, targets: Any, make_model: Make) -> None:
    model, base = make_model(**shape), make_model(**shape)
    attach(model, AdapterConfig(4, 8, targets, dropout=0.3), seed=1)
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(IDS), base(IDS))
    assert all(map(torch.equal, base_of(model).values(), base.state_dict().values()))


@pytest.mark.parametrize("shape", SHAPES, ids=["gqa", "mha untied", "biases"])
@pytest.mark.parametrize("targets", TARGETS, ids=str)
def test_merged_logits_are_those_of_base_and_parts(shape: Any, targets: Any, make_model: Make, tmp_path: Path) -> None:
    """Q4"""
    model, base = make_model(**shape), make_model(**shape)
    config = AdapterConfig(3, 5, targets, rslora=True)
    attach(model, config, seed=1)
    for n, part in enumerate(low_rank_parts(model)):
        torch.nn.init.normal_(part.b, std=0.3, generator=torch.Generator().manual_seed(n))
    save_attached(tmp_path / "adapter", model, config, "base")
    plain = base(IDS)
    apply_adapter(base, tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(base(IDS), model(IDS), atol=1e-5, rtol=0)
        assert (base(IDS) - plain).abs().max() > 0.01


def test_only_a_and_b_learn_and_only_they_reach_an_optimizer(make_model: Make, make_stage: Make) -> None:
    for optimizer in ("adamw", "muon"):
        model = make_model()
        attach(model, CONFIG, seed=1)
        parts = {id(p) for part in low_rank_parts(model) for p in (part.a, part.b)}
        assert len(parts) == 2 * 7 * model.config.n_layers
        assert {id(p) for p in model.parameters() if p.requires_grad} == parts
        built = build_optimizers(model, make_stage(optimizer=optimizer))
        assert {id(p) for o in built for g in o.param_groups for p in g["params"]} == parts


def test_a_model_attached_to_some_targets_has_no_other_parts(make_model: Make) -> None:
    model = make_model()
    attach(model, AdapterConfig(4, 8, ("v_proj", "q_proj")), seed=1)
    names = [part.name for part in low_rank_parts(model)]
    assert names == [f"model.layers.{i}.self_attn.{x}_proj" for i in range(2) for x in "qv"]
    assert not isinstance(model.blocks[0].attention.out, LowRankLinear)
    with pytest.raises(CheckpointError, match="'w_proj' is no projection"):
        attach(make_model(), AdapterConfig(4, 8, ("w_proj",)), seed=1)


def test_the_gradients_of_a_and_b_are_those_of_the_whole_matrix_by_the_chain_rule(make_model: Make) -> None:
    """dL/dB = s · dL/dW · Aᵀ and dL/dA = s · Bᵀ · dL/dW, with W's rows from a merged model that is trained whole."""
    model, merged = make_model(), make_model()
    attach(model, CONFIG, seed=1)
    rows = {}
    for n, part in enumerate(low_rank_parts(model)):
        torch.nn.init.normal_(part.b, std=0.1, generator=torch.Generator().manual_seed(n))
    for name, module in model.named_modules():
        if isinstance(module, LowRankLinear):
            weight = merged.get_submodule(name).weight
            for part in module.parts:
                rows[part.name] = (part, weight, slice(part.start, part.stop))
                weight.data[part.start : part.stop] += part.scale * part.b.data @ part.a.data
    model(IDS).square().mean().backward()
    merged(IDS).square().mean().backward()
    assert len(rows) == 14
    for part, weight, where in rows.values():
        whole = weight.grad[where]
        torch.testing.assert_close(part.b.grad, part.scale * whole @ part.a.T, atol=1e-6, rtol=1e-3)
        torch.testing.assert_close(part.a.grad, part.scale * part.b.T @ whole, atol=1e-6, rtol=1e-3)
    assert all(p.grad is None for p in base_of(model).values())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_after_training_the_base_is_as_it_was_bit_for_bit_and_the_parts_are_not(
    optimizer: str, tiny_run: Make, tmp_path: Path
) -> None:
    before = tiny_run().model
    made = trained(tiny_run, tmp_path / "run", optimizer=optimizer)
    assert all(map(torch.equal, base_of(made.model).values(), before.state_dict().values()))
    assert all(part.b.abs().max() > 0 for part in low_rank_parts(made.model))
    save_attached(tmp_path / "adapter", made.model, CONFIG, "base")
    apply_adapter(before.requires_grad_(False), tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(before(IDS), made.model(IDS), atol=1e-5, rtol=0)


def test_a_cut_and_resumed_run_gives_the_same_adapter_bit_for_bit(tiny_run: Make, tmp_path: Path) -> None:
    """D2"""
    config = AdapterConfig(4, 8, dropout=0.2)
    for name, cuts in (("whole", ()), ("pieces", (1, 6))):
        made = trained(tiny_run, tmp_path / f"{name} run", config, cuts)
        save_attached(tmp_path / name, made.model, config, "base")
    one, other = (load_file(tmp_path / n / "adapter_model.safetensors") for n in ("whole", "pieces"))
    assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_the_seed_decides_where_a_begins(make_model: Make) -> None:
    def begun(seed: int) -> list[torch.Tensor]:
        model = make_model()
        attach(model, CONFIG, seed)
        return [part.a for part in low_rank_parts(model)]

    assert all(map(torch.equal, begun(1), begun(1)))
    assert not any(map(torch.equal, begun(1), begun(2)))


def test_dropout_is_on_the_input_of_the_parts_in_training_alone(tiny_run: Make) -> None:
    """D5"""
    made = tiny_run()
    attach(made.model, AdapterConfig(4, 8, dropout=0.5), seed=1)
    for part in low_rank_parts(made.model):
        torch.nn.init.constant_(part.b, 0.05)
    made.model.eval()
    with torch.no_grad():
        assert torch.equal(made.model(IDS), made.model(IDS))
        calm = made.model(IDS)
        made.model.train()
        assert not torch.equal(made.model(IDS), made.model(IDS))
        (x,) = torch.randn(1, 4, 16)
        linear = made.model.blocks[0].mlp.gate_up
        assert torch.equal(linear.eval()(x), linear(x))
        assert torch.equal(made.model.eval()(IDS), calm)


def test_accumulated_gradients_do_not_depend_on_the_micro_batches(tiny_run: Make) -> None:
    """D4"""
    gradients = []
    for micro_batch in (4, 1):
        made = tiny_run(micro_batch=micro_batch, objective="chat")
        attach(made.model, CONFIG, seed=1)
        accumulate(made.model, OBJECTIVES["chat"], made.stage, made.mixture, 0)
        gradients.append([p.grad for p in made.model.parameters() if p.grad is not None])
    assert len(gradients[0]) == 28
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)

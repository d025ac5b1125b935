"""Experts in training: their losses reach the objective and not the told loss, recomputation, balance, recipes."""

import copy
import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import AdamW, Muon

from engine.config import ExpertsConfig
from engine.decoder import DecoderLM
from engine.errors import DataError
from engine.tokenizer import SentencePieceTokenizer
from weights.compare.experts import expert_load, expert_variants
from weights.data.mixture import Batch, Mixture
from weights.data.shards import Shard
from weights.estimate import flops_per_token
from weights.models.config import EncoderConfig, Seq2SeqConfig, config_from
from weights.models.encoder import Encoder
from weights.models.encoder_checkpoint import load_encoder, save_encoder
from weights.objectives import next_token
from weights.recipe import model_config, read_recipe, recipe_from
from weights.train.loop import Run, train
from weights.train.optimizer import build_optimizers
from weights.train.state import load_state
from weights.translation_recipe import read_translator_recipe
from weights.workshop import _told

Make = Callable[..., Any]
EXPERTS = ExpertsConfig(4, 16, n_chosen=2)
RECIPES = Path(__file__).parents[2] / "weights" / "recipes"


@pytest.fixture
def batch(make_shard: Make, make_stage: Make) -> Batch:
    """Packed conversations, with padding."""
    return Mixture(make_stage(objective="chat", row=24), {"a": make_shard()}, 1).batch(0, 4)


def gradients(model: DecoderLM, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_the_told_loss_is_that_of_the_tokens_and_the_gradient_has_the_routers_part(
    batch: Batch, make_model: Make
) -> None:
    silent = make_model(experts=replace(EXPERTS, balance=0.0, router_z=0.0))
    model = make_model(experts=replace(EXPERTS, balance=0.1, router_z=0.2))
    quiet, loud = next_token(silent, batch), next_token(model, batch)
    assert torch.equal(quiet, loud)
    losses: list[torch.Tensor] = []
    model.hidden(batch.ids, documents=batch.documents, router_losses=losses)
    assert len(losses) == 2  # one of each layer
    of_tokens, of_routers = gradients(silent, quiet), gradients(model, sum(losses) * batch.n_targets)
    for name, both in gradients(model, loud).items():
        expected = of_tokens[name] + of_routers.get(name, 0.0)
        assert torch.allclose(both, expected, atol=1e-4, rtol=1e-3), name
    assert of_routers["blocks.0.mlp.router.weight"].abs().max() > 0


def test_capacity_holds_in_training_alone(batch: Batch, make_model: Make) -> None:
    free, full = (make_model(experts=replace(EXPERTS, capacity=c)) for c in (None, 0.25))
    assert torch.equal(free(batch.ids), full(batch.ids))
    assert float(next_token(free, batch).detach()) != float(next_token(full, batch).detach())


def told_losses(home: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (home / "metrics.jsonl").read_text().splitlines()]


def test_recomputation_changes_no_number_of_experts(tiny_run: Make, make_model: Make, tmp_path: Path) -> None:
    for name, recompute in (("plain", False), ("recomputed", True)):
        made = tiny_run(recompute=recompute, dropout=0.1, tokens=512)
        model = make_model(1, experts=replace(EXPERTS, capacity=1.0, balance=0.1))
        assert train(model, made.stage, made.mixture, Run(tmp_path / name, "f"))
    states = [load_state(tmp_path / name) for name in ("plain", "recomputed")]
    assert told_losses(tmp_path / "plain") == told_losses(tmp_path / "recomputed")
    assert states[0] is not None and states[1] is not None
    for name, weights in states[0]["model"].items():
        assert torch.equal(weights, states[1]["model"][name]), name


def lopsided(model: DecoderLM) -> DecoderLM:
    """The model with routers that all begin with a taste for expert 0, and hidden states that it likes."""
    with torch.no_grad():
        model.embedding.weight[:, 0] += 1.0
        for block in model.blocks:
            block.mlp.router.weight[0, 0] += 0.3
    return model


@pytest.mark.parametrize("balance", [0.0, 0.1])
def test_the_balance_loss_spreads_the_load(balance: float, make_stage: Make, make_model: Make, tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 40, (3000,), generator=rng).numpy().astype("uint16")
    shard = Shard(ids, ids * 0 + 1, torch.arange(0, 3001, 50).numpy())
    stage = make_stage(tokens=8000, row=32, batch=8, micro_batch=8, lr=5e-3)
    mixture = Mixture(stage, {"a": shard}, 0)
    model = lopsided(make_model(experts=ExpertsConfig(4, 16, balance=balance, router_z=0.0)))
    rows = [mixture.batch(0, 8)]
    before = expert_load(model, rows)["busiest"]
    assert before > 3.9  # of 4: almost all tokens
    assert train(model, stage, mixture, Run(tmp_path, "f"))
    after = expert_load(model, rows)
    assert sum(after[f"load 0.{e}"] for e in range(4)) == pytest.approx(4)
    assert after["busiest"] < 3 if balance else after["busiest"] > 3.9  # 2.3 and 4.0, with these seeds


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_experts_decay_and_have_adamw(optimizer: str, make_model: Make, make_stage: Make) -> None:
    model = make_model(experts=EXPERTS)
    built = build_optimizers(model, make_stage(optimizer=optimizer, weight_decay=0.3))
    groups = [(o, g, id(p)) for o in built for g in o.param_groups for p in g["params"]]
    assert sorted(i for _, _, i in groups) == sorted(id(p) for p in model.parameters())
    kinds = {i: (type(o), g["weight_decay"]) for o, g, i in groups}
    assert kinds[id(model.blocks[0].mlp.up.weight)] == (AdamW, 0.3)
    router = kinds[id(model.blocks[0].mlp.router.weight)]
    assert router == (Muon if optimizer == "muon" else AdamW, 0.3)


def with_experts(**changes: Any) -> dict[str, Any]:
    """The tables of tiny.toml with experts."""
    table: dict[str, Any] = tomllib.loads((RECIPES / "tiny.toml").read_text(encoding="utf-8"))
    table["model"]["experts"] = {"n_experts": 4, "d_expert": 96} | changes
    return table


def test_a_recipe_may_have_experts() -> None:
    recipe = recipe_from(with_experts(dense_layers=[0], capacity=2))
    config = model_config(recipe, 600, (2,))
    assert config.experts == ExpertsConfig(4, 96, dense_layers=(0,), capacity=2)
    assert json.loads(recipe.as_json())["model"]["experts"]["n_experts"] == 4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"n_expert": 3}, "model.experts: unknown key 'n_expert'. Did you mean 'n_experts'"),
        ({"capacity": "all"}, "capacity cannot be 'all'; it must be a number"),
        ({"n_chosen": 9}, "9 cannot be chosen of 4"), ({"dense_layers": 1}, "dense_layers cannot be 1"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_recipes_experts_is_told_by_name(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        recipe_from(with_experts(**changes))
    table = with_experts()
    del table["model"]["experts"]["d_expert"]
    with pytest.raises(DataError, match=r"model\.experts: the key 'd_expert' is missing"):
        recipe_from(table)


def test_a_recipe_without_experts_has_the_fingerprint_that_it_had() -> None:
    assert "experts" not in _told(read_recipe(RECIPES / "tiny.toml").model)
    assert "experts" in _told(recipe_from(with_experts()).model)


def test_a_translators_recipe_may_have_experts() -> None:
    overrides = ("model.experts.n_experts=4", "model.experts.d_expert=32", "model.experts.dense_layers=[0]")
    config = read_translator_recipe(RECIPES / "translator.toml", overrides).config(512, 1, 2, 3)
    assert isinstance(config, Seq2SeqConfig) and config.experts == ExpertsConfig(4, 32, dense_layers=(0,))
    assert config.layers(1).experts == replace(config.experts, dense_layers=(0,))
    with pytest.raises(DataError, match="Did you mean 'n_experts'"):
        read_translator_recipe(RECIPES / "translator.toml", (*overrides, "model.experts.n_expert=4"))


def test_an_encoder_may_have_experts_and_is_read_back(tokenizer: SentencePieceTokenizer, tmp_path: Path) -> None:
    shape = {"d_model": 16, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "head_dim": 8, "d_ff": 24}
    config = EncoderConfig(tokenizer.vocab_size, **shape, experts=replace(EXPERTS, dense_layers=(1,)))
    model = Encoder(config)
    model.init_weights(torch.Generator().manual_seed(0))
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 3, 3]])  # 3 pads
    alone, padded = model(ids[1:, :2]), model(ids)[1:, :2]
    assert torch.allclose(alone, padded, atol=1e-5)
    losses: list[torch.Tensor] = []
    model.hidden(ids, router_losses=losses)
    assert len(losses) == 1 and float(losses[0].detach()) > 0
    save_encoder(tmp_path / "m", model, tokenizer.path, dtype=torch.float32)
    read, _ = load_encoder(tmp_path / "m")
    assert read.config == config and torch.equal(read(ids), model(ids))


def test_nested_experts_of_a_config_file_are_a_config() -> None:
    raw = {
        "vocab_size": 16, "d_model": 8, "n_encoder_layers": 1, "n_decoder_layers": 2, "n_heads": 2, "n_kv_heads": 1,
        "head_dim": 4, "d_ff": 8, "experts": {"n_experts": 2, "d_expert": 8, "dense_layers": [1]},
    }  # fmt: skip
    assert config_from(Seq2SeqConfig, copy.deepcopy(raw)).experts == ExpertsConfig(2, 8, dense_layers=(1,))


def test_variants_of_the_comparison_have_equal_active_parameters() -> None:
    dense, *others = (v.config for v in expert_variants(500))
    routers = dense.n_layers * dense.d_model
    for config in others:
        assert config.experts is not None
        assert config.n_active_parameters == dense.n_active_parameters + routers * config.experts.n_experts
        assert config.n_parameters > 2 * dense.n_parameters
        assert flops_per_token(config, 128) < 1.1 * flops_per_token(dense, 128)

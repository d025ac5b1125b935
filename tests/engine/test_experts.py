"""Experts: grouped dispatch against the plain loop, capacity, the routers' losses, decoding, directories."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import TINY, random_ids, tiny_model
from torch import Tensor
from torch.nn import functional

from engine.adapter import linear_targets
from engine.cache import KVCache
from engine.checkpoint import load_config, load_model, save_checkpoint
from engine.config import ExpertsConfig, ModelConfig
from engine.decoder import DecoderLM
from engine.errors import CheckpointError, ModelError
from engine.families import read_config, write_config
from engine.layers.experts import Experts, balance_loss, z_loss
from engine.layers.feedforward import ACTIVATIONS
from engine.layers.grouped import grouped_linear, outer, product
from engine.naive import naive_logits
from engine.routing import chosen_experts

KINDS: dict[str, ModelConfig] = {
    "top-1": replace(TINY, experts=ExpertsConfig(4, 24)),
    "top-2": replace(TINY, experts=ExpertsConfig(4, 24, n_chosen=2)),
    "Mixtral": replace(TINY, d_ff=24, experts=ExpertsConfig(4, 24, n_chosen=2, renormalise=True)),
    "shared": replace(TINY, experts=ExpertsConfig(5, 16, n_chosen=3, d_shared=20)),
    "gated shared": replace(TINY, experts=ExpertsConfig(4, 24, d_shared=20, shared_gate=True, dense_layers=(1,))),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def layer(config: ModelConfig = KINDS["top-1"], seed: int = 0) -> Experts:
    """A layer of experts with random weights that have gradients."""
    made = Experts(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / p.shape[-1] ** 0.5)
    return made


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plainly(experts: Experts, x: Tensor) -> Tensor:
    """The definition: a loop over tokens, and for each over all experts. x: B T C."""
    config = experts.experts
    rows = []
    for token in x.flatten(0, 1):
        probs = (experts.router.weight @ token).softmax(-1)
        order = sorted(range(config.n_experts), key=(-probs).tolist().__getitem__)[: config.n_chosen]
        total = sum(probs[e] for e in order) if config.renormalise else 1.0
        y = torch.zeros_like(token)
        for e in range(config.n_experts):
            if e in order:
                h = experts.up.weight[e] @ token
                if experts.is_gated:
                    gate, up = h.chunk(2)
                    h = experts.activation(gate) * up
                else:
                    h = experts.activation(h)
                y = y + probs[e] / total * (experts.down.weight[e] @ h)
        if experts.shared is not None:
            gate = 1.0 if experts.shared_gate is None else torch.sigmoid(experts.shared_gate.weight[0] @ token)
            y = y + gate * experts.shared(token)
        rows.append(y)
    return torch.stack(rows).view_as(x)


@pytest.mark.parametrize("activation", ["swiglu", "relu"])
@kinds
def test_grouped_dispatch_and_its_gradients_are_those_of_the_plain_loop(kind: str, activation: Any) -> None:
    experts = layer(replace(KINDS[kind], activation=activation))
    results = []
    for compute in (experts, lambda x: plainly(experts, x)):
        experts.zero_grad()
        x = noise(2, 7, 32).requires_grad_()
        y = compute(x)
        y.square().sum().backward()
        results.append([y, x.grad, *(p.grad for p in experts.parameters())])
    for ours, wanted in zip(*results, strict=True):
        assert ours is not None and wanted is not None and wanted.abs().max() > 0
        assert torch.allclose(ours, wanted, atol=1e-4, rtol=1e-4)


@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=5), spare=st.integers(0, 2))
def test_a_product_of_runs_is_a_product_for_each(counts: list[int], spare: int) -> None:
    ends = torch.tensor(counts).cumsum(0)
    n = sum(counts)
    x, weight, grad = noise(n + spare, 3), noise(len(counts), 5, 3, seed=1), noise(n + spare, 5, seed=2)
    starts = [0, *ends.tolist()]
    y, of_weight = product(x, weight, ends), outer(grad, x, ends)
    for e, count in enumerate(counts):
        run = slice(starts[e], starts[e] + count)
        assert torch.allclose(y[run], x[run] @ weight[e].T, atol=1e-6)
        assert torch.allclose(of_weight[e], grad[run].T @ x[run], atol=1e-6)
    assert torch.equal(y[n:], torch.zeros(spare, 5))


def test_the_gradient_of_a_grouped_product_is_that_of_finite_differences() -> None:
    x, weight = noise(6, 3).double().requires_grad_(), noise(3, 2, 3, seed=1).double().requires_grad_()
    ends = torch.tensor([2, 2, 5])
    assert torch.autograd.gradcheck(lambda x, w: grouped_linear(x, w, ends), (x, weight))


def test_a_grouped_product_follows_autocast() -> None:
    x, weight, ends = noise(4, 8), noise(2, 8, 8, seed=1), torch.tensor([1, 4])
    with torch.autocast("cpu", torch.bfloat16):
        half = grouped_linear(x, weight, ends)
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.float(), product(x, weight, ends), atol=0.1)


@kinds
def test_the_model_is_the_plain_one_in_prefill_and_in_decoding(kind: str) -> None:
    model, ids = tiny_model(KINDS[kind]), random_ids(12)
    plain = naive_logits(model, ids)
    assert torch.allclose(model(torch.tensor([ids]))[0], plain, atol=1e-4)
    cache = KVCache(model.config)
    steps = [model(torch.tensor([[i]]), cache)[0, 0] for i in ids]
    assert torch.allclose(torch.stack(steps), plain, atol=1e-4)


@pytest.mark.parametrize("count", [1, 3])
def test_experts_that_no_token_takes_are_not_touched(count: int) -> None:
    experts = layer(KINDS["top-2"]).requires_grad_(False)
    x = noise(1, 1, 32).expand(1, count, 32)
    wanted = experts(x)
    taken = experts.route(x[0])[2].unique()
    for e in set(range(4)) - set(taken.tolist()):
        experts.up.weight[e] = experts.down.weight[e] = torch.nan
    assert torch.equal(experts(x), wanted) and wanted.isfinite().all()


def one_sided(capacity: float | None, n_experts: int = 4, k: int = 1) -> Experts:
    """Experts whose router prefers 0, then 1, and so on, for every token whose first number is positive."""
    config = replace(TINY, experts=ExpertsConfig(n_experts, 24, n_chosen=k, capacity=capacity))
    experts = layer(config).requires_grad_(False)
    experts.router.weight.zero_()
    experts.router.weight[:, 0] = torch.arange(n_experts, 0, -1.0)
    return experts


def test_over_capacity_a_token_goes_on_by_the_residual_path_alone() -> None:
    experts = one_sided(capacity=2.0)
    x = noise(1, 8, 32)
    x[..., 0] = 1.0
    whole, capped = experts(x), experts(x, [])
    room = 4  # 2.0 · 8 tokens / 4 experts
    assert torch.allclose(capped[0, :room], whole[0, :room], atol=1e-6)
    assert torch.equal(capped[0, room:], torch.zeros(8 - room, 32)) and whole[0, room:].abs().min() > 0


def test_first_choices_go_before_second_ones_and_padding_takes_no_place() -> None:
    experts = one_sided(capacity=1.0, n_experts=2, k=2)
    chosen = torch.tensor([[0, 1], [0, 1], [1, 0], [1, 0]])
    # 1.0 · 2 · 4 / 2 = 4 each: all fit. At half of that, two first choices fill each expert.
    assert torch.equal(experts._within_capacity(chosen, None), chosen)
    experts.experts = replace(experts.experts, capacity=0.5)
    assert experts._within_capacity(chosen, None).tolist() == [[0, 2], [0, 2], [1, 2], [1, 2]]
    real = torch.tensor([False, True, True, True])
    # Three tokens: 0.5 · 2 · 3 / 2 = 1.5, so one each; the padding in front has no place at all.
    assert experts._within_capacity(chosen, real).tolist() == [[2, 2], [0, 2], [1, 2], [2, 2]]


def test_padding_changes_neither_the_loss_nor_what_others_become() -> None:
    experts = layer(replace(TINY, experts=ExpertsConfig(4, 24, capacity=1.0))).requires_grad_(False)
    x = noise(2, 6, 32)
    real = torch.ones(2, 6, dtype=torch.bool)
    real[:, 4:] = False
    few: list[Tensor] = []
    all_of: list[Tensor] = []
    short, long = experts(x[:, :4], few), experts(x, all_of, real)
    assert torch.allclose(few[0], all_of[0], atol=1e-6)
    assert torch.allclose(short, long[:, :4], atol=1e-6)
    assert torch.equal(long[:, 4:], torch.zeros(2, 2, 32))


@given(n=st.integers(1, 9), k=st.integers(1, 3), seed=st.integers(0, 99))
def test_the_routers_losses_are_their_formulas(n: int, k: int, seed: int) -> None:
    logits = 3 * noise(n, 4, seed=seed)
    chosen = logits.topk(k).indices
    share = torch.full((n,), 1 / n)
    probs = logits.softmax(-1)
    load = [sum(e in row for row in chosen.tolist()) / (n * k) for e in range(4)]
    expected = 4 * sum(load[e] * float(probs[:, e].mean()) for e in range(4))
    assert float(balance_loss(logits, chosen, share)) == pytest.approx(expected, rel=1e-4)
    squares = [float(torch.log(row.exp().sum())) ** 2 for row in logits]
    assert float(z_loss(logits, share)) == pytest.approx(sum(squares) / n, rel=1e-4)


def test_the_balance_loss_is_one_when_even_and_the_number_of_experts_when_one_takes_all() -> None:
    share = torch.full((8,), 1 / 8)
    even = 50 * functional.one_hot(torch.arange(8) % 4).float()
    alone = 50 * functional.one_hot(torch.zeros(8, dtype=torch.long), 4).float()
    for logits, wanted in ((even, 1.0), (alone, 4.0)):
        assert float(balance_loss(logits, logits.topk(1).indices, share)) == pytest.approx(wanted)


def test_what_a_layer_appends_is_both_losses_weighted() -> None:
    experts = layer(replace(TINY, experts=ExpertsConfig(4, 24, balance=0.5, router_z=0.25)))
    x, losses = noise(1, 9, 32), list[Tensor]()
    experts(x, losses)
    logits, _, chosen = experts.route(x[0])
    share = torch.full((9,), 1 / 9)
    expected = 0.5 * balance_loss(logits, chosen, share) + 0.25 * z_loss(logits, share)
    assert len(losses) == 1 and torch.allclose(losses[0], expected)


@kinds
def test_parameters_are_counted_and_those_that_a_token_meets(kind: str) -> None:
    config = KINDS[kind]
    parameters = dict(DecoderLM(config).named_parameters())
    assert config.n_parameters == sum(p.numel() for p in parameters.values())
    stacked = sum(p.numel() for p in parameters.values() if p.dim() == 3)
    e = config.experts
    assert e is not None
    assert config.n_active_parameters == config.n_parameters - stacked + stacked * e.n_chosen // e.n_experts
    assert TINY.n_active_parameters == TINY.n_parameters


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_experts": 0}, "n_experts"), ({"n_experts": True}, "n_experts"), ({"d_expert": 1.5}, "d_expert"),
        ({"n_chosen": 5}, "5 cannot be chosen of 4"), ({"n_chosen": 0}, "n_chosen"), ({"d_shared": -1}, "d_shared"),
        ({"shared_gate": True}, "shared_gate needs a shared part"), ({"renormalise": 1}, "renormalise"),
        ({"capacity": 0.0}, "capacity"), ({"capacity": "2"}, "capacity"), ({"balance": -0.1}, "balance"),
        ({"router_z": float("inf")}, "router_z"), ({"dense_layers": (-1,)}, "dense_layers"),
    ],
)  # fmt: skip
def test_impossible_experts_are_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        ExpertsConfig(**({"n_experts": 4, "d_expert": 24} | changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"mlp_bias": True}, "no biases"), ({"experts": ExpertsConfig(4, 24, dense_layers=(2,))}, "beyond the 2")],
)
def test_a_model_that_cannot_have_such_experts_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        replace(TINY, **({"experts": ExpertsConfig(4, 24)} | changes))


@kinds
def test_a_directory_with_experts_is_read_back_as_it_was(kind: str, tmp_path: Path) -> None:
    config = KINDS[kind]
    save_checkpoint(tmp_path / "m", tiny_model(config), dtype=torch.float32)
    told = json.loads((tmp_path / "m" / "config.json").read_text())
    assert told["architectures"] == ["MixtralForCausalLM" if kind == "Mixtral" else "TfmExpertsForCausalLM"]
    read = load_config(tmp_path / "m")
    assert read == config
    model = load_model(tmp_path / "m", read, torch.float32, torch.device("cpu"))
    for (name, p), q in zip(tiny_model(config).named_parameters(), model.parameters(), strict=True):
        assert torch.equal(p, q), name


def test_a_mixtral_of_transformers_is_ours_and_ours_is_a_mixtral(tmp_path: Path) -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    torch.manual_seed(0)
    theirs = MixtralForCausalLM(
        MixtralConfig(
            vocab_size=64, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, num_local_experts=4, num_experts_per_tok=2,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for name, p in theirs.named_parameters():
            p.copy_(torch.randn(p.shape) * (0.2 if p.dim() > 1 else 0.1) + ("norm" in name))
    theirs.save_pretrained(tmp_path / "theirs")
    config = load_config(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs", config, torch.float32, torch.device("cpu"))
    ids = torch.tensor([random_ids(20)])
    with torch.no_grad():
        wanted = theirs(ids).logits
        assert wanted.std() > 0.5 and torch.allclose(ours(ids), wanted, atol=1e-4)
        save_checkpoint(tmp_path / "ours", ours, dtype=torch.float32)
        again = MixtralForCausalLM.from_pretrained(tmp_path / "ours")
        assert torch.allclose(again(ids).logits, wanted, atol=1e-4)


def test_what_mixtral_leaves_out_of_its_config_is_what_transformers_assumes() -> None:
    bare = {
        "architectures": ["MixtralForCausalLM"], "vocab_size": 64, "hidden_size": 32, "intermediate_size": 24,
        "num_hidden_layers": 1, "num_attention_heads": 8,
    }  # fmt: skip
    config = read_config(bare)
    assert (config.rope_theta, config.max_positions, config.n_kv_heads) == (1e6, 131072, 8)
    assert config.experts == ExpertsConfig(8, 24, n_chosen=2, renormalise=True, balance=0.001)
    assert config.window is None and read_config(bare | {"sliding_window": 4096}).window == 4096


@pytest.mark.parametrize(("wrong", "says"), [({"n_expert": 4}, "n_expert"), ({"n_experts": 0}, "n_experts"), (7, "7")])
def test_experts_in_a_config_that_make_no_sense_are_refused(wrong: Any, says: str) -> None:
    told = write_config(KINDS["top-1"])
    with pytest.raises(CheckpointError, match=says):
        read_config(told | {"experts": {**told["experts"], **wrong} if isinstance(wrong, dict) else wrong})


def test_adapters_leave_experts_and_routers_alone() -> None:
    names = {target.module.rpartition(".")[2] for target in linear_targets(tiny_model(KINDS["Mixtral"]))}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_chosen_experts_are_the_routers_choices_by_layer() -> None:
    model, ids = tiny_model(KINDS["gated shared"]), random_ids(9)
    chosen = chosen_experts(model, ids)
    assert list(chosen) == [0]  # the other layer is dense
    block = model.blocks[0]
    x = model.embedding(torch.tensor([ids]))
    step = model._step(0, len(ids), x, None, 0.0)
    h = block.mlp_norm(block._attended(x, step, None))
    assert chosen[0] == block.mlp.router(h)[0].topk(1).indices.tolist()
    with pytest.raises(ModelError, match="no experts"):
        chosen_experts(tiny_model(), ids)


@pytest.mark.slow
def test_a_compiler_sees_the_experts_as_one_graph() -> None:
    experts = layer(replace(TINY, experts=ExpertsConfig(4, 24, n_chosen=2, capacity=1.0)))
    x, real = noise(2, 8, 32), torch.arange(8).expand(2, 8) < 6

    def step(x: Tensor) -> Tensor:
        losses: list[Tensor] = []
        return experts(x, losses, real).square().sum() + losses[0]

    step(x).backward()
    wanted = [p.grad.clone() for p in experts.parameters()]
    experts.zero_grad()
    torch.compile(step, fullgraph=True)(x).backward()
    for p, grad in zip(experts.parameters(), wanted, strict=True):
        assert torch.allclose(p.grad, grad, atol=1e-5)


def test_every_activation_has_experts() -> None:
    for activation in ACTIVATIONS:
        experts = layer(replace(KINDS["top-1"], activation=activation)).requires_grad_(False)
        x = noise(1, 3, 32)
        assert torch.allclose(experts(x), plainly(experts, x), atol=1e-5)

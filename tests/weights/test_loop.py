"""weights/train/loop.py: a run that is cut and goes on is a run that was not cut."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import DataError
from weights.prove import same
from weights.train import loop
from weights.train.loop import Run, train
from weights.train.state import load_state, states, trained_weights

Make = Callable[..., Any]
STEPS = 14  # a little more than the 1024 tokens of the stage need


def losses(home: Path) -> list[float]:
    rows = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    return [r["loss"] for r in rows if "loss" in r]


def run_to_the_end(tiny_run: Make, home: Path, cuts: tuple[int, ...] = (), **changes: Any) -> Any:
    """Train in as many pieces as there are cuts and one more, each with a fresh model; the last model."""
    for cut in (*cuts, None):
        made = tiny_run(**changes)
        done = train(made.model, made.stage, made.mixture, Run(home, "f", stop_after=cut))
        assert done is (cut is None)
        torch.rand(3)  # another process would not have this one's random state
    assert len(losses(home)) == made.mixture.n_steps
    return made


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("objective", ["lm", "chat"])
def test_a_cut_and_resumed_run_equals_an_uncut_one_bit_for_bit(
    optimizer: str, objective: str, tiny_run: Make, tmp_path: Path
) -> None:
    changes = {"optimizer": optimizer, "objective": objective}
    whole = run_to_the_end(tiny_run, tmp_path / "whole", **changes)
    pieces = run_to_the_end(tiny_run, tmp_path / "pieces", (1, 6, 7), **changes)
    assert losses(tmp_path / "whole") == losses(tmp_path / "pieces")
    for one, other in zip(whole.model.parameters(), pieces.model.parameters(), strict=True):
        assert torch.equal(one, other)
    one, other = load_state(tmp_path / "whole"), load_state(tmp_path / "pieces")
    assert one is not None
    assert other is not None
    assert one["done"]
    assert one["step"] == whole.mixture.n_steps
    for part in ("step", "done", "model", "optimizers"):
        assert same(one[part], other[part]), part


def test_the_same_seed_gives_the_same_first_fifty_losses(tiny_run: Make, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_to_the_end(tiny_run, tmp_path / name, seed=seed, tokens=3400)
    a, b, c = (losses(tmp_path / name)[:50] for name in "abc")
    assert len(a) == 50
    assert a == b
    assert a != c


def test_the_loss_falls(tiny_run: Make, tmp_path: Path) -> None:
    run_to_the_end(tiny_run, tmp_path, tokens=16_000)
    told = losses(tmp_path)
    assert sum(told[-10:]) / 10 < 0.9 * sum(told[:10]) / 10


def test_a_run_that_is_done_does_nothing_more(tiny_run: Make, tmp_path: Path) -> None:
    whole = run_to_the_end(tiny_run, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    saved = [(p.name, p.stat().st_mtime_ns) for p in states(tmp_path)]
    again = tiny_run()
    assert train(again.model, again.stage, again.mixture, Run(tmp_path, "f"))
    assert not again.model.training
    assert all(map(torch.equal, whole.model.parameters(), again.model.parameters()))
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert [(p.name, p.stat().st_mtime_ns) for p in states(tmp_path)] == saved


def test_evaluations_come_when_they_are_due_and_at_the_end_and_change_no_loss(tiny_run: Make, tmp_path: Path) -> None:
    def evaluate(model: torch.nn.Module) -> dict[str, Any]:
        torch.rand(7)
        return {"bits_per_byte": {"x": 1.5}}

    made = tiny_run(eval_every=5)
    train(made.model, made.stage, made.mixture, Run(tmp_path / "a", "f", evaluate=evaluate))
    run_to_the_end(tiny_run, tmp_path / "b")
    rows = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    last = made.mixture.n_steps - 1
    assert [r["step"] for r in rows if "bits_per_byte" in r] == sorted({*range(4, last, 5), last})
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_no_number_stops_the_run_and_names_the_last_good_state(
    where: str, before: bool, tiny_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tiny_run()
    if before:
        train(made.model, made.stage, made.mixture, Run(tmp_path, "f", stop_after=3))
    kept = [p.detach().clone() for p in made.model.parameters()]

    def spoiled(model: torch.nn.Module, *_: Any, **__: Any) -> torch.Tensor:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, torch.inf if where == "gradient" else 1.0)
        return torch.tensor(torch.nan if where == "loss" else 1.0)

    monkeypatch.setattr("weights.train.loop.accumulate", spoiled)
    told = r"step-0000003\.ckpt" if before else "There is no earlier state"
    with pytest.raises(DataError, match=told):
        train(made.model, made.stage, made.mixture, Run(tmp_path, "f"))
    assert all(map(torch.equal, kept, made.model.parameters()))
    assert len(states(tmp_path)) == int(before)


@pytest.mark.slow
def test_a_compiled_run_learns_as_a_plain_one_and_its_state_loads_without_compilation(
    tiny_run: Make, tmp_path: Path
) -> None:
    made = tiny_run()
    train(made.model, made.stage, made.mixture, Run(tmp_path / "compiled", "f", compiled=True, stop_after=5))
    plain = tiny_run()
    train(plain.model, plain.stage, plain.mixture, Run(tmp_path / "plain", "f", stop_after=5))
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), abs=1e-4)
    state = load_state(tmp_path / "compiled")
    assert state is not None
    assert not any("_orig_mod" in name for name in state["model"])
    assert train(plain.model, plain.stage, plain.mixture, Run(tmp_path / "compiled", "f"))


@pytest.mark.slow
def test_a_compiled_run_on_two_threads_repeats_itself_bit_for_bit(tiny_run: Make, tmp_path: Path) -> None:
    """The first default model's losses differed from step 3 on: a compiled gradient was summed as threads came."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for name in ("one", "two"):
            made = tiny_run()
            train(made.model, made.stage, made.mixture, Run(tmp_path / name, "f", compiled=True, stop_after=8))
    finally:
        torch.set_num_threads(before)
    assert losses(tmp_path / "one") == losses(tmp_path / "two")


def test_training_leaves_torchs_determinism_as_it_was(tiny_run: Make, tmp_path: Path) -> None:
    made = tiny_run()
    train(made.model, made.stage, made.mixture, Run(tmp_path, "f", stop_after=1))
    assert not torch.are_deterministic_algorithms_enabled()


def test_dropout_changes_the_losses_and_is_resumed_exactly(tiny_run: Make, tmp_path: Path) -> None:
    run_to_the_end(tiny_run, tmp_path / "none")
    whole = run_to_the_end(tiny_run, tmp_path / "whole", dropout=0.2)
    pieces = run_to_the_end(tiny_run, tmp_path / "pieces", (3, 8), dropout=0.2)
    assert losses(tmp_path / "whole") == losses(tmp_path / "pieces")
    assert all(map(torch.equal, whole.model.parameters(), pieces.model.parameters()))
    assert not set(losses(tmp_path / "none")) & set(losses(tmp_path / "whole"))


def test_dropout_is_for_training_alone(tiny_run: Make, tmp_path: Path) -> None:
    seen: list[bool] = []
    made = tiny_run(dropout=0.5, eval_every=7)
    ids = made.mixture.batch(0, 2).ids

    def evaluate(model: Any) -> dict[str, Any]:
        seen.append(bool(torch.equal(model(ids), model(ids))))
        return {}

    train(made.model, made.stage, made.mixture, Run(tmp_path, "f", evaluate=evaluate))
    assert seen == [True] * 3
    assert not torch.equal(made.model.hidden(ids, dropout=0.5), made.model.hidden(ids, dropout=0.5))


def test_a_moving_average_is_what_a_stage_leaves_and_what_is_measured(tiny_run: Make, tmp_path: Path) -> None:
    made, decay = tiny_run(ema=0.8), 0.8
    measured: list[dict[str, torch.Tensor]] = []
    expected: dict[str, torch.Tensor] = {}
    original = loop.take_step

    def spy(work: Any, step: int) -> Any:
        told = original(work, step)
        for name, now in work.model.state_dict().items():
            expected[name] = now.clone() if step == 0 else decay * expected[name] + (1 - decay) * now
        return told

    def evaluate(model: torch.nn.Module) -> dict[str, Any]:
        measured.append({n: t.clone() for n, t in model.state_dict().items()})
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "take_step", spy)
        train(made.model, made.stage, made.mixture, Run(tmp_path, "f", evaluate=evaluate))
    state = load_state(tmp_path)
    assert state is not None
    for left in (trained_weights(state), measured[-1], made.model.state_dict()):
        torch.testing.assert_close(dict(left), expected, atol=1e-6, rtol=1e-5)
    assert not same(state["model"], dict(trained_weights(state)))


def test_a_moving_average_is_resumed_bit_for_bit(tiny_run: Make, tmp_path: Path) -> None:
    run_to_the_end(tiny_run, tmp_path / "whole", ema=0.9)
    run_to_the_end(tiny_run, tmp_path / "pieces", (1, 6), ema=0.9)
    one, other = load_state(tmp_path / "whole"), load_state(tmp_path / "pieces")
    assert one is not None and other is not None
    assert "module.norm.weight" in one["average"]
    assert same(one, other)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputation_changes_no_number_and_runs_blocks_twice(dropout: float, tiny_run: Make, tmp_path: Path) -> None:
    calls = []
    for name, recompute in (("plain", False), ("recomputed", True)):
        made = tiny_run(recompute=recompute, dropout=dropout, ema=0.5)
        count = [0]
        made.model.blocks[0].mlp.register_forward_pre_hook(lambda *_, count=count: count.__setitem__(0, count[0] + 1))
        assert train(made.model, made.stage, made.mixture, Run(tmp_path / name, "f"))
        assert "forward" not in vars(made.model.blocks[0])  # whoever uses the model next finds it as it was
        calls.append(count[0])
    assert losses(tmp_path / "plain") == losses(tmp_path / "recomputed")
    assert same(load_state(tmp_path / "plain"), load_state(tmp_path / "recomputed"))
    assert calls[1] == 2 * calls[0]


@pytest.mark.parametrize("keep", [1, 3])
def test_as_many_states_are_kept_as_the_stage_says(keep: int, tiny_run: Make, tmp_path: Path) -> None:
    made = tiny_run(keep_states=keep, save_minutes=0.0)
    train(made.model, made.stage, made.mixture, Run(tmp_path, "f"))
    n = made.mixture.n_steps
    assert [p.name for p in states(tmp_path)] == [f"step-{i:07d}.ckpt" for i in range(n - keep + 1, n + 1)]


def test_a_leap_of_the_loss_stops_the_run_names_the_last_good_state_and_touches_no_weight(
    tiny_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "RECENT", 5)
    made = tiny_run(spike=0.5)
    train(made.model, made.stage, made.mixture, Run(tmp_path, "f", stop_after=8))
    kept = load_state(tmp_path)
    assert kept is not None
    real = loop.accumulate
    mean = sum(losses(tmp_path)[-5:]) / 5

    def leaps(model: Any, *rest: Any, **more: Any) -> torch.Tensor:
        return real(model, *rest, **more) * 0 + mean + (0.49 if len(losses(tmp_path)) < 9 else 1.2)

    monkeypatch.setattr(loop, "accumulate", leaps)
    again = tiny_run(spike=0.5)
    with pytest.raises(DataError, match=r"loss of step 9 .*a leap from .*not touched.*step-0000008\.ckpt"):
        train(again.model, again.stage, again.mixture, Run(tmp_path, "f"))
    assert len(losses(tmp_path)) == 9
    assert [p.name for p in states(tmp_path)] == ["step-0000008.ckpt"]
    saved = load_state(tmp_path)
    assert saved is not None
    assert same(saved, kept)


def test_states_that_cannot_be_read_are_refused_and_nothing_is_overwritten(tiny_run: Make, tmp_path: Path) -> None:
    made = tiny_run(save_minutes=0.0)
    train(made.model, made.stage, made.mixture, Run(tmp_path, "f", stop_after=4))
    for path in states(tmp_path):
        path.write_bytes(path.read_bytes()[:-20])
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    again = tiny_run(save_minutes=0.0)
    with pytest.raises(DataError, match=r"No state under .* step-0000004\.ckpt is damaged"):
        train(again.model, again.stage, again.mixture, Run(tmp_path, "f"))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before

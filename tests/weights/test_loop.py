"""weights/train/loop.py: a run that is cut and goes on is a run that was not cut."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import DataError
from weights.train.loop import Run, train
from weights.train.state import load_state, states

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


def same(one: Any, other: Any) -> bool:
    """Equality of nested states, bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


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

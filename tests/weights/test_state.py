"""weights/train/state.py: whatever happens while a state is written, a whole one can be read."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engine.errors import DataError
from weights.train.state import load_state, save_state, states

# A process that forks another, which saves and saves; it kills that one and looks at what is left. One import of torch.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from weights.train.state import load_state, save_state, states

torch.set_num_threads(1)
home, times, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))

def save_for_ever(first):
    model = torch.nn.Linear(300, 300)
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range(first, first + 1_000_000):
        with torch.no_grad():
            model.weight.fill_(step)
        save_state(home, step, model, [optimizer], "f", False)

reached = 0
for _ in range(times):
    child = os.fork()
    if not child:
        save_for_ever(reached + 1)
        os._exit(1)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and (not states(home) or int(states(home)[-1].stem[5:]) <= reached):
        time.sleep(0.001)
    time.sleep(rng.random() * 0.03)
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    state = load_state(home, "f")
    assert (state["model"]["weight"] == state["step"]).all()
    assert state["step"] > reached, (state["step"], reached)
    reached = state["step"]
    assert len(states(home)) <= 3
    assert len(list(home.glob("*.tmp"))) <= 1, "what earlier kills left has not been cleared away"
print("kills", times)
"""


def save(home: Path, step: int, fingerprint: str = "f", done: bool = False) -> Path:
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.fill_(step)
    return save_state(home, step, model, [torch.optim.AdamW(model.parameters())], fingerprint, done)


def newest(home: Path) -> int:
    state = load_state(home, "f")
    assert state is not None
    assert (state["model"]["weight"] == state["step"]).all()
    return int(state["step"])


def test_the_newest_state_is_loaded_and_only_two_are_kept(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    for step in (1, 2, 9, 10, 11):
        save(tmp_path, step)
        assert newest(tmp_path) == step
    assert [p.name for p in states(tmp_path)] == ["step-0000010.ckpt", "step-0000011.ckpt"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "almost whole", "zeros", "zeros at the end", "text", "pickle"])
def test_a_state_cut_short_falls_back_to_the_one_before(damage: str, tmp_path: Path) -> None:
    save(tmp_path, 1)
    path = save(tmp_path, 2)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut": whole[: len(whole) // 2],
            "almost whole": whole[:-10],
            "zeros": bytes(len(whole)),
            "zeros at the end": whole[:500] + bytes(len(whole) - 500),
            "text": b"no state",
            "pickle": b"\x80\x02}q\x00X\x04\x00\x00\x00stepq\x01K\x03scos\nsystem\n.",
        }[damage]
    )
    assert newest(tmp_path) == 1


def test_a_state_of_another_recipe_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = save(tmp_path, 3, fingerprint="other")
    before = path.read_bytes()
    with pytest.raises(DataError, match="state of another recipe, corpus or tokenizer"):
        load_state(tmp_path, "f")
    assert path.read_bytes() == before
    assert load_state(tmp_path, "other") is not None


def test_a_state_that_would_run_code_is_not_loaded(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "side effect"),)

    torch.save({"step": 1, "fingerprint": "f", "model": Hostile()}, tmp_path / "step-0000001.ckpt")
    with pytest.raises(DataError, match="is damaged"):
        load_state(tmp_path, "f")
    assert not (tmp_path / "side effect").exists()


def test_a_full_disk_is_a_data_error_and_keeps_the_state_before(tmp_path: Path) -> None:
    save(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = nn.Linear(1000, 1000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(DataError, match="state of step 2 could not be saved"):
            save_state(tmp_path, 2, large, [], "f", False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in tmp_path.iterdir()] == ["step-0000001.ckpt"]
    assert newest(tmp_path) == 1


def kill_while_saving(home: Path, environment: dict[str, str], times: int, seed: int) -> None:
    command = [sys.executable, "-c", KILLER, str(home), str(times), str(seed)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"kills {times}\n"), done.stderr


def test_a_kill_at_any_moment_of_a_save_leaves_a_state_that_loads(tmp_path: Path, environment: dict[str, str]) -> None:
    kill_while_saving(tmp_path, environment, 10, 0)


@pytest.mark.soak
def test_fifty_kills_at_any_moment_of_a_save_leave_a_state_that_loads(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    kill_while_saving(tmp_path, environment, 50, 1)

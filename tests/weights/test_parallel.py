"""weights/train/parallel.py: however many processes train together, they compute what one computes."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import DataError, UsageError
from weights.train.loop import Run, train
from weights.train.parallel import World, check_stage, rows_of, world
from weights.train.state import load_state

HERE = Path(__file__).parent
TINY = HERE.parents[1] / "weights" / "recipes" / "tiny.toml"
WORKERS = HERE / "workers.py"
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    """The module that the processes run."""
    sys.path.insert(0, str(HERE))
    import workers

    yield workers
    sys.path.remove(str(HERE))


def together(n: int, command: Sequence[str], environment: dict[str, str]) -> list["subprocess.CompletedProcess[str]"]:
    """Run a command as n processes that find each other, as torchrun would start them; how each of them ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, *command],
            env=environment | where | {"RANK": str(r), "LOCAL_RANK": str(r)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for r in range(n)
    ]
    told = [p.communicate() for p in started]
    return [
        subprocess.CompletedProcess(command, p.returncode, *said) for p, said in zip(started, told, strict=True)
    ]  # fmt: skip


def losses(home: Path) -> list[float]:
    rows = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    return [r["loss"] for r in rows if "loss" in r]


def alone(workers: Any, scenario: str, home: Path, **more: Any) -> Any:
    """The model that one process makes of a scenario."""
    changes = {k: v for k, v in workers.SCENARIOS[scenario].items() if k != "stop_after"}
    model, stage, mixture = workers.material(**changes)
    assert train(model, stage, mixture, Run(home, "f", **more)) is not bool(more)
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that a test fills once, for all of this module."""
    return tmp_path_factory.mktemp("processes")


@pytest.fixture
def left(place: Path, workers: Any, environment: dict[str, str]) -> Path:
    """Where two processes have run all scenarios: the first test that asks for it waits for them."""
    home = place / "two"
    if not home.exists():
        alone(workers, "shard goes on", home / "shard goes on", stop_after=3)
        done = together(2, [str(WORKERS), str(home), json.dumps(list(workers.SCENARIOS))], environment)
        for process in done:
            assert process.returncode == 0, process.stderr
        (home / "said.json").write_text(json.dumps([[p.stdout, p.stderr] for p in done]))
    return home


@pytest.mark.parametrize("scenario", ["replicate", "replicate chat", "shard", "shard recompute", "shard goes on"])
def test_two_processes_have_the_losses_and_leave_the_weights_of_one(
    scenario: str, left: Path, workers: Any, tmp_path: Path
) -> None:
    model = alone(workers, scenario, tmp_path)
    assert losses(left / scenario) == pytest.approx(losses(tmp_path), abs=1e-5)
    one, other = load_state(tmp_path, "f"), load_state(left / scenario, "f")
    assert one is not None and other is not None
    assert one["step"] == other["step"] == len(losses(tmp_path))
    assert one["done"] and other["done"]
    assert one["model"].keys() == other["model"].keys()
    for part in ("model", "average"):
        for name, tensor in one.get(part, {}).items():
            torch.testing.assert_close(other[part][name], tensor, atol=1e-5, rtol=1e-5)
    assert not model.training


def test_evaluation_is_due_on_all_processes_and_changes_no_loss(left: Path) -> None:
    rows = [json.loads(line) for line in (left / "shard" / "metrics.jsonl").read_text().splitlines()]
    measured = [r["step"] for r in rows if "bits_per_byte" in r]
    last = max(r["step"] for r in rows)
    assert measured == sorted({*range(2, last + 1, 3), last})


def test_the_first_process_alone_writes_and_shows(left: Path, workers: Any) -> None:
    (out, shown), others = json.loads((left / "said.json").read_text())
    assert others == ["", ""]
    assert out == ""
    assert "loss" in shown
    for scenario in workers.SCENARIOS:
        rows = [json.loads(line) for line in (left / scenario / "metrics.jsonl").read_text().splitlines()]
        steps = [r["step"] for r in rows if "loss" in r]
        assert steps == list(range(len(steps)))
        assert not list((left / scenario).glob("*.tmp"))


def test_a_state_that_two_sharded_processes_wrote_goes_on_in_one(left: Path, workers: Any, tmp_path: Path) -> None:
    whole = alone(workers, "shard cut", tmp_path / "whole")
    shutil.copytree(left / "shard cut", tmp_path / "cut")
    state = load_state(tmp_path / "cut", "f")
    assert state is not None
    assert (state["step"], state["done"]) == (workers.SCENARIOS["shard cut"]["stop_after"], False)
    pieces = alone(workers, "shard cut", tmp_path / "cut")
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)
    for one, other in zip(whole.parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("part", ["__0_0.distcp", "__1_0.distcp", ".metadata"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_part_of_a_sharded_state_is_a_data_error_that_names_it(
    part: str, damage: str, left: Path, workers: Any, tmp_path: Path
) -> None:
    shutil.copytree(left / "shard cut", tmp_path / "cut")
    (state,) = (tmp_path / "cut").glob("*.ckpt")
    path = state / part
    whole = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    before = losses(tmp_path / "cut")
    with pytest.raises(DataError, match=rf"The state .*{state.name} is damaged: "):
        alone(workers, "shard cut", tmp_path / "cut")
    assert losses(tmp_path / "cut") == before


@pytest.mark.slow
def test_a_state_that_two_sharded_processes_wrote_goes_on_in_four(
    left: Path, workers: Any, tmp_path: Path, environment: dict[str, str]
) -> None:
    alone(workers, "shard goes on", tmp_path / "whole")
    shutil.copytree(left / "shard cut", tmp_path / "four" / "shard goes on")
    done = together(4, [str(WORKERS), str(tmp_path / "four"), '["shard goes on"]'], environment)
    assert [p.returncode for p in done] == [0] * 4, [p.stderr for p in done]
    assert losses(tmp_path / "four" / "shard goes on") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)


MISTAKES = [
    (("stage.sft.batch=9", "stage.sft.micro_batch=3"), "A batch of 9 rows cannot be dealt to 2 processes."),
    (("tokenizer.vocab_size=50",), "The tokenizer could not be trained"),  # the first process alone meets this
]


@pytest.mark.parametrize(("changes", "said"), MISTAKES, ids=["all", "one"])
def test_a_mistake_is_told_once_and_no_process_waits_for_one_that_is_gone(
    changes: tuple[str, ...], said: str, corpus: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    paths = ["--corpus", str(corpus), "--out", str(tmp_path / "out"), "--threads", "1"]
    sets = [part for change in changes for part in ("--set", change)]
    done = together(2, ["-m", "weights", "recipe", str(TINY), *paths, *sets], environment)
    assert [p.returncode for p in done] == [6, 6], [p.stderr for p in done]
    assert [p.stdout for p in done] == ["", ""]
    told = [line for p in done for line in p.stderr.splitlines() if not line.startswith("training a tokenizer")]
    assert len(told) == 1
    assert told[0].startswith(f"tfm train: {said}")


def test_every_row_of_a_batch_is_dealt_to_one_process() -> None:
    for size in (1, 2, 3, 4, 6, 12):
        rows: list[int] = []
        for rank in range(size):
            first, count, at_once = rows_of(World(rank, size), 24, 2)
            assert count % at_once == 0
            assert at_once <= 2
            rows += range(first, first + count)
        assert rows == list(range(24))


@pytest.mark.parametrize(
    ("size", "batch", "micro_batch", "told"),
    [(5, 12, 4, "12 rows cannot be dealt to 5 processes"), (2, 12, 4, "6 rows for each of 2 .* no multiple of 4")],
)
def test_rows_that_cannot_be_dealt_evenly_are_refused(size: int, batch: int, micro_batch: int, told: str) -> None:
    with pytest.raises(DataError, match=told):
        rows_of(World(0, size), batch, micro_batch)


@pytest.mark.parametrize("changes", [{"optimizer": "muon"}, {"ema": 0.9}])
def test_what_sharding_cannot_do_is_refused(changes: dict[str, Any], make_stage: Make) -> None:
    stage = make_stage(batch=4, micro_batch=2, **changes)
    check_stage(stage, World(0, 2))
    with pytest.raises(DataError, match="AdamW only, and no moving average"):
        check_stage(stage, World(0, 2, strategy="shard"))


@pytest.mark.parametrize("missing", ["WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_half_an_environment_of_torchrun_is_a_usage_error(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in whole.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with (
        pytest.raises(UsageError, match=f"could not find each other: .*{missing}"),
        world("replicate", torch.device("cpu")),
    ):
        raise AssertionError("joined")


def test_sharding_without_torchrun_is_a_usage_error() -> None:
    assert "RANK" not in os.environ
    with (
        pytest.raises(UsageError, match=re.escape("--shard needs several processes")),
        world("shard", torch.device("cpu")),
    ):
        raise AssertionError("joined")

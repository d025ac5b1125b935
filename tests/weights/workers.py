"""One of several processes that train together, as tests/weights/test_parallel.py starts them: not a test itself.

    RANK=0 WORLD_SIZE=2 ... python workers.py HOME SCENARIO...

Each scenario is one run of the loop on the model, rows and stage of `material`, in HOME/SCENARIO, on all processes.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.config import ModelConfig
from engine.decoder import DecoderLM
from weights.data.mixture import Mixture
from weights.data.shards import Shard
from weights.recipe import Stage
from weights.train import loop
from weights.train.loop import Run, train
from weights.train.parallel import World, world

VOCABULARY = 40
SCENARIOS: dict[str, dict[str, Any]] = {
    "replicate": {},
    "replicate chat": {"objective": "chat", "optimizer": "muon", "ema": 0.9},
    "shard": {"micro_batch": 1, "eval_every": 3},
    "shard cut": {"stop_after": 6},
    "shard recompute": {"recompute": True},
    "shard goes on": {},  # after what one process saved
}


def material(**changes: Any) -> tuple[DecoderLM, Stage, Mixture]:
    """The same model, stage and rows in every process."""
    fields: dict[str, Any] = {
        "name": "s", "objective": "lm", "tokens": 1024, "shares": {"a": 1.0}, "row": 16, "batch": 8,
        "micro_batch": 4, "lr": 0.01, "warmup": 2, "save_minutes": 60.0, "eval_every": 1000,
    }  # fmt: skip
    stage = Stage(**(fields | changes))
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 21, 40)
    ids = rng.integers(3, VOCABULARY, lengths.sum()).astype(np.uint16)
    learned = (rng.random(lengths.sum()) < 0.5).astype(np.uint8)
    shard = Shard(ids, learned, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    config = ModelConfig(
        vocab_size=VOCABULARY, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=8, d_ff=32, max_positions=64
    )
    model = DecoderLM(config)
    model.init_weights(torch.Generator().manual_seed(1))
    return model, stage, Mixture(stage, {"a": shard}, 1)


def loss_of_a_row(model: torch.nn.Module) -> dict[str, Any]:
    """An evaluation that asks all processes for the model."""
    with torch.no_grad():
        return {"bits_per_byte": {"x": float(model(torch.arange(3, 19)[None]).logsumexp(-1).mean())}}


def run(home: Path, scenario: str, where: World) -> None:
    """Train through one scenario."""
    changes = dict(SCENARIOS[scenario])
    stop_after = changes.pop("stop_after", None)
    model, stage, mixture = material(**changes)
    told = train(
        model, stage, mixture, Run(home / scenario, "f", stop_after=stop_after, evaluate=loss_of_a_row, world=where)
    )
    assert told is (stop_after is None)


def main(home: Path, scenarios: list[str]) -> None:
    """Run all scenarios, one after the other, in this process's place among the others."""
    torch.set_num_threads(1)
    loop.fastest = lambda work: "float32"
    with world("shard", torch.device("cpu")) as joined:
        for scenario in scenarios:
            run(home, scenario, replace(joined, strategy="shard" if scenario.startswith("shard") else "replicate"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))

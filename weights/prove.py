"""`--prove-resume`: a stage run whole, and the same stage cut and resumed, must agree in every number."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine.errors import VerificationFailed
from weights.data.mixture import Mixture
from weights.recipe import Stage
from weights.stages import begin
from weights.train.loop import Run, train
from weights.train.state import load_state
from weights.workshop import Workshop, make_shards, make_tokenizer, say

STEPS, CUT = 6, 3


def prove_resume(shop: Workshop, stage: Stage) -> None:
    """Run STEPS steps twice in directories of their own, once cut after CUT, and compare what they leave.

    Raises VerificationFailed (exit code 5) naming what differs.
    """
    tokenizer = make_tokenizer(shop)
    mixture = Mixture(stage, make_shards(shop, stage, tokenizer), shop.recipe.seed)
    first = replace(shop, recipe=replace(shop.recipe, stages=(stage,)))  # whatever weights: none of an earlier stage
    with tempfile.TemporaryDirectory(dir=shop.out) as place:
        left = {}
        for name, cuts in (("whole", (STEPS,)), ("cut", (CUT, STEPS))):
            home = Path(place) / name
            for cut in cuts:
                train(begin(first, stage, tokenizer), stage, mixture, Run(home, "proof", stop_after=cut))
            left[name] = (load_state(home) or {}) | {"random state": torch.get_rng_state()}
            left[name]["next rows"] = mixture.batch(left[name]["step"] * stage.batch, stage.micro_batch).ids
    parts = {"parameters": "model", "optimizer": "optimizers", "data position": "next rows", "losses": "recent"}
    parts["random state"] = "random state"
    different = [name for name, part in parts.items() if not same(left["whole"][part], left["cut"][part])]
    if different:
        raise VerificationFailed(
            f"A resumed run of {stage.name!r} differs from a whole one in: {', '.join(different)}."
        )
    say(f"{stage.name}: {STEPS} steps whole, and cut after {CUT} and resumed: {', '.join(parts)} equal bit for bit")


def same(one: Any, other: Any) -> bool:
    """Equality of nested states, bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)

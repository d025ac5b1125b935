"""`--prove-resume`: a stage run whole, and the same stage cut and resumed, must agree in every number."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine.errors import UsageError, VerificationFailed
from engine.tokenizer import SentencePieceTokenizer
from weights.recipe import Stage
from weights.stages import alone, begin
from weights.train.loop import Rows, Run, train
from weights.train.state import load_state
from weights.workshop import Workshop, make_rows, make_tokenizer, say

STEPS, CUT = 6, 3


def prove_resume(shop: Workshop, stage: Stage) -> None:
    """Run STEPS steps twice in directories of their own, once cut after CUT, and compare what they leave.

    Raises VerificationFailed (exit code 5) naming what differs, and UsageError for more than one process.
    """
    if shop.world.size > 1:
        raise UsageError("--prove-resume is for one process.", "Start it without torchrun.")
    with alone(shop):
        tokenizer = make_tokenizer(shop)
        rows = make_rows(shop, stage, tokenizer)
        with tempfile.TemporaryDirectory(dir=shop.out) as place:
            whole = _left(shop, stage, tokenizer, rows, Path(place) / "whole", (STEPS,))
            cut = _left(shop, stage, tokenizer, rows, Path(place) / "cut", (CUT, STEPS))
    parts = {"parameters": "model", "optimizer": "optimizers", "data position": "next rows", "losses": "recent"}
    parts |= {"random state": "random state"} | ({"moving average": "average"} if stage.ema else {})
    different = [name for name, part in parts.items() if not same(whole[part], cut[part])]
    if different:
        raise VerificationFailed(
            f"A resumed run of {stage.name!r} differs from a whole one in: {', '.join(different)}."
        )
    say(f"{stage.name}: {STEPS} steps whole, and cut after {CUT} and resumed: {', '.join(parts)} equal bit for bit")


def _left(
    shop: Workshop, stage: Stage, tokenizer: SentencePieceTokenizer, rows: Rows, home: Path, cuts: tuple[int, ...]
) -> dict[str, Any]:
    """What a run leaves that was cut after these steps, each time going on with a new model."""
    first = replace(shop, recipe=replace(shop.recipe, stages=(stage,)))  # whatever weights: none of an earlier stage
    for cut in cuts:
        run = Run(home, "proof", compiled=bool(shop.compiled), stop_after=cut, world=shop.world)
        train(begin(first, stage, tokenizer), stage, rows, run)
        state = load_state(home) or {}
        if state["step"] < min(cut, rows.n_steps):
            raise KeyboardInterrupt  # a signal came
    following = rows.batch(state["step"] * stage.batch, stage.micro_batch)
    return state | {"random state": torch.get_rng_state(), "next rows": following.ids}


def same(one: Any, other: Any) -> bool:
    """Equality of nested states, bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)

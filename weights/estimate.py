"""What a recipe will cost, before anything is started: parameters, FLOPs, memory, time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from engine.config import ModelConfig
from engine.layers.attention import Step
from engine.layers.block import Block
from engine.layers.positions import RotaryTable
from weights.objectives import LOGIT_ROWS, cross_entropy
from weights.recipe import Recipe, Stage

ADAM, MUON = 2, 1  # numbers that an optimizer keeps for each parameter


def flops_per_token(config: ModelConfig, row: int) -> float:
    """Floating-point operations to train on one token of a row: 6 for each weight that it meets (Kaplan 2020).

    Attention counts half of its board, since it is causal: 6 · layers · heads · head_dim · row.
    """
    lookup_only = 0 if config.tie_embeddings else config.vocab_size * config.d_model
    board = config.n_layers * config.n_heads * config.head_dim * row
    return 6.0 * (config.n_active_parameters - lookup_only + board)


@dataclass(frozen=True)
class Estimate:
    """What one stage will cost on this machine with these threads."""

    stage: str
    tokens: int
    steps: int
    flops: float
    memory_bytes: float
    seconds: float


def estimate(recipe: Recipe, config: ModelConfig, stage: Stage, seconds_per_micro_batch: float) -> Estimate:
    """The cost of a stage, from the measured time of one forward and backward pass of `micro_batch` rows."""
    per_step = stage.batch * stage.row
    steps = max(1, stage.tokens // per_step)
    passes = steps * stage.batch / stage.micro_batch
    return Estimate(
        stage.name, stage.tokens, steps, stage.tokens * flops_per_token(config, stage.row),
        memory_bytes(config, stage), passes * seconds_per_micro_batch,
    )  # fmt: skip


def memory_bytes(config: ModelConfig, stage: Stage) -> float:
    """Parameters, gradients and optimizer in float32, activations kept for the backward pass, one piece of logits."""
    outside = config.vocab_size * config.d_model * (1 if config.tie_embeddings else 2)  # Muon is for the blocks alone
    kept = ADAM * outside + (MUON if stage.optimizer == "muon" else ADAM) * (config.n_parameters - outside)
    weights = 4.0 * (config.n_parameters * (2 + (1 if stage.ema else 0)) + kept)
    tokens = stage.micro_batch * stage.row
    heads = config.n_heads * config.head_dim
    per_layer = 2.0 * (4 * config.d_model + 4 * heads + 3 * config.d_ff)
    layers = 4.0 * config.d_model * config.n_layers if stage.recompute else per_layer * config.n_layers
    logits = 10.0 * min(tokens, LOGIT_ROWS) * config.vocab_size
    return weights + tokens * layers + logits


def measure_micro_batch(config: ModelConfig, stage: Stage, mixed: bool) -> float:
    """Seconds for one forward and backward pass of a micro-batch: one block and one head are run, uncompiled."""
    block = Block(config)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    rows = min(stage.micro_batch, max(1, 4096 // stage.row))  # enough to be typical, few enough to be quick
    x = torch.randn(rows, stage.row, config.d_model, requires_grad=True)
    cos, sin = RotaryTable(config).angles(0, stage.row, x)
    step = Step(cos, sin, None, is_causal=True)
    weight = torch.randn(config.vocab_size, config.d_model, requires_grad=True)
    targets = torch.zeros(rows * stage.row, dtype=torch.long)

    def one_block() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            out = block(x, step)
        out.sum().backward()

    def one_head() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = cross_entropy(x.flatten(0, 1), weight, targets)
        loss.backward()  # type: ignore[no-untyped-call]

    return (config.n_layers * _seconds(one_block) + _seconds(one_head)) * stage.micro_batch / rows


def _seconds(work: Callable[[], None]) -> float:
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start

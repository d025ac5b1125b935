"""What a recipe will cost, before anything is started: parameters, FLOPs, memory, time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from engine.config import ModelConfig
from engine.layers.attention import Step
from engine.layers.block import Block
from engine.layers.positions import RotaryTable
from weights.data.masking import CHOSEN
from weights.objectives import LOGIT_ROWS, cross_entropy
from weights.recipe import OBJECTIVES_OF, Recipe, Stage

ADAM, MUON = 2, 1  # numbers that an optimizer keeps for each parameter


def flops_per_token(config: ModelConfig, row: int) -> float:
    """Floating-point operations to train on one token of a row: 6 for each weight that it meets (Kaplan 2020).

    Attention counts half of its board, since it is causal: 6 · layers · heads · head_dim · row.
    """
    lookup_only = 0 if config.tie_embeddings else config.vocab_size * config.d_model
    board = config.n_layers * config.n_heads * config.head_dim * row
    return 6.0 * (config.n_active_parameters - lookup_only + board)


@dataclass(frozen=True)
class Reading:
    """How a stage reads its rows: how many positions see each other, how often, and of what part there are logits."""

    width: int
    passes: int = 1
    told: float = 1.0
    is_causal: bool = True

    @classmethod
    def of(cls, stage: Stage) -> "Reading":
        """An encoder's head works on the chosen positions. A contrastive row is two texts, read masked and not."""
        if stage.objective not in OBJECTIVES_OF["TfmEncoder"]:
            return cls(stage.row)
        is_pair = stage.objective == "contrastive"
        return cls(stage.row // 2 if is_pair else stage.row, 2 if is_pair else 1, CHOSEN, is_causal=False)


def stage_flops_per_token(config: ModelConfig, stage: Stage) -> float:
    """`flops_per_token` of what a stage trains: a decoder, or an encoder, whose board is whole and whose head is not.

    config: of the layers. An encoder's head has a matrix of its own before the vocabulary.
    """
    reading = Reading.of(stage)
    if reading.is_causal:
        return flops_per_token(config, stage.row)
    vocabulary = config.vocab_size * config.d_model
    blocks = config.n_active_parameters - vocabulary * (1 if config.tie_embeddings else 2)
    board = 2 * config.n_layers * config.n_heads * config.head_dim * reading.width
    return 6.0 * (reading.passes * (blocks + board) + reading.told * (vocabulary + config.d_model**2))


@dataclass(frozen=True)
class Estimate:
    """What one stage will cost on this machine with these threads.

    Of a chat stage the least: rows hold whole conversations, and their padding comes on top.
    """

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
        stage.name, stage.tokens, steps, stage.tokens * stage_flops_per_token(config, stage),
        memory_bytes(config, stage), passes * seconds_per_micro_batch,
    )  # fmt: skip


def memory_bytes(config: ModelConfig, stage: Stage) -> float:
    """Parameters, gradients and optimizer in float32, activations kept for the backward pass, one piece of logits."""
    outside = config.vocab_size * config.d_model * (1 if config.tie_embeddings else 2)  # Muon is for the blocks alone
    kept = ADAM * outside + (MUON if stage.optimizer == "muon" else ADAM) * (config.n_parameters - outside)
    weights = 4.0 * (config.n_parameters * (2 + (1 if stage.ema else 0)) + kept)
    reading = Reading.of(stage)
    tokens = stage.micro_batch * stage.row
    heads = config.n_heads * config.head_dim
    per_layer = 2.0 * (4 * config.d_model + 4 * heads + 3 * config.d_ff)
    layers = 4.0 * config.d_model * config.n_layers if stage.recompute else per_layer * config.n_layers
    logits = 10.0 * min(reading.told * tokens, LOGIT_ROWS) * config.vocab_size
    return weights + reading.passes * tokens * layers + logits


def measure_micro_batch(config: ModelConfig, stage: Stage, mixed: bool) -> float:
    """Seconds for one forward and backward pass of a micro-batch: one block and one head are run, uncompiled."""
    block = Block(config)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    reading = Reading.of(stage)
    rows = min(stage.micro_batch, max(1, 4096 // stage.row))  # enough to be typical, few enough to be quick
    x = torch.randn(rows * (stage.row // reading.width), reading.width, config.d_model, requires_grad=True)
    cos, sin = RotaryTable(config).angles(0, reading.width, x)
    mask = None if reading.is_causal else torch.ones(len(x), 1, reading.width, reading.width, dtype=torch.bool)
    step = Step(cos, sin, mask, is_causal=reading.is_causal)
    weight = torch.randn(config.vocab_size, config.d_model, requires_grad=True)
    targets = torch.full((x.shape[0] * x.shape[1],), -1)
    targets[: max(1, round(reading.told * len(targets)))] = 0

    def one_block() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            out = block(x, step)
        out.sum().backward()

    def one_head() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = cross_entropy(x.flatten(0, 1), weight, targets)
        loss.backward()  # type: ignore[no-untyped-call]

    blocks = reading.passes * config.n_layers * _seconds(one_block)
    return (blocks + _seconds(one_head)) * stage.micro_batch / rows


def _seconds(work: Callable[[], None]) -> float:
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start

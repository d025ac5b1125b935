"""What a recipe will cost, told before anything is started (`--dry-run`)."""

import sys

import torch
from rich.console import Console
from rich.table import Table

from engine.config import ModelConfig
from engine.hardware import fastest, matmul_flops
from weights.estimate import estimate, measure_micro_batch
from weights.masked import encoder_config
from weights.models.encoder import Encoder
from weights.models.encoder_checkpoint import ENCODER
from weights.recipe import Recipe, Stage, model_config
from weights.workshop import Workshop

PATIENCE = 2e12  # FLOPs of a micro-batch; above, its time is the matrix limit's and not a measurement


def tell_costs(shop: Workshop, stages: list[Stage]) -> None:
    """Print parameters, and for each stage tokens, FLOPs, memory and the expected time here, as a table."""
    config, n_parameters = shape_of(shop.recipe)
    mixed = fastest("matmul") == "bfloat16"
    limit = matmul_flops(torch.bfloat16 if mixed else torch.float32, torch.device("cpu"))
    table = Table(title=f"{shop.recipe.name}: {n_parameters:,} parameters", title_justify="left")
    for column in ("stage", "tokens", "steps", "FLOPs", "memory", "time here"):
        table.add_column(column, justify="left" if column == "stage" else "right", no_wrap=True)
    for stage in stages:
        at_limit = estimate(shop.recipe, config, stage, 0.0).flops / limit
        flops = at_limit * limit * stage.micro_batch * stage.row / stage.tokens
        seconds = measure_micro_batch(config, stage, mixed) if flops < PATIENCE else flops / limit
        cost = estimate(shop.recipe, config, stage, seconds)
        table.add_row(
            stage.name, f"{cost.tokens:,}", f"{cost.steps:,}", f"{cost.flops:.2e}",
            f"{cost.memory_bytes / 1e9:.1f} GB", _duration(cost.seconds) + ("" if flops < PATIENCE else " at least"),
        )  # fmt: skip
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    console.print(
        f"Matrix limit here: {limit / 1e9:,.0f} GFLOP/s in {'bfloat16' if mixed else 'float32'}, "
        f"{torch.get_num_threads()} threads. Times are of uncompiled blocks, without data and optimizer."
    )
    if chats := [stage.name for stage in stages if stage.objective == "chat"]:
        console.print(
            f"Steps, FLOPs and time of {', '.join(chats)} are the least: whole conversations are packed into rows, and "
            "their padding adds about a tenth, more where rows are short."
        )


def shape_of(recipe: Recipe) -> tuple[ModelConfig, int]:
    """(the layers, the number of parameters) of a recipe's model, none of which is allocated."""
    if recipe.architecture != ENCODER:
        config = model_config(recipe, recipe.tokenizer.vocab_size, ())
        return config, config.n_parameters
    shape = encoder_config(recipe, recipe.tokenizer.vocab_size)
    with torch.device("meta"):
        return shape.layers(), sum(p.numel() for p in Encoder(shape).parameters())


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s"

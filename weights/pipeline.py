"""From a recipe and a corpus to a model directory and its card. Each step resumes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from engine.api import load_engine
from engine.checkpoint import save_checkpoint
from engine.template import TFM
from weights.evaluate.card import evaluate, write_card
from weights.recipe import Stage
from weights.stages import run_stage, take_weights
from weights.workshop import Workshop, evaluation_records, initial_model, make_tokenizer

CARD_BYTES = 300_000  # of each source, for the model card


def run_stages(shop: Workshop, stages: Sequence[Stage]) -> bool:
    """Run or resume these stages, one after the other; False when one was stopped early."""
    for stage in stages:
        if not run_stage(shop, stage.name):
            return False
        shop = replace(shop, weights=None)  # only the first of them begins with given weights
    return True


def export(shop: Workshop) -> Path:
    """Write the weights of the last stage as a model directory in Hugging Face layout (bf16)."""
    tokenizer = make_tokenizer(shop)
    model = initial_model(shop, tokenizer)
    take_weights(shop, model, shop.recipe.stages[-1])
    target = shop.out / "model"
    save_checkpoint(
        target, model, tokenizer_path=shop.tokenizer_path, template=TFM,
        generation=dict(shop.recipe.generation), dtype=torch.bfloat16,
    )  # fmt: skip
    return target


def write_model_card(shop: Workshop) -> str:
    """Evaluate the exported model, write its README.md and evaluation.json; the numbers as JSON."""
    target = shop.out / "model"
    engine = load_engine(target)
    numbers, answers = evaluate(engine, evaluation_records(shop, CARD_BYTES))
    write_card(target, engine, shop.out, numbers, answers)
    told = json.dumps(numbers, indent=1)
    (shop.out / "evaluation.json").write_text(told + "\n", encoding="utf-8")
    return told

"""From a recipe and a corpus to a model directory. Each step resumes."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from engine.checkpoint import save_checkpoint
from engine.lookup import FILE as EXAMPLES
from engine.template import TFM
from weights.models.encoder import Encoder
from weights.models.encoder_checkpoint import save_encoder
from weights.recipe import Stage
from weights.stages import blend_weights, run_stage
from weights.train.parallel import check_stage
from weights.workshop import Workshop, initial_model, make_tokenizer


def run_stages(shop: Workshop, stages: Sequence[Stage]) -> bool:
    """Run or resume these stages, one after the other; False when one was stopped early."""
    for stage in stages:
        check_stage(stage, shop.world)
    for stage in stages:
        if not run_stage(shop, stage.name):
            return False
        shop = replace(shop, weights=None, vectors=None)  # only the first of them begins with what is given
    return True


def export(shop: Workshop) -> Path:
    """Write the weights of the last stage, or the blend, as a model directory in Hugging Face layout (bf16)."""
    tokenizer = make_tokenizer(shop)
    model = initial_model(shop, tokenizer)
    blend_weights(shop, model)
    target = shop.out / "model"
    if isinstance(model, Encoder):
        save_encoder(target, model, shop.tokenizer_path)
        return target
    save_checkpoint(
        target, model, tokenizer_path=shop.tokenizer_path, template=TFM,
        generation=dict(shop.recipe.generation), dtype=torch.bfloat16,
    )  # fmt: skip
    if shop.examples_path.is_file():
        shutil.copyfile(shop.examples_path, target / EXAMPLES)
    return target

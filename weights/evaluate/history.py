"""How a model was trained, as its card tells it: stages, steps, tokens, hours, from the metrics of the run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weights.recipe import Recipe

FILE = "training.json"  # its name beside a model's config.json


def training(directory: Path) -> dict[str, Any]:
    """What is known of a model's training: training.json, else the metrics of the run that the directory is in.

    Nothing is known ({}) of a model from elsewhere.
    """
    if (kept := directory / FILE).is_file():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    return summary(directory.resolve().parent)


def summary(run: Path) -> dict[str, Any]:
    """The stages of a run, in the order of its recipe; those that left no metrics are left out."""
    files = {path.parent.name: path for path in run.glob("*/metrics.jsonl")}
    recipes = [path.with_name("recipe.json") for path in files.values() if path.with_name("recipe.json").is_file()]
    if not recipes:
        return {}
    recipe = json.loads(max(recipes, key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8"))
    stages = recipe.get("stages") or [recipe["stage"]]  # a translator's has one, and languages for sources
    told = [_stage(stage, files[stage["name"]]) for stage in stages if stage["name"] in files]
    sources = list(recipe.get("sources") or recipe["languages"])
    return {"recipe": recipe["name"], "seed": recipe["seed"], "sources": sources, "stages": told}


def _stage(stage: dict[str, Any], metrics: Path) -> dict[str, Any]:
    rows = [r for r in map(json.loads, metrics.read_text(encoding="utf-8").splitlines()) if "loss" in r]
    tail = [r["loss"] for r in rows[-50:]]
    return {
        "name": stage["name"],
        "steps": len(rows),
        "tokens": len(rows) * stage["batch"] * stage["row"],
        "hours": round(sum(r["seconds"] for r in rows) / 3600, 2),
        "last_loss": round(sum(tail) / max(1, len(tail)), 3),
    }


def training_section(recipe: Recipe, history: Mapping[str, Any], loss_per: str) -> list[str]:
    """The lines of a card about a training, none where nothing is known of it. loss_per: what a loss is the mean of."""
    if not history:
        return []
    blend = " + ".join(f"{part} x {name}" for name, part in recipe.blend.items())
    return [
        "## Training", "",
        f"| stage | steps | tokens passed | hours | last loss (nats/{loss_per}) |", "|---|---:|---:|---:|---:|",
        *(
            f"| {s['name']} | {s['steps']} | {s['tokens']:,} | {s['hours']:.2f} | {s['last_loss']:.3f} |"
            for s in history["stages"]
        ), "",
        f"Recipe: weights/recipes/{history['recipe']}.toml (seed {history['seed']}). "
        f"Sources: {', '.join(history['sources'])}.",
        *([f"Exported: {blend}."] if blend else []),
    ]  # fmt: skip

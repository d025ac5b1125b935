"""From `-m` to a model directory. Looks on this disk alone; nothing is ever fetched. Torch-free."""

import importlib.util
from pathlib import Path

from engine.errors import ModelError

DEFAULT, TRANSLATOR, MASKED_LM = "default", "translator", "masked-lm"
TRAINED_BY = {DEFAULT: "tfm train recipe", TRANSLATOR: "tfm train translator", MASKED_LM: "tfm train mlm"}


def shipped() -> dict[str, Path]:
    """The model directories that came with the program, by name. Finds the package without importing it."""
    spec = importlib.util.find_spec("weights")
    roots = [Path(root) for root in (spec.submodule_search_locations or ())] if spec else []
    found = (config.parent for root in roots for config in sorted(root.glob("*/config.json")))
    return {directory.name: directory for directory in found}


def resolve(name: str) -> Path:
    """The directory that `-m name` means: a model that ships, by name, or else a directory.

    Raises ModelError that says what there is.
    """
    models = shipped()
    if name in models:
        return models[name]
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if name and path.exists():
        raise ModelError(f"{name} is not a directory.", "A model is a directory with config.json and the weights.")
    offer = f"Shipped here: {', '.join(models)}." if models else "No model ships with this copy."
    if name in TRAINED_BY:
        raise ModelError(
            f"The {name} model is not here.", f"{offer} Train one with `{TRAINED_BY[name]}`, or name one with -m."
        )
    raise ModelError(f"There is no model {name!r}: no such directory.", offer)

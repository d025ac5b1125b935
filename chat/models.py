"""From `-m` to a model: where models lie on this disk, by name. Nothing is ever fetched here. Torch-free."""

import importlib.util
import os
from pathlib import Path

from chat.settings import of_machine
from engine.errors import ModelError

DEFAULT, TRANSLATOR, MASKED_LM = "default", "translator", "masked-lm"
TRAINED_BY = {DEFAULT: "tfm train recipe", TRANSLATOR: "tfm train translator", MASKED_LM: "tfm train mlm"}
GGUF = ".gguf"
OF_MODELS = ("config.json", "*.safetensors", f"*{GGUF}")  # a directory with one of these is meant to be a model


def shipped() -> dict[str, Path]:
    """The model directories that came with the program, by name. Finds the package without importing it."""
    spec = importlib.util.find_spec("weights")
    roots = [Path(root) for root in (spec.submodule_search_locations or ())] if spec else []
    found = (config.parent for root in roots for config in sorted(root.glob("*/config.json")))
    return {directory.name: directory for directory in found}


def models_directory() -> Path:
    """Where pulled models lie: TFM_MODELS_DIR, or `models` in the user's data directory."""
    if named := of_machine("models_dir"):
        return Path(named).expanduser()
    from platformdirs import user_data_path

    return user_data_path("tfm") / "models"


def pulled() -> dict[str, Path]:
    """What lies in the models directory, by name: NAME or OWNER/NAME, directories and .gguf files."""
    found: dict[str, Path] = {}
    for path in _inside(models_directory()):
        below = [p for p in _inside(path) if p.is_dir()]
        if path.is_dir() and below and not holds_model(path):
            found |= {f"{path.name}/{p.name}": p for p in below}
        elif path.is_dir() or path.suffix.lower() == GGUF:
            found[path.name] = path
    return found


def cached() -> dict[str, Path]:
    """The snapshots in the Hugging Face cache, by name: OWNER/NAME, and OWNER/NAME@COMMIT for each but the main one."""
    found: dict[str, Path] = {}
    for repository in sorted(hub_cache().glob("models--*")):
        name = repository.name.removeprefix("models--").replace("--", "/")
        snapshots = _inside(repository / "snapshots")
        main = _commit_of_main(repository) if len(snapshots) > 1 else None
        for snapshot in snapshots:
            is_main = len(snapshots) == 1 or snapshot.name == main
            found[name if is_main else f"{name}@{snapshot.name[:12]}"] = snapshot
    return found


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it fetched, by the same variables."""
    if named := os.environ.get("HF_HUB_CACHE"):
        return Path(named).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or Path(caches) / "huggingface").expanduser() / "hub"


def _commit_of_main(repository: Path) -> str | None:
    try:
        return (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _inside(directory: Path) -> list[Path]:
    """What lies in a directory and is not hidden; nothing where it cannot be read."""
    try:
        return sorted(p for p in directory.iterdir() if not p.name.startswith("."))
    except OSError:
        return []


def holds_model(directory: Path) -> bool:
    """Whether a directory holds a file of a model."""
    return any(next(directory.glob(pattern), None) for pattern in OF_MODELS)


def resolve(name: str) -> Path:
    """Where the model that `-m name` means lies: a directory, or a .gguf file.

    In this order: a model that ships; a path; a model of the models directory or of the Hugging Face cache by its
    name; the only one of these whose name contains this one. Raises ModelError that lists what there is.
    """
    models = shipped()
    if name in models:
        return models[name]
    path = Path(name).expanduser()
    if name and (path.is_dir() or (path.suffix.lower() == GGUF and path.is_file())):
        return path
    if name and path.exists():
        raise ModelError(
            f"{name} is not a directory.", "A model is a directory with config.json and the weights, or a .gguf file."
        )
    offer = f"Shipped here: {', '.join(models)}." if models else "No model ships with this copy."
    if name in TRAINED_BY:
        raise ModelError(
            f"The {name} model is not here.", f"{offer} Train one with `{TRAINED_BY[name]}`, or name one with -m."
        )
    return _by_name(name, offer)


def _by_name(name: str, offer: str) -> Path:
    known = cached() | pulled()
    if name in known:
        return known[name]
    near = [full for full in known if name and name.casefold() in full.casefold()]
    if len(near) == 1:
        return known[near[0]]
    if near:
        raise ModelError(f"{name!r} is a part of several models' names: {', '.join(near)}.", "Name one of them.")
    more = " `tfm models list` lists all on this disk." if known else ""
    raise ModelError(f"There is no model {name!r}: no such directory.", offer + more)

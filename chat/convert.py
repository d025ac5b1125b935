"""`tfm convert`: a model directory written anew."""

import os
from pathlib import Path

from chat import models
from chat.screen import Screen
from engine.errors import UsageError


def merge_adapter(model: str, adapter: str, out: str) -> int:
    """Write the directory `out`: the base with the adapter merged into its weights; returns the exit code.

    Dtypes, config, tokenizer and template are the base's. Raises UsageError when something stands at `out` already,
    ModelError for a base or an adapter that cannot be used.
    """
    base, target, source = models.resolve(model), Path(os.path.abspath(out)), Path(adapter).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{out} holds something already; nothing is overwritten.", "Name another directory.")
    screen = Screen(plain=False)
    screen.wait(f"merging {source.name} into {base.name}")
    try:
        from engine.adapter import merge_into

        merge_into(base, source, target)
    finally:
        screen.stop_waiting()
    screen.write(f"{out}\n")
    return 0

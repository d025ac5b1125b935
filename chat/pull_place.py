"""Where a fetched model goes: complete, or not at all. Torch-free.

Everything is first written into a hidden directory beside its place, checked there, and then moved. What a hub was
sending when it was cut stays there, and the next pull goes on from it.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chat.model_facts import SOURCE, source_of
from chat.models import models_directory
from chat.models_list import megabytes
from engine.errors import ModelError

PARTS = ".partial"  # in the models directory: what is not complete yet
SPARE = 64 << 20  # bytes that a disk keeps free


@contextmanager
def place_for(name: str) -> Iterator[tuple[Path, Path]]:
    """(the directory to fill, the model's place): one pull of a name at a time.

    Raises ModelError when another pull of it runs, or when nothing can be written there.
    """
    from filelock import FileLock, Timeout

    root = models_directory()
    filling = root / PARTS / name.replace("/", "--")
    try:
        filling.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{filling}.lock", timeout=0):
            filling.mkdir(exist_ok=True)
            try:
                yield filling, root / name
            finally:
                with suppress(OSError):  # what was begun and can go on stays
                    filling.rmdir()
    except Timeout as e:
        raise ModelError(f"Another `tfm models pull` of {name} is running.") from e
    except OSError as e:
        raise ModelError(f"{name} cannot be written to {root}: {e.strerror or e}.") from e


def put_in_place(filled: Path, place: Path, source: Mapping[str, Any]) -> None:
    """Note the source in a complete directory and move it to its place; an old one there is replaced."""
    (filled / SOURCE).write_text(json.dumps(source, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    place.parent.mkdir(parents=True, exist_ok=True)
    name = str(place.relative_to(models_directory())).replace("/", "--")
    old = models_directory() / PARTS / f"{name}.old"
    if old.exists() and not place.exists():
        os.replace(old, place)  # what a pull that was cut just here had moved away
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        os.replace(place, old)  # moved, not deleted: whenever this is cut, one of the two is whole
    os.replace(filled, place)
    shutil.rmtree(old, ignore_errors=True)


def is_here(place: Path, **wanted: str) -> bool:
    """Whether a pull filled this place before, from a source with these values."""
    noted = source_of(place)
    return bool(noted) and all(noted.get(key) == value for key, value in wanted.items())


def check_space(directory: Path, needed: int) -> None:
    """Raise ModelError when the disk has no room for so many bytes."""
    free = shutil.disk_usage(directory).free
    if needed + SPARE > free:
        raise ModelError(
            f"{megabytes(needed)} are to be written to {directory} and {megabytes(free)} are free.",
            "TFM_MODELS_DIR may name a directory on another disk.",
        )

"""What `tfm verify` looks at in a model's files: their hashes, and every tensor's name and shape against the config.

A check is a function that returns a Row and leaves the model as it is. Those of texts are in verification_text.py,
those of numbers in verification_logits.py.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import torch

from engine.checkpoint import HARMLESS, empty_model, read_json
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.families import family_of, placements
from engine.family import Placement
from engine.gguf import gguf_at, open_gguf
from engine.gguf_model import ANGLES
from engine.gguf_places import gguf_places
from engine.headers import LENGTH, TensorHeader, read_headers, weight_files

BLOCK = 1 << 20  # bytes that are hashed at once
SHOWN = 3  # faults that are named; the others are counted
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """What one check found. number: what was measured, and limit: what it may be at the most, where it is a number."""

    name: str
    verdict: Literal["same", "differs", "skipped"]
    said: str
    number: float | None = None
    limit: float | None = None


def named(faults: Sequence[str]) -> str:
    """The first faults by name, and how many more there are."""
    more = len(faults) - SHOWN
    return "; ".join(faults[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def hashes(path: Path, expected: Mapping[str, str]) -> Row:
    """The files of a model against hashes that came with it. path: a directory or a GGUF file.

    expected: the name of a file below the directory -> "sha256:..." or "sha1:..." (git's, with which the hub tells of
    small files), in hexadecimal. Without any the weights' hashes are told and compared with nothing.
    """
    if not expected:
        file = gguf_at(path)
        told = [f"{p.name} {_digest(p, 'sha256')}" for p in (weight_files(path) if file is None else [file])]
        return Row("hashes", "skipped", f"no hashes came with it to compare with: {', '.join(told)}")
    root = path if path.is_dir() else path.parent
    faults = []
    for name, wanted in expected.items():
        if not (root / name).is_file():
            faults.append(f"{name} is missing")
        elif _digest(root / name, wanted.partition(":")[0]) != wanted:
            faults.append(f"{name} is not what was fetched")
    if faults:
        return Row("hashes", "differs", named(faults), len(faults), 0)
    return Row("hashes", "same", f"{len(expected)} files are what was fetched", 0, 0)


def _digest(path: Path, kind: str) -> str:
    """The hash of a file with its kind before it. sha1 is git's: of a header and the contents."""
    digest = hashlib.sha256()
    if kind == "sha1":
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return f"{digest.name}:{digest.hexdigest()}"


def shapes(path: Path, config: ModelConfig) -> Row:
    """The headers against the config: no tensor missing, twice, left over or of another shape, no byte too many.

    Raises CheckpointError for a header that cannot be read.
    """
    file = gguf_at(path)
    faults: list[str] = []
    if file is None:
        stored = _stored(path, faults)
        wanted, harmless = _wanted_of_directory(path, config, stored)
        optional: set[str] = set()
    else:
        opened = open_gguf(file)
        stored = {name: tensor.shape for name, tensor in opened.tensors.items()}
        wanted, optional = _wanted_of_gguf(str(opened.metadata["general.architecture"]), config, len(stored))
        harmless = (ANGLES,)
    faults += [f"{name} is missing" for name in wanted if name not in stored and name not in optional]
    spare = (name for name in sorted(stored) if name not in wanted and not name.endswith(harmless))
    faults += [f"{name} has no place in the model" for name in spare]
    faults += [
        f"{name} is {list(stored[name])} and not {list(shape)}"
        for name, shape in wanted.items()
        if stored.get(name, shape) != shape
    ]
    if faults:
        return Row("shapes", "differs", named(faults), len(faults), 0)
    return Row("shapes", "same", f"{len(stored)} tensors, as the config wants them", 0, 0)


def _stored(directory: Path, faults: list[str]) -> dict[str, Shape]:
    """Tensor -> shape of all weight files; what is wrong with them themselves is added to `faults`."""
    found: dict[str, Shape] = {}
    for path in weight_files(directory):
        headers = read_headers(path)
        faults += [f"{header.name} is there twice" for header in headers if header.name in found]
        faults += [f"{header.name} holds {header.dtype}" for header in headers if not _is_float(header)]
        found |= {header.name: header.shape for header in headers}
        with path.open("rb") as file:
            head = LENGTH + int.from_bytes(file.read(LENGTH), "little")
        spare = path.stat().st_size - head - sum(header.nbytes for header in headers)
        if spare:
            faults.append(f"{path.name} has {spare:,} bytes that are no tensor's")
    return found


def _is_float(header: TensorHeader) -> bool:
    return header.dtype in ("F64", "F32", "F16", "BF16") or header.name.endswith(HARMLESS)


def _wanted_of_directory(
    directory: Path, config: ModelConfig, stored: Mapping[str, Shape]
) -> tuple[dict[str, Shape], tuple[str, ...]]:
    """(tensor -> shape as files of this family have them, how the names of harmless others end)."""
    family = family_of(read_json(directory / "config.json"))
    # A config may ask for a thousand million layers: one more than there are tensors is enough to see it.
    places = list(islice(placements(family, config), 2 * len(stored) + 9))
    bare = bool(family.prefix) and not any(name.startswith(family.prefix) for name in stored)
    names = [place.theirs.removeprefix(family.prefix) if bare else place.theirs for place in places]
    harmless = (*HARMLESS, *family.spare)
    if len(set(names) - set(stored)) > len(stored):  # far from this config: a model of that shape is not made
        return dict.fromkeys(names, ()), harmless
    model = empty_model(config, torch.bfloat16, torch.device("cpu"))
    return dict(zip(names, _theirs(model, places), strict=True)), harmless


def _theirs(model: DecoderLM, places: Sequence[Placement]) -> Iterator[Shape]:
    parameters = dict(model.named_parameters())
    for place in places:
        ours = parameters[place.ours] if place.rows is None else parameters[place.ours][place.rows]
        shape = tuple(ours.shape[::-1] if place.transposed else ours.shape)
        yield (shape[0] + place.skip, *shape[1:])


def _wanted_of_gguf(architecture: str, config: ModelConfig, count: int) -> tuple[dict[str, Shape], set[str]]:
    """(tensor -> shape of a file of this architecture, those that may be missing). count: tensors that there are."""
    places = list(islice(gguf_places(architecture, config), 2 * count + 9))
    optional = {place.theirs for place in places if place.optional}
    if len(places) > 2 * count:
        return dict.fromkeys((place.theirs for place in places), ()), optional
    parameters = dict(empty_model(config, torch.bfloat16, torch.device("cpu")).named_parameters())
    ours = (parameters[p.ours] if p.rows is None else parameters[p.ours][p.rows] for p in places)
    return {place.theirs: tuple(part.shape) for place, part in zip(places, ours, strict=True)}, optional

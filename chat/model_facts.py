"""What the files of a model say of it, before anything is loaded: headers and configurations only. Torch-free."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.config import ModelConfig
from engine.errors import CheckpointError, ModelError
from engine.families import FAMILIES, read_config
from engine.headers import headers_of, weight_files

CONTEXT_KEYS = ("max_position_embeddings", "max_positions", "n_positions", "max_sequence_length", "n_ctx")
SOURCE = "tfm-source.json"  # what `tfm models pull` writes beside a model: where it is from


@dataclass(frozen=True)
class Facts:
    """One model as its files describe it."""

    architecture: str
    is_gguf: bool
    command: str  # that uses it; empty where none does
    parameters: int
    dtypes: Mapping[str, int]  # type of the numbers as stored -> bytes of such tensors
    tensors: int
    weight_files: tuple[Path, ...]
    context: int | None  # positions at most
    vocabulary: int | None
    config: ModelConfig | None = None  # of a decoder that the engine runs
    remark: str = ""  # why no command uses it
    told: Mapping[str, Any] = field(default_factory=dict)  # config.json, or the metadata of a GGUF file


def read_facts(path: Path) -> Facts:
    """The facts of a model directory or a GGUF file. Raises ModelError for what is missing or damaged."""
    from engine.gguf import gguf_at

    gguf = gguf_at(path)
    return _of_directory(path) if gguf is None else _of_gguf(gguf)


def _of_gguf(path: Path) -> Facts:
    """The facts of a GGUF file, but for its config, which takes torch to read."""
    from engine.gguf import open_gguf, type_name

    file = open_gguf(path)
    told = file.metadata
    dtypes: Counter[str] = Counter()
    for tensor in file.tensors.values():
        dtypes[type_name(tensor.type)] += tensor.rows * tensor.row_bytes
    architecture = str(told.get("general.architecture", "not named"))
    tokens = told.get("tokenizer.ggml.tokens")
    return Facts(
        architecture=f"{architecture} (GGUF)", is_gguf=True, command="tfm run",
        parameters=sum(tensor.rows * tensor.shape[-1] for tensor in file.tensors.values()),
        dtypes=dict(dtypes), tensors=len(file.tensors), weight_files=(path,),
        context=_first_number(told, (f"{architecture}.context_length",)),
        vocabulary=len(tokens) if isinstance(tokens, list) else None, told=told,
    )  # fmt: skip


def _of_directory(path: Path) -> Facts:
    from weights.models.kinds import COMMANDS

    told = read_object(path / "config.json")
    named = told.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else "not named"
    headers = headers_of(path)
    config, remark = None, ""
    if architecture in FAMILIES:
        try:
            config = read_config(told)
        except CheckpointError as e:
            remark = str(e)
    elif architecture not in COMMANDS:
        remark = f"No command here uses a {architecture}."
    dtypes: Counter[str] = Counter()
    for header in headers:
        dtypes[header.dtype] += header.nbytes
    return Facts(
        architecture=architecture, is_gguf=False, command="" if remark else COMMANDS[architecture],
        parameters=config.n_parameters if config else sum(header.count for header in headers),
        dtypes=dict(dtypes), tensors=len(headers), weight_files=tuple(weight_files(path)),
        context=config.max_positions if config else _first_number(told, CONTEXT_KEYS),
        vocabulary=config.vocab_size if config else _first_number(told, ("vocab_size",)),
        config=config, remark=remark, told=told,
    )  # fmt: skip


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model. Raises ModelError when there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise ModelError(f"There is no {path.name} in {path.parent}.") from e
    except (OSError, ValueError, RecursionError) as e:
        raise ModelError(f"{path} cannot be read: {e}.") from e
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds no JSON object.")
    return value


def files_of(path: Path) -> dict[str, int]:
    """The files of a model and their bytes; hidden ones are not a model's."""
    if path.is_file():
        return {path.name: path.stat().st_size}
    found = {str(p.relative_to(path)): p for p in sorted(path.rglob("*")) if p.is_file()}
    return {name: p.stat().st_size for name, p in found.items() if not name.startswith(".")}


def source_of(path: Path) -> Mapping[str, Any]:
    """What `tfm models pull` noted when it fetched a model; empty for one that came another way."""
    try:
        return read_object(path / SOURCE)
    except ModelError:
        return {}


def licence_of(path: Path) -> tuple[str, str]:
    """(licence, the file that says so) of a model directory; ("", "") where no file says it."""
    if licence := source_of(path).get("licence"):
        return str(licence), "its package"
    card = path / "README.md"
    if licence := _from_card(card, "license"):
        return licence, card.name
    for pattern in ("LICENSE*", "LICENCE*", "COPYING*"):
        for file in sorted(p for p in path.glob(pattern) if p.is_file()):
            return f"see {file.name}", file.name
    return "", ""


def _from_card(card: Path, key: str) -> str:
    """A value of the block between two lines of --- that a model card begins with."""
    try:
        first, *lines = card.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):
        return ""
    if first.strip() != "---":
        return ""
    for line in lines:
        if line.strip() == "---":
            break
        name, _, value = line.partition(":")
        if name == key:
            return value.strip().strip("'\"")
    return ""


def _first_number(told: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    return next((told[key] for key in keys if isinstance(told.get(key), int)), None)

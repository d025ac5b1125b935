"""Checkpoint directories in Hugging Face's layout, read and written.

Reading: the model is made without values, each tensor is then copied into place (and converted, if asked for) out
of a short-lived mapping of its file. So the peak is the weights once, and nothing in the directory is executed.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.errors import CheckpointError
from engine.families import family_of, placements, read_config, write_config
from engine.family import Family, Placement
from engine.lookup import FILE as EXAMPLES
from engine.memory import QuantKind
from engine.quantising import quantise_as_read
from engine.template import ChatTemplate

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SHARD_BYTES = 2 << 30  # of one weight file at most
MAPPED_BYTES = 16 << 20  # a file is mapped anew after so much was read of it: mapped pages count as memory
# What stands beside the weights and belongs to them; a README.md tells of other weights.
COMPANIONS = (
    "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "chat_template*", "vocab.*", "merges.txt", "LICENSE*", "NOTICE*", EXAMPLES,
)  # fmt: skip
# How tensors end that change nothing: a tied head may be stored too, and old checkpoints keep the angles.
HARMLESS = ("lm_head.weight", "rotary_emb.inv_freq")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError when there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise CheckpointError(
            f"There is no {path.name} in {path.parent}.", "A model is a directory in Hugging Face layout."
        ) from e
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as e:
        raise CheckpointError(f"{path} cannot be read: {e}.") from e
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds no JSON object.")
    return value


def load_config(directory: Path) -> ModelConfig:
    """The ModelConfig of a checkpoint directory; end tokens that generation_config.json names are added."""
    raw = read_json(directory / "config.json")
    eos = raw.get("eos_token_id", family_of(raw).defaults["eos_token_id"])
    ids = eos if isinstance(eos, list) else [eos]
    more = load_generation_config(directory).get("eos_token_id")
    ids = [*ids, *(more if isinstance(more, list) else [more])]
    # The union: a chat model's turn end may stand in one of the two files only, and without it nothing stops.
    return read_config(raw | {"eos_token_id": [i for n, i in enumerate(ids) if i is not None and i not in ids[:n]]})


def load_generation_config(directory: Path) -> dict[str, Any]:
    """The contents of generation_config.json; empty when there is none."""
    path = directory / "generation_config.json"
    return read_json(path) if path.is_file() else {}


def load_model(
    directory: Path, config: ModelConfig, dtype: torch.dtype, device: torch.device, quant: QuantKind = "none"
) -> DecoderLM:
    """The decoder of a directory with its weights in `dtype`.

    quant: how matrices are quantised as they are read; then dtype must be bfloat16, on a CPU that has a kernel.
    Raises CheckpointError, by name, for a tensor that is missing, left over or of another shape.
    """
    family = family_of(read_json(directory / "config.json"))
    files = files_of_tensors(directory)
    wanted = list(islice(placements(family, config), len(files) + 1))  # a config may ask for a thousand million layers
    wanted = list(_as_named(wanted, files, family))
    _check_names(directory, wanted, files, family)
    model = empty_model(config, dtype, device)
    model.architecture = family.architecture
    if quant != "none":
        wanted = quantise_as_read(model, wanted, files, quant, fill_parameters)
    parameters = dict(model.named_parameters())
    by_file: dict[Path, list[Placement]] = {}
    for place in wanted:
        by_file.setdefault(files[place.theirs], []).append(place)
    for path, places in by_file.items():
        fill_parameters(path, places, parameters)
    return model.eval().requires_grad_(False)


def family_of_model(model: DecoderLM) -> Family:
    """The family that a model is written as: its own, or one that has such models. Raises CheckpointError for none."""
    return family_of(write_config(model.config, model.architecture))


def _as_named(places: Iterable[Placement], names: Iterable[str], family: Family) -> Iterator[Placement]:
    """The placements with the names that a file has, which may all lack the prefix."""
    lacks = bool(family.prefix) and not any(name.startswith(family.prefix) for name in names)
    for place in places:
        yield replace(place, theirs=place.theirs.removeprefix(family.prefix)) if lacks else place


def _as_ours(tensor: Tensor, place: Placement) -> Tensor:
    """A stored tensor with its rows as ours are. One of a wrong shape stays, to be refused."""
    if place.transposed:
        return tensor.T if tensor.dim() == 2 else tensor
    heads = place.interleaved
    if heads and tensor.dim() and len(tensor) % (3 * heads) == 0:
        return tensor.reshape(heads, 3, -1, *tensor.shape[1:]).transpose(0, 1).reshape(tensor.shape)
    return tensor


def _as_theirs(tensor: Tensor, place: Placement) -> Tensor:
    """The other way."""
    if place.transposed:
        return tensor.T
    if place.interleaved:
        return tensor.reshape(3, place.interleaved, -1, *tensor.shape[1:]).transpose(0, 1).reshape(tensor.shape)
    return tensor


def empty_model(config: ModelConfig, dtype: torch.dtype, device: torch.device) -> DecoderLM:
    """A decoder whose parameters have no values yet. Raises CheckpointError when it cannot be held."""
    try:
        with torch.device(device), _default_dtype(dtype):
            return DecoderLM(config)  # without values: memory that is not written is not taken
    except (RuntimeError, TypeError, OverflowError) as e:
        raise CheckpointError(f"There is no memory for {config.n_parameters:,} parameters.") from e


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """New parameters have this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def files_of_tensors(directory: Path) -> dict[str, Path]:
    """Tensor name -> its file, from the index or the single file."""
    index = directory / INDEX
    if not index.is_file():
        path = directory / SINGLE
        if not path.is_file():
            raise CheckpointError(f"There is no {SINGLE} in {directory}.")
        with open_tensors(path) as file:
            return dict.fromkeys(file.keys(), path)
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict):
        raise CheckpointError(f"{index} has no weight_map.")
    for shard in names.values():
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CheckpointError(f"{index} names {shard!r}, which is no file name in the directory.")
        if not (directory / shard).is_file():
            raise CheckpointError(f"The weight file {shard} that {INDEX} names is not in {directory}.")
    return {name: directory / shard for name, shard in names.items()}


def _check_names(directory: Path, wanted: Iterable[Placement], files: Mapping[str, Path], family: Family) -> None:
    names = {place.theirs for place in wanted}
    if missing := sorted(names - set(files)):
        raise CheckpointError(f"{directory}: the tensor {missing[0]} is missing.")
    harmless = (*HARMLESS, *family.spare)
    if spare := sorted(name for name in set(files) - names if not name.endswith(harmless)):
        raise CheckpointError(f"{directory}: the tensor {spare[0]} has no place in a {family.architecture}.")


def open_tensors(path: Path) -> Any:
    """A safetensors file, mapped: a context manager. Raises CheckpointError when it is damaged or another thing."""
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as e:
        raise CheckpointError(f"{path} is truncated or no safetensors file ({e}).") from e


@torch.no_grad()
def fill_parameters(path: Path, places: list[Placement], parameters: Mapping[str, Tensor]) -> None:
    """Copy the tensors of one file into place. Raises CheckpointError, by name, for one of another shape."""
    waiting = list(places)
    while waiting:
        read = 0
        with open_tensors(path) as file:
            present = set(file.keys())
            while waiting and read < MAPPED_BYTES:
                place = waiting.pop()
                if place.theirs not in present:
                    raise CheckpointError(f"The tensor {place.theirs} is not in {path}, where the index says it is.")
                source = file.get_tensor(place.theirs)
                source = _as_ours(source[place.skip :] if source.dim() else source, place)
                target = parameters[place.ours] if place.rows is None else parameters[place.ours][place.rows]
                if source.shape != target.shape:
                    raise CheckpointError(
                        f"{path}: {place.theirs} has the shape {list(source.shape)}; "
                        f"the config asks for {list(target.shape)}."
                    )
                if not source.is_floating_point():
                    raise CheckpointError(
                        f"{path}: {place.theirs} is stored as {source.dtype}, which is not supported."
                    )
                target.copy_(source)
                read += source.nbytes
                del source  # or its mapping would live on beside the next one


def save_checkpoint(
    directory: Path,
    model: DecoderLM,
    *,
    tokenizer_path: Path | None = None,
    template: ChatTemplate | None = None,
    generation: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.bfloat16,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a directory that this engine, transformers and others load alike; complete, or not at all.

    The directory is made beside its place and then moved there; an old one of that name is replaced.
    """
    config = model.config
    told = write_config(config, model.architecture) | {"torch_dtype": str(dtype).removeprefix("torch.")}
    sampled = {"do_sample": True} if generation else {}
    eos = {"bos_token_id": config.bos_id, "eos_token_id": list(config.eos_ids)}
    with complete_directory(directory) as half_written:
        write_json(half_written / "config.json", told)
        write_json(half_written / "generation_config.json", eos | sampled | dict(generation or {}))
        write_weights(half_written, model, dtype, shard_bytes)
        if tokenizer_path is not None:
            shutil.copyfile(tokenizer_path, half_written / "tokenizer.model")
            write_json(half_written / "tokenizer_config.json", _tokenizer_config(template))


def save_like(directory: Path, model: DecoderLM, base: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write a directory that is `base` with the weights of `model`: config, tokenizer, template and dtypes are base's.

    model must have base's shape. Complete, or not at all; an old directory of that name is replaced.
    """
    with complete_directory(directory) as half_written:
        for path in sorted({p for pattern in COMPANIONS for p in base.glob(pattern) if p.is_file()}):
            shutil.copyfile(path, half_written / path.name)
        write_weights(half_written, model, stored_dtypes(base), shard_bytes)


def stored_dtypes(directory: Path) -> dict[str, torch.dtype]:
    """Tensor name -> the dtype in which a checkpoint directory stores it."""
    kinds: dict[str, torch.dtype] = {}
    for path in sorted(set(files_of_tensors(directory).values())):
        with open_tensors(path) as file:
            for name in file.keys():  # noqa: SIM118  (no dictionary)
                kinds[name] = file.get_tensor(name).dtype  # a view of the mapping: nothing is read
    return kinds


@contextmanager
def complete_directory(directory: Path) -> Iterator[Path]:
    """A directory to write into, that takes its place when the block ends without an error; an old one is replaced.

    Raises CheckpointError when it cannot be written.
    """
    half_written = directory.with_name(directory.name + ".tmp")
    old = directory.with_name(directory.name + ".old.tmp")
    try:
        shutil.rmtree(half_written, ignore_errors=True)
        half_written.mkdir(parents=True)
        yield half_written
        for weights in half_written.glob("*.safetensors"):  # the library writes them for their owner alone
            weights.chmod(half_written.stat().st_mode & 0o666)  # as the umask lets other files be
        shutil.rmtree(old, ignore_errors=True)
        if directory.exists():
            os.replace(directory, old)  # moved, not deleted: whenever this is cut, one of the two is whole
        os.replace(half_written, directory)
    except (OSError, SafetensorError) as e:
        raise CheckpointError(f"{directory} cannot be written: {getattr(e, 'strerror', None) or e}.") from e
    finally:
        shutil.rmtree(half_written, ignore_errors=True)  # not there when all went well
    shutil.rmtree(old, ignore_errors=True)


def _tokenizer_config(template: ChatTemplate | None) -> dict[str, Any]:
    config: dict[str, Any] = {
        "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": True, "add_eos_token": False, "legacy": False, "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    if template is not None:
        config |= {"chat_template": template.jinja, "eos_token": template.end_of_turn or "</s>"}
    return config


def write_weights(
    directory: Path, model: DecoderLM, dtype: torch.dtype | Mapping[str, torch.dtype], shard_bytes: int = SHARD_BYTES
) -> None:
    """Write model.safetensors, or shards of at most `shard_bytes` with an index; dtype: of all tensors, or of each."""
    parameters = dict(model.named_parameters())
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    family = family_of_model(model)
    names = dtype if isinstance(dtype, Mapping) else [family.prefix]
    for place in _as_named(placements(family, model.config), names, family):
        source = parameters[place.ours] if place.rows is None else parameters[place.ours][place.rows]
        kind = dtype if isinstance(dtype, torch.dtype) else dtype[place.theirs]
        tensor = _as_theirs(source, place).detach().to("cpu", kind).contiguous().clone()
        if size and size + tensor.nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][place.theirs] = tensor
        size += tensor.nbytes
    metadata = {"format": "pt"}  # transformers refuses a file without it
    if len(shards) == 1:
        save_file(shards[0], directory / SINGLE, metadata)
        return
    names = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, directory / name, metadata)
    weight_map = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    total = sum(t.nbytes for shard in shards for t in shard.values())
    write_json(directory / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file, for people too."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

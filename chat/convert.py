"""`tfm convert`: a model written anew, as a directory or as a GGUF file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from chat import models
from chat.model_facts import licence_of
from chat.screen import Screen
from engine.errors import UsageError
from engine.gguf import gguf_at

if TYPE_CHECKING:
    from engine.source import Source

DTYPES = ("float32", "float16", "bfloat16")
QUANTS = ("f32", "f16", "bf16", "q8_0", "q4_0")


def convert(model: str, out: str, *, adapter: str | None, quant: str | None, dtype: str | None) -> int:
    """Write the model `model` to `out`: a GGUF file where the name ends in .gguf, else a directory.

    adapter: a PEFT directory, merged into the weights before. quant: of a file; dtype: of a directory; None: as exact
    as the model is stored. Returns the exit code. Raises UsageError when something stands at `out` already, ModelError
    for a model that cannot be used or said so.
    """
    base, target = models.resolve(model), Path(os.path.abspath(out))
    to_file = target.suffix.lower() == models.GGUF
    _check(out, target, to_file, quant, dtype, adapter)
    screen = Screen(plain=False)
    screen.wait(f"writing {target.name}")
    try:
        if to_file:
            remarks = _to_file(base, target, quant, None if adapter is None else Path(adapter).expanduser())
        elif adapter is not None:
            remarks = _merge(base, Path(adapter).expanduser(), target)
        else:
            remarks = _to_directory(base, target, dtype)
    finally:
        screen.stop_waiting()
    for remark in remarks:
        screen.report(f"tfm: {remark}")
    screen.write(f"{out}\n")
    return 0


def _check(out: str, target: Path, to_file: bool, quant: str | None, dtype: str | None, adapter: str | None) -> None:
    if quant is not None and quant not in QUANTS:
        raise UsageError(f"--quant must be one of {', '.join(QUANTS)}, not {quant!r}.")
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"--dtype must be one of {', '.join(DTYPES)}, not {dtype!r}.")
    if quant is not None and not to_file:
        raise UsageError(f"--quant is for GGUF files, and {out} does not end in {models.GGUF}.")
    if dtype is not None and to_file:
        raise UsageError("--dtype is for directories; a GGUF file has --quant.")
    if dtype is not None and adapter is not None:
        raise UsageError("--merge keeps the dtypes of its base; --dtype is for another call.")
    if target.exists() and (to_file or not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{out} holds something already; nothing is overwritten.", "Name another place.")


def _to_file(base: Path, target: Path, quant: str | None, adapter: Path | None) -> list[str]:
    import torch

    from engine.adapter import apply_adapter, read_adapter_config
    from engine.gguf_writing import Companions, write_gguf
    from engine.recommended import sampling_defaults
    from engine.source import open_source

    source = open_source(base)
    if adapter is not None:
        read_adapter_config(adapter)  # a mistake in its name is told before the weights are read
    exact = source.exact_dtype()
    weights = source.model(exact, torch.device("cpu"))
    if adapter is not None:
        apply_adapter(weights, adapter)
    companions = Companions(
        _name(base, source), source.templates(), sampling_defaults(source.generation), _licence(base)
    )  # fmt: skip
    quant = quant or ("bf16" if exact == torch.bfloat16 else "f32")
    odd = write_gguf(target, weights, source.tokenizer(), companions, quant)
    if not odd:
        return []
    return [f"{len(odd)} matrices are stored as F16: the blocks of {quant} do not divide their rows ({odd[0]}, ...)."]


def _name(base: Path, source: "Source") -> str:
    """What the file calls the model: one that ships is known by the program's name too."""
    return f"tfm {source.name}" if base in models.shipped().values() else source.name


def _licence(base: Path) -> str:
    if base.is_dir():
        return licence_of(base)[0]
    from engine.gguf import open_gguf

    return str(open_gguf(base).metadata.get("general.license", ""))


def _merge(base: Path, adapter: Path, target: Path) -> list[str]:
    from engine.adapter import merge_into

    merge_into(base, adapter, target)
    return []


def _to_directory(base: Path, target: Path, dtype: str | None) -> list[str]:
    import torch

    from engine.hf_directory import copy_directory, write_directory
    from engine.source import open_source

    wanted: torch.dtype | None = None if dtype is None else getattr(torch, dtype)
    source = open_source(base)  # what the engine does not run is told so
    if gguf_at(base) is None:
        why = copy_directory(target, base, wanted)
    else:
        wanted = wanted or source.exact_dtype()
        why = write_directory(target, source, source.model(wanted, torch.device("cpu")), wanted)
    return [f"{why} transformers may read text in another way."] if why else []

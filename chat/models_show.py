"""`tfm models show`: what the files of one model say of it, and what it will take of memory. No weight is read."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chat import models
from chat.model_facts import Facts, files_of, licence_of, read_facts, source_of
from chat.models_list import megabytes
from chat.render import safe_text
from engine.config import ModelConfig
from engine.errors import TfmError, UsageError
from engine.memory import BYTES, KV_KINDS, QUANTS, Memory, cache_bytes, memory_of, quantised_bytes

if TYPE_CHECKING:
    from engine.tokenizer import Tokenizer

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "*.spm", "spiece.model", "sentencepiece.bpe.model", "vocab.*")


def show_model(name: str, context: int | None, as_json: bool) -> int:
    """Write what is known of a model to stdout. Raises ModelError for one that is not there or is damaged.

    context: positions that the memory is told for; the model's own number when None.
    """
    if context is not None and context < 1:
        raise UsageError(f"--context must be at least 1, not {context}.")
    path = models.resolve(name)
    told = describe(path, read_facts(path), context)
    if as_json:
        print(json.dumps(told, indent=2))
        return 0
    for label, text in _lines(told):
        print(safe_text(f"{label:<13} {text}".rstrip().replace("\n", " ")))
    return 0


def describe(path: Path, facts: Facts, context: int | None) -> dict[str, Any]:
    """All that is told of a model, as it stands in --json."""
    runs, remark = _described(path, facts)
    config = runs.config if runs else None
    files = files_of(path)
    tokenizer, template = _texts(path, runs)
    licence, said_in = licence_of(path) if path.is_dir() else ("", "")
    if not licence and "general.license" in facts.told:
        licence, said_in = str(facts.told["general.license"]), "its GGUF file"
    positions = facts.context if context is None else min(context, facts.context or context)
    return {
        "path": str(path), "source": _source(path, facts), "architecture": facts.architecture,
        "command": "" if remark else facts.command, "remark": remark, "parameters": facts.parameters,
        "dtypes": dict(facts.dtypes), "tensors": facts.tensors, "weight_files": [f.name for f in facts.weight_files],
        "context": facts.context, "rope_scaling": config.rope_scaling.kind if config and config.rope_scaling else None,
        "vocabulary": facts.vocabulary, "tokenizer": tokenizer, "template": template,
        "licence": licence, "licence_said_in": said_in, "bytes": sum(files.values()), "files": files,
        "memory": _memory(runs, positions),
    }  # fmt: skip


@dataclass(frozen=True)
class Runs:
    """A decoder that the engine runs; what takes a while to read is read when it is asked for."""

    config: ModelConfig
    tokenizer: "Callable[[], Tokenizer]"
    templates: Callable[[], dict[str, str]]
    is_float: bool = True  # so that --quant can be asked for
    kept: int | None = None  # bytes of weights that stay quantised as they are stored, with all others in bfloat16


def _described(path: Path, facts: Facts) -> tuple[Runs | None, str]:
    """(the model as the engine would open it, why no command uses it)."""
    if facts.is_gguf:
        import torch

        from engine.source import open_source

        try:
            source = open_source(path)
        except TfmError as e:
            return None, str(e)
        kept = source.weight_bytes(torch.bfloat16, keep=True) if source.stays_quantised() else None
        return Runs(source.config, source.tokenizer, source.templates, False, kept), ""
    if facts.config is None:
        return None, facts.remark
    from engine.tokenizer import load_tokenizer
    from engine.tokenizer_config import read_chat_templates

    return Runs(facts.config, lambda: load_tokenizer(path), lambda: read_chat_templates(path)), ""


def _memory(runs: Runs | None, context: int | None) -> dict[str, Any] | None:
    """The estimate by the type that the weights are held in; None for what is no decoder of the engine.

    kv, quant: what the cache and the weights alone take with those flags.
    """
    if runs is None or context is None:
        return None
    config = runs.config
    found = {dtype: memory_of(config, context, dtype) for dtype in BYTES}
    if runs.kept is not None:
        found["kept"] = memory_of(config, context, "bfloat16", weights=runs.kept)
    dtype = "bfloat16" if runs.kept is not None else "float32"  # of the scales of int8
    return {
        "context": context,
        **{name: _parts(memory) for name, memory in found.items()},
        "kv": {kind: cache_bytes(config, context, dtype, kind) for kind in KV_KINDS if kind != "auto"},
        "quant": {q: quantised_bytes(config, q) for q in QUANTS if q != "none"} if runs.is_float else {},
    }


def _parts(memory: Memory) -> dict[str, int]:
    return {"weights": memory.weights, "cache": memory.cache, "work": memory.work, "total": memory.total}


def _texts(path: Path, runs: Runs | None) -> tuple[str, dict[str, str]]:
    """(the tokenizer; the template: its name, where it is from and its hash, or why there is none)."""
    if runs is None:
        found = sorted({p.name for pattern in TOKENIZER_FILES for p in path.glob(pattern)})
        return ", ".join(found) or "none", {"none": "it does not chat"}
    from engine.template_choice import choose_template

    try:
        tokenizer = runs.tokenizer()
    except TfmError as e:
        return f"unusable: {e}", {"none": "there is no tokenizer"}
    said = f"{tokenizer.path.name}, {tokenizer.vocab_size:,} pieces"
    try:
        own = runs.templates()
        chosen, source = choose_template(own, None, tokenizer)
    except TfmError as e:
        return said, {"none": str(e)}
    if chosen is None:
        return said, {"none": source}
    digest = hashlib.sha256(own["default"].encode("utf-8", "surrogatepass")).hexdigest()
    return said, {"name": chosen.name, "from": source, "sha256": digest}


def _source(path: Path, facts: Facts) -> str:
    """Where a model is from, as far as anything says so."""
    noted = source_of(path)
    if "package" in noted:
        return f"the package {noted['package']} {noted.get('version', '')}".rstrip()
    if "repository" in noted:
        return f"{noted['repository']} at {noted.get('revision', '')} of the Hugging Face hub"
    if path in models.shipped().values():
        return "shipped with tfm"
    for name, snapshot in models.cached().items():
        if snapshot == path:
            return f"{name.partition('@')[0]} at {path.name} of the Hugging Face hub"
    keys = ("general.source.url", "general.source.repo_url", "general.repo_url", "general.base_model.0.repo_url")
    return next((str(facts.told[key]) for key in keys if facts.told.get(key)), "not said")


def _lines(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a person reads: (label, text) of each line."""
    stored = ", ".join(f"{dtype} {megabytes(size)}" for dtype, size in sorted(told["dtypes"].items()))
    template = told["template"]
    scaling = f", {told['rope_scaling']} scaling" if told["rope_scaling"] else ""
    shown_template = (
        f"none: {template['none']}"
        if "none" in template
        else f"{template['name']}, from {template['from']} (sha256 {template['sha256'][:12]})"
    )
    lines = [
        ("path", told["path"]),
        ("source", told["source"]),
        ("licence", f"{told['licence']} (by {told['licence_said_in']})" if told["licence"] else "not said"),
        ("architecture", told["architecture"]),
        ("used by", told["command"] or f"nothing here. {told['remark']}"),
        ("parameters", f"{told['parameters']:,}"),
        ("stored as", f"{stored}; {told['tensors']} tensors"),
        ("context", f"{told['context']:,} positions{scaling}" if told["context"] else "not said"),
        ("vocabulary", f"{told['vocabulary']:,}" if told["vocabulary"] else "not said"),
        ("tokenizer", told["tokenizer"]),
        ("template", shown_template),
        *_memory_lines(told["memory"]),
        ("on disk", f"{megabytes(told['bytes'])} in {len(told['files'])} files"),
    ]
    return lines + [("", f"{name}  {megabytes(size)}") for name, size in told["files"].items()]


def _memory_lines(memory: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """A line for each form of the weights; kept: quantised as they are stored."""
    if memory is None:
        return []
    lines = [("memory", f"at {memory['context']:,} positions, beside the program itself (an estimate):")]
    for form in (*BYTES, "kept"):
        if form in memory:
            parts = {name: megabytes(size) for name, size in memory[form].items()}
            sums = f"{parts['weights']} weights + {parts['cache']} cache + {parts['work']} work = {parts['total']}"
            lines.append(("", f"{form:<9} {sums}"))
    for flag, what in (("kv", "cache"), ("quant", "weights")):
        told = ", ".join(f"{megabytes(size)} with --{flag} {kind}" for kind, size in memory[flag].items())
        if told:
            lines.append(("", f"{what:<9} {told}"))
    return lines

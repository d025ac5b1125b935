"""A model from the Hugging Face hub, through huggingface_hub. Torch-free.

Its hf_hub_download starts a file anew in each process; its http_get, one layer below, goes on from where a file was
cut, so that is what is called here, with a file of our own.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chat.models import models_directory
from chat.pull_place import check_space, is_here, place_for, put_in_place
from engine.errors import ModelError

# What a model is loaded from, and what it may be used for. Not: other formats of the same weights, examples, pictures.
COMPANIONS = (
    "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "chat_template*", "additional_chat_templates/*.jinja", "vocab.*", "merges.txt", "*.model", "*.spm",
    "LICENSE*", "LICENCE*", "NOTICE*", "README.md",
)  # fmt: skip
WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
GGUF = re.compile(r"[^/]+\.gguf", re.IGNORECASE)
BLOCK = 1 << 20  # bytes read at once
PART = ".part"  # ends the name of a file that is not all here


def pull_repository(repository: str, revision: str | None, hub: Any = None) -> Path:
    """The directory of a repository's model at a revision; only what is missing is fetched.

    hub: the module huggingface_hub, or what stands for it. Raises ModelError when it is missing, when the hub does
    not give the model, or when a file is not what the hub says.
    """
    hub = hub or _library()
    info = _ask(repository, hub.HfApi().model_info, repository, revision=revision, files_metadata=True)
    wanted = needed_files(repository, {file.rfilename: file for file in info.siblings or ()})
    name = repository if revision is None else f"{repository}@{revision.replace('/', '-')}"
    place = models_directory() / name
    if is_here(place, repository=repository, revision=info.sha):
        return place
    with place_for(name) as (filling, place):
        parts = {file: filling / f"{file}.{_hash_of(told)[-12:]}{PART}" for file, told in wanted.items()}
        _remove_others(filling, {*parts.values(), *(filling / file for file in wanted)})
        total = sum(file.size or 0 for file in wanted.values())
        here = sum(path.stat().st_size for path in filling.rglob("*") if path.is_file())
        check_space(filling, total - here)
        with _progress(repository, total) as advance:
            for file, told in wanted.items():
                _bring(hub, repository, info.sha, told, parts[file], filling / file, advance)
        hashes = {file: _hash_of(told) for file, told in wanted.items()}
        put_in_place(filling, place, {"repository": repository, "revision": info.sha, "files": hashes})
    return place


def _bring(
    hub: Any, repository: str, commit: str, told: Any, part: Path, whole: Path, advance: Callable[[int], None]
) -> None:
    """Have a file here, whole and with the hub's hash. What an earlier pull has brought of it is not fetched again.

    Raises ModelError when it does not come, or is another; what came of it is kept in the first case only.
    """
    if whole.is_file() and _same(whole, told):
        return advance(whole.stat().st_size)
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as out:
        before = out.tell()
        advance(before)
        _ask(
            repository, hub.file_download.http_get, hub.hf_hub_url(repository, told.rfilename, revision=commit), out,
            resume_size=before, headers=hub.utils.build_hf_headers(), expected_size=told.size,
            tqdm_class=_bar(advance),
        )  # fmt: skip
    if not _same(part, told):
        part.unlink()
        raise ModelError(
            f"{told.rfilename} of {repository} came damaged: its hash is not the hub's.", "Pull again to fetch it anew."
        )
    part.replace(whole)


def _bar(advance: Callable[[int], None]) -> type:
    """What huggingface_hub takes for a progress bar of one file."""

    class Bar:
        def __init__(self, **_: Any) -> None:
            pass

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, count: int) -> None:
            advance(count)

    return Bar


@contextmanager
def _progress(repository: str, total: int) -> Iterator[Callable[[int], None]]:
    """One bar for all files, on a terminal alone; gives what is called with the bytes that came."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not sys.stderr.isatty()
    ) as progress:
        task = progress.add_task(repository, total=total)
        yield lambda count: progress.advance(task, count)


def _library() -> Any:
    if find_spec("huggingface_hub") is None:
        raise ModelError(
            "Fetching from the Hugging Face hub needs the package huggingface_hub.",
            "Install it: pip install 'tfm[hf]'.",
        )
    import huggingface_hub.file_download
    import huggingface_hub.utils

    return huggingface_hub


def _ask(repository: str, function: Any, *arguments: Any, **options: Any) -> Any:
    """What a function of the library returns. Raises ModelError with its reason when it fails."""
    try:
        return function(*arguments, **options)
    except Exception as e:  # the library and its transport raise errors of many kinds, by version
        reason = next((line.strip() for line in str(e).splitlines() if line.strip()), type(e).__name__)
        raise ModelError(
            f"{repository} cannot be fetched: {reason.rstrip('.')}.", "What came so far is kept; pull again to go on."
        ) from e


def needed_files(repository: str, files: Mapping[str, Any]) -> dict[str, Any]:
    """Of the files of a repository those to fetch: weights as safetensors, or else the only .gguf, and companions.

    Raises ModelError when its weights are in neither form.
    """
    weights = [name for name in files if WEIGHTS.fullmatch(name)]
    if not weights:
        weights = [name for name in files if GGUF.fullmatch(name)]
        if len(weights) > 1:
            raise ModelError(f"{repository} holds {len(weights)} .gguf files, and which is meant is not known.")
    if not weights:
        pickled = any(name.endswith((".bin", ".pt", ".pth")) for name in files)
        why = "only pickled weights, which can run code" if pickled else "no weights"
        raise ModelError(f"{repository} holds {why}; model.safetensors or a .gguf file is read.")
    beside = [name for name in files if any(_matches(name, pattern) for pattern in COMPANIONS)]
    return {name: files[name] for name in sorted({*weights, *beside})}


def _matches(name: str, pattern: str) -> bool:
    """fnmatch, but * does not reach into a directory, nor out of it."""
    return name.count("/") == pattern.count("/") and ".." not in name and "\\" not in name and fnmatch(name, pattern)


def _hash_of(told: Any) -> str:
    """The hash that the hub gives a file: sha256 of a large one, git's sha1 of a small one."""
    return f"sha1:{told.blob_id}" if told.lfs is None else f"sha256:{told.lfs.sha256}"


def _same(path: Path, told: Any) -> bool:
    """Whether a file is the one that the hub tells of."""
    digest = hashlib.sha256()
    if told.lfs is None:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return f"{digest.name}:{digest.hexdigest()}" == _hash_of(told)


def _remove_others(directory: Path, wanted: set[Path]) -> None:
    """Remove what an earlier pull of another revision has left."""
    for path in directory.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()

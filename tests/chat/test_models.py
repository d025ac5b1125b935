"""What `-m` means, and where models are looked for."""

from pathlib import Path

import pytest
from models_on_disk import directory

from chat import models
from chat.settings import gather
from engine.errors import ModelError


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights package with one model in it."""
    package = tmp_path / "site" / "weights"
    (package / "default").mkdir(parents=True)
    (package / "default" / "config.json").write_text("{}", encoding="utf-8")
    (package / "train").mkdir()
    monkeypatch.setattr(models, "shipped", lambda: {"default": package / "default"})
    return package


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models directory, named by the variable."""
    monkeypatch.setenv("TFM_MODELS_DIR", str(tmp_path / "mine"))
    return tmp_path / "mine"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf" / "hub"


def snapshot(hub: Path, repository: str, commit: str) -> Path:
    """A snapshot as huggingface_hub lays it: links to blobs."""
    home = hub / f"models--{repository.replace('/', '--')}"
    made = directory(home / "snapshots" / commit)
    blob = home / "blobs" / f"blob-of-{commit}"
    blob.parent.mkdir(exist_ok=True)
    (made / "model.safetensors").rename(blob)
    (made / "model.safetensors").symlink_to(blob)
    return made


def test_a_directory_is_a_model(tmp_path: Path, weights: Path) -> None:
    assert models.resolve(str(tmp_path)) == tmp_path
    assert models.resolve("default") == weights / "default"


@pytest.mark.parametrize("name", ["nothing", "", "/nowhere/at/all", "default2"])
def test_an_unknown_model_is_told_with_what_there_is(name: str, weights: Path) -> None:
    with pytest.raises(ModelError, match="Shipped here: default"):
        models.resolve(name)


def test_a_file_is_not_a_model(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="not a directory"):
        models.resolve(str(tmp_path / "model.bin"))


def test_a_gguf_file_is_a_model(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "a.GGUF").write_bytes(b"")
    assert models.resolve(str(tmp_path / "a.GGUF")) == tmp_path / "a.GGUF"


def test_without_the_default_model_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    directory(root / "my-default")  # another's name that contains it is not meant
    monkeypatch.setattr(models, "shipped", dict)
    with pytest.raises(ModelError, match="tfm train"):
        models.resolve("default")


def test_an_exact_name_wins_over_a_part_of_others(root: Path, weights: Path) -> None:
    for name in ("smol", "smol-large", "owner/smol"):
        directory(root / name)
    assert models.resolve("smol") == root / "smol"
    assert models.resolve("owner/smol") == root / "owner" / "smol"


def test_the_only_name_that_contains_it_is_meant_in_any_case(root: Path, hub: Path, weights: Path) -> None:
    directory(root / "Owner" / "SmolLM2-135M")
    other = snapshot(hub, "maker/pythia", "c1")
    assert models.resolve("smollm2") == root / "Owner" / "SmolLM2-135M"
    assert models.resolve("maker") == other


def test_several_names_that_contain_it_are_listed(root: Path, hub: Path, weights: Path) -> None:
    directory(root / "smol-a")
    snapshot(hub, "owner/smol-b", "c1")
    with pytest.raises(ModelError, match=r"owner/smol-b, smol-a\. Name one"):
        models.resolve("smol")


def test_a_path_is_meant_before_a_name(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory(root / "smol")
    monkeypatch.chdir(directory(tmp_path / "here" / "smol").parent)
    assert models.resolve("smol") == Path("smol")


def test_the_models_directory_is_that_of_the_user_unless_the_variable_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert models.models_directory() == tmp_path / "data" / "tfm" / "models"
    monkeypatch.setenv("TFM_MODELS_DIR", "~/models")
    assert models.models_directory() == Path.home() / "models"


def test_a_variable_of_the_machine_disturbs_no_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFM_MODELS_DIR", "/somewhere")
    monkeypatch.setenv("TFM_OFFLINE", "1")
    assert gather({})["model"] == "default"


def test_hidden_and_loose_files_are_no_models(root: Path) -> None:
    directory(root / ".partial" / "half")
    directory(root / "whole")
    (root / "notes.txt").write_text("")
    (root / "loose.gguf").write_text("")
    assert list(models.pulled()) == ["loose.gguf", "whole"]


def test_of_several_snapshots_the_main_one_has_the_plain_name(hub: Path) -> None:
    main, old = snapshot(hub, "owner/name", "f" * 40), snapshot(hub, "owner/name", "0" * 40)
    (hub / "models--owner--name" / "refs").mkdir()
    (hub / "models--owner--name" / "refs" / "main").write_text("f" * 40)
    assert models.cached() == {"owner/name": main, "owner/name@000000000000": old}


def test_the_caches_place_follows_the_variables_of_huggingface_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "direct"))
    assert models.hub_cache() == tmp_path / "direct"
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.delenv("HF_HOME", raising=False)
    assert models.hub_cache() == tmp_path / "cache" / "huggingface" / "hub"

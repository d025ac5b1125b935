"""What `-m` means."""

from pathlib import Path

import pytest

from chat import models
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


def test_without_the_default_model_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "shipped", dict)
    with pytest.raises(ModelError, match="tfm train"):
        models.resolve("default")

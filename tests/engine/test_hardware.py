"""What this processor does fastest, measured once; dtypes and devices by name."""

import json
from pathlib import Path

import pytest
import torch

from engine import hardware
from engine.errors import UsageError
from engine.hardware import fastest, processor_name, resolve_device, resolve_dtype


@pytest.fixture(autouse=True)
def measurements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """No clock: the measurement says bfloat16 for one row and float32 for many, and notes that it was asked."""
    asked: list[int] = []

    def measure(rows: int) -> str:
        asked.append(rows)
        return "bfloat16" if rows == 1 else "float32"

    monkeypatch.setattr(hardware, "_fastest_now", measure)
    return asked


def stored(home: Path) -> Path:
    return home / "cache" / "tfm" / "processor.json"


def test_dtypes_by_name() -> None:
    assert resolve_dtype("float32") is torch.float32 and resolve_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(UsageError, match="--dtype must be auto, float32 or bfloat16, not 'int3'"):
        resolve_dtype("int3")


def test_auto_is_what_decodes_fastest_and_is_measured_once(home: Path, measurements: list[int]) -> None:
    assert resolve_dtype("auto") is torch.bfloat16
    assert fastest("matmul") == "float32"
    assert resolve_dtype("auto") is torch.bfloat16
    assert sorted(measurements) == [1, 256]
    assert processor_name() in next(iter(json.loads(stored(home).read_text())))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"x": 5}', "\xff", "null"])
def test_a_damaged_cache_is_measured_again(content: str, home: Path, measurements: list[int]) -> None:
    stored(home).parent.mkdir(parents=True)
    stored(home).write_bytes(content.encode("latin-1"))
    assert fastest("decode") == "bfloat16" and measurements
    assert json.loads(stored(home).read_text())


@pytest.mark.parametrize("value", ["int3", 7, None, ["float32"]])
def test_a_cached_value_that_is_no_dtype_is_measured_again(value: object, home: Path) -> None:
    fastest("decode")
    known = json.loads(stored(home).read_text())
    stored(home).write_text(json.dumps({key: {"decode": value, "matmul": value} for key in known}))
    assert resolve_dtype("auto") is torch.bfloat16


def test_a_cache_that_cannot_be_written_is_no_error(home: Path) -> None:
    stored(home).parent.parent.mkdir(parents=True, exist_ok=True)
    stored(home).parent.write_text("a file where a folder should be")
    assert fastest("decode") == "bfloat16"


def test_another_processor_is_measured_anew(
    home: Path, measurements: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fastest("decode")
    monkeypatch.setattr(hardware, "processor_name", lambda: "another one")
    fastest("decode")
    assert len(measurements) == 4


def test_devices_by_name() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    for name in ("nowhere", "cuda:99", "", "cpu:x", "meta"):
        with pytest.raises(UsageError, match=f"--device {name}"):
            resolve_device(name)


def test_a_measurement_names_a_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(hardware, "REPEATS", 1)
    assert hardware._fastest_now(1) in hardware.DTYPES

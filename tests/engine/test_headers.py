"""Headers of safetensors files: read as far as the file goes, and believed no further."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from engine.errors import CheckpointError
from engine.headers import headers_of, read_headers


def written(path: Path, header: Any, data: int = 16) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"t": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | changes}


def test_it_says_what_the_library_wrote(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(3, 5, dtype=torch.bfloat16), "b": torch.zeros((), dtype=torch.int64)}
    save_file(tensors, tmp_path / "x.safetensors", {"format": "pt"})
    found = {h.name: (h.dtype, h.shape, h.nbytes, h.count) for h in read_headers(tmp_path / "x.safetensors")}
    assert found == {"a": ("BF16", (3, 5), 30, 15), "b": ("I64", (), 8, 1)}


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (entry(shape=[2, 3]), "which its shape and type do not"),
        (entry(data_offsets=[0, 32]), "16 bytes after the file"),
        (entry(data_offsets=[16, 0]), "truncated"),
        (entry(data_offsets=[-16, 0]), "no size"),
        (entry(shape=[2.0, 2]), "no size"),
        (entry(shape=[True, 4]), "no size"),
        (entry(shape=None), "lacks its type, shape or place"),
        ({"t": []}, "lacks its type, shape or place"),
        ([], "no JSON object"),
        (b"{]", "cannot be read"),
        (b"\xff\xff", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
    ],
)
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, header: Any, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        read_headers(written(tmp_path / "x.safetensors", header))


@pytest.mark.parametrize("length", [0, 1, 25, 1 << 31, (1 << 64) - 1])
def test_a_header_longer_than_its_file_is_not_read(tmp_path: Path, length: int) -> None:
    (tmp_path / "x").write_bytes(struct.pack("<Q", length) + b"{}" + bytes(16))
    with pytest.raises(CheckpointError, match=r"would not fit|cannot be read"):
        read_headers(tmp_path / "x")


@given(at=st.integers(0, 200), byte=st.integers(0, 255), cut=st.integers(0, 200))
def test_a_changed_byte_or_a_cut_is_an_error_or_a_header(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, cut: int
) -> None:
    path = written(tmp_path_factory.getbasetemp() / "fuzzed.safetensors", entry())
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(data[: len(data) - cut % len(data)])
    try:
        found = read_headers(path)
    except CheckpointError:
        return
    assert sum(h.nbytes for h in found) <= len(data)


def test_an_index_names_files_of_its_directory_only(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"t": "../x.safetensors"}}))
    with pytest.raises(CheckpointError, match="no file name in the directory"):
        headers_of(tmp_path)
    index.write_text(json.dumps({"weight_map": {"t": "y.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"There is no y\.safetensors"):
        headers_of(tmp_path)
    index.write_text("[]")
    with pytest.raises(CheckpointError, match="no weight_map"):
        headers_of(tmp_path)

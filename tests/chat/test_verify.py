"""`tfm verify`: the table, the JSON, the exit code; the shipped model passes."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from chat import models
from chat.cli import run_app
from chat.model_facts import SOURCE
from chat.verify import expected_hashes
from engine.layers.quantised import tile_rows

SHIPPED = models.shipped().get("default")
needs_model = pytest.mark.skipif(SHIPPED is None, reason="no model ships with this copy")
ALL = [
    "hashes", "shapes", "tokenizer", "injection", "template", "one pass", "KV cache", "chunked prefill", "batch",
    "--kv int8", "bfloat16",
]  # fmt: skip
QUANTISED = ["--quant q8_0", "--quant q4_0"] if tile_rows() is not None else []
ALL += QUANTISED
WEIGHTS = "model.safetensors"
Output = pytest.CaptureFixture[str]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The shipped model, to spoil."""
    assert SHIPPED is not None
    return Path(shutil.copytree(SHIPPED, tmp_path / "copy", ignore=shutil.ignore_patterns("examples.sqlite")))


def verified(capsys: Output, path: Path) -> tuple[int, dict[str, dict[str, Any]], str]:
    code = run_app(["verify", str(path), "--json"])
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["passed"] == (code == 0)
    return code, {row["name"]: row for row in told["checks"]}, err


@needs_model
def test_the_shipped_model_passes(capsys: Output) -> None:
    assert run_app(["verify"]) == 0
    out, err = capsys.readouterr()
    title, *lines = out.splitlines()
    assert title.split() == ["check", "verdict", "number", "limit"] and err == ""
    assert [name for name, line in zip(ALL, lines, strict=True) if not line.startswith(name)] == []
    assert "skipped" in lines[0] and all(" same " in line for line in lines[1:])


@needs_model
def test_hashes_from_a_pull_are_compared(copy: Path, capsys: Output) -> None:
    digest = hashlib.sha256((copy / WEIGHTS).read_bytes()).hexdigest()
    (copy / SOURCE).write_text(json.dumps({"files": {WEIGHTS: f"sha256:{digest}"}}))
    assert verified(capsys, copy)[:1] == (0,)
    (copy / SOURCE).write_text(json.dumps({"file": WEIGHTS, "sha256": digest[::-1]}))
    assert expected_hashes(copy) == {WEIGHTS: f"sha256:{digest[::-1]}"}
    code, rows, err = verified(capsys, copy)
    assert (code, rows["hashes"]["verdict"]) == (5, "differs")
    assert err == f"tfm: copy: 1 of {len(ALL)} checks differ: hashes.\n"


def without_tensor(copy: Path) -> None:
    tensors = load_file(copy / WEIGHTS)
    del tensors["model.norm.weight"]
    save_file(tensors, copy / WEIGHTS)


def without_numbers(copy: Path) -> None:
    tensors = load_file(copy / WEIGHTS)
    tensors["model.norm.weight"].fill_(torch.nan)
    save_file(tensors, copy / WEIGHTS)


def damaged_tokenizer(copy: Path) -> None:
    (copy / "tokenizer.model").write_bytes(b"nothing")


def wrong_template(copy: Path) -> None:
    told = json.loads((copy / "tokenizer_config.json").read_text())
    told["chat_template"] = "{{ bos_token }}" + told["chat_template"]
    (copy / "tokenizer_config.json").write_text(json.dumps(told))


@needs_model
@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        (without_tensor, ["shapes", "weights"]),
        (without_numbers, ["one pass", "KV cache", "chunked prefill", "batch", "--kv int8", "bfloat16", *QUANTISED]),
        (damaged_tokenizer, ["tokenizer"]),
        (wrong_template, ["template"]),
    ],
)
def test_what_is_spoilt_is_told_with_exit_code_5(
    spoil: Callable[[Path], None], wrong: list[str], copy: Path, capsys: Output
) -> None:
    spoil(copy)
    code, rows, err = verified(capsys, copy)
    assert (code, [name for name, row in rows.items() if row["verdict"] == "differs"]) == (5, wrong)
    assert err.count("\n") == 1 and ", ".join(wrong) in err


def test_what_is_no_model_is_a_sentence_and_exit_code_3(tmp_path: Path, capsys: Output) -> None:
    assert run_app(["verify", str(tmp_path)]) == 3
    out, err = capsys.readouterr()
    assert out == "" and "config.json" in err

"""`tfm models list|show|path`: what is said of models, of broken ones too, without loading any."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from models_on_disk import LLAMA, LLAMA_PARAMETERS, directory, gguf, safetensors

from chat import models
from chat.cli import run_app

ROOT = Path(__file__).parent.parent.parent
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models directory; no other model on this disk."""
    monkeypatch.setattr(models, "shipped", dict)
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TFM_MODELS_DIR", str(tmp_path / "mine"))
    return tmp_path / "mine"


def listed(capsys: Output) -> dict[str, Any]:
    assert run_app(["models", "list", "--json"]) == 0
    return {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}


def shown(capsys: Output, name: str, *more: str) -> dict[str, Any]:
    assert run_app(["models", "show", name, "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_the_list_tells_of_each_model_what_uses_it_and_how_large_it_is(root: Path, capsys: Output) -> None:
    directory(root / "owner" / "talker")
    directory(root / "encoder", {"architectures": ["TfmEncoder"]})
    found = listed(capsys)
    talker = found["owner/talker"]
    assert (talker["command"], talker["parameters"], talker["problem"]) == ("tfm run", LLAMA_PARAMETERS, "")
    assert talker["bytes"] == sum(p.stat().st_size for p in (root / "owner" / "talker").iterdir())
    assert (found["encoder"]["command"], found["encoder"]["parameters"]) == ("tfm fill", 640)


def test_a_broken_model_is_a_line_of_the_list(root: Path, capsys: Output) -> None:
    directory(root / "whole")
    damaged = directory(root / "damaged") / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (root / "empty").mkdir()
    (directory(root / "no-json") / "config.json").write_text("{")
    directory(root / "unknown", {"architectures": ["FooForBar"]})
    assert run_app(["models", "list"]) == 0
    out, err = capsys.readouterr()
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert "broken" in rows["damaged"] and "broken" in rows["empty"] and "broken" in rows["no-json"]
    assert "nothing" in rows["unknown"] and "tfm run" in rows["whole"]
    assert "damaged" in err and "truncated" in err and "No command here uses a FooForBar." in err


def test_names_cannot_drive_the_terminal(root: Path, capsys: Output) -> None:
    directory(root / "a\x1b[2Jb")
    directory(root / "c", {"architectures": ["x\x1b[2J\x9b\nlicence  mine"]})
    assert run_app(["models", "list"]) == 0
    assert run_app(["models", "show", "c"]) == 0
    assert run_app(["models", "show", "c", "--json"]) == 0
    out, err = capsys.readouterr()
    assert not {"\x1b", "\x9b"} & set(out + err)
    assert not [line for line in out.splitlines() if line.startswith("licence  mine")]


def test_an_empty_list_says_where_models_would_lie(root: Path, capsys: Output) -> None:
    assert run_app(["models", "list"]) == 0
    assert str(root) in capsys.readouterr().err


def test_listing_imports_no_torch(root: Path) -> None:
    directory(root / "talker")
    (root / "a.gguf").write_bytes(gguf({"general.architecture": "llama"}))
    code = "import sys; from chat.cli import run_app; run_app(['models', 'list']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "talker" in done.stdout and done.stdout.endswith("False\n"), done.stderr


def test_path_says_the_directory_and_nothing_else(root: Path, capsys: Output) -> None:
    directory(root / "talker")
    assert run_app(["models", "path", "talk"]) == 0
    assert capsys.readouterr() == (f"{root / 'talker'}\n", "")
    assert run_app(["models", "path", "nobody"]) == 3
    out, err = capsys.readouterr()
    assert out == "" and "nobody" in err


def test_show_tells_what_the_headers_say(root: Path, capsys: Output) -> None:
    directory(root / "talker")
    told = shown(capsys, "talker")
    assert (told["architecture"], told["parameters"]) == ("LlamaForCausalLM", LLAMA_PARAMETERS)
    assert (told["context"], told["vocabulary"], told["dtypes"]) == (32, 40, {"F32": 2560})
    assert told["tokenizer"].startswith("unusable") and told["template"] == {"none": "there is no tokenizer"}
    assert told["licence"] == "" and told["source"] == "not said"


def test_memory_is_told_at_the_context_that_was_asked_for(root: Path, capsys: Output) -> None:
    directory(root / "talker")
    whole, half = shown(capsys, "talker")["memory"], shown(capsys, "talker", "--context", "16")["memory"]
    assert whole["context"] == 32 and half["context"] == 16
    assert whole["float32"]["weights"] == 4 * LLAMA_PARAMETERS == 2 * whole["bfloat16"]["weights"]
    assert whole["float32"]["cache"] == 32 * 1 * 2 * 8 * 4 == 2 * half["float32"]["cache"]
    assert shown(capsys, "talker", "--context", "9999")["memory"]["context"] == 32
    numbers = 32 * 1 * 2 * 8
    assert whole["kv"] == {"bf16": 2 * numbers, "int8": numbers + 32 * 1 * 2 * 4}
    assert set(whole["quant"]) == {"q8_0", "q4_0"}
    assert run_app(["models", "show", "talker", "--context", "0"]) == 2


def test_a_config_that_the_engine_refuses_is_shown_with_the_reason(root: Path, capsys: Output) -> None:
    directory(root / "strange", LLAMA | {"mystery": 7})
    told = shown(capsys, "strange")
    assert told["command"] == "" and "mystery" in told["remark"] and told["memory"] is None
    assert told["parameters"] == 640 and told["context"] == 32


def test_the_licence_is_that_of_the_card_or_a_file(root: Path, capsys: Output) -> None:
    card = directory(root / "talker") / "README.md"
    card.write_text("---\nlicense: apache-2.0\n---\nlicense: no\n")
    assert shown(capsys, "talker")["licence"] == "apache-2.0"
    card.write_text("license: no\n")
    assert shown(capsys, "talker")["licence"] == ""
    (root / "talker" / "LICENSE.txt").write_text("Do as you like.")
    assert shown(capsys, "talker")["licence"] == "see LICENSE.txt"


def test_a_gguf_file_is_listed_and_shown(root: Path, capsys: Output) -> None:
    pytest.importorskip("gguf")
    (root / "smol").mkdir(parents=True)
    told = {"general.architecture": "llama", "llama.context_length": 64, "general.license": "mit"}
    (root / "smol" / "m.gguf").write_bytes(gguf(told))
    entry = listed(capsys)["smol"]
    assert (entry["architecture"], entry["parameters"], entry["command"]) == ("llama (GGUF)", 32, "tfm run")
    found = shown(capsys, "smol")
    assert (found["context"], found["licence"], found["dtypes"]) == (64, "mit", {"F32": 128})
    assert found["memory"] is None and "missing" in found["remark"]  # too little for the engine


def test_a_snapshot_of_the_hugging_face_cache_is_listed_by_its_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    made = directory(tmp_path / "hf" / "hub" / "models--owner--name" / "snapshots" / "abc")
    broken = tmp_path / "hf" / "hub" / "models--owner--half" / "snapshots" / "def"
    broken.mkdir(parents=True)
    (broken / "config.json").symlink_to(tmp_path / "no-such-blob")
    found = listed(capsys)
    assert found["owner/name"]["path"] == str(made) and found["owner/name"]["where"] == "hub"
    assert "config.json" in found["owner/half"]["problem"]
    assert shown(capsys, "owner/name")["source"] == "owner/name at abc of the Hugging Face hub"


def test_shards_are_counted_together_and_a_pickle_is_refused_with_the_reason(root: Path, capsys: Output) -> None:
    sharded = directory(root / "sharded", {"architectures": ["TfmEncoder"]})
    (sharded / "model.safetensors").unlink()
    for number in (1, 2):
        safetensors(sharded / f"part-{number}.safetensors", {f"t{number}": (2, 3)})
    index = {"weight_map": {"t1": "part-1.safetensors", "t2": "part-2.safetensors"}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    pickled = directory(root / "pickled") / "model.safetensors"
    pickled.rename(pickled.with_name("pytorch_model.bin"))
    found = listed(capsys)
    assert found["sharded"]["parameters"] == 12
    assert "pickle, which can run code" in found["pickled"]["problem"]


def test_a_header_that_lies_stops_nothing(root: Path, capsys: Output) -> None:
    weights = directory(root / "lying") / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    assert "would not fit" in listed(capsys)["lying"]["problem"]
    assert run_app(["models", "show", "lying"]) == 3

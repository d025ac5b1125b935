"""`tfm convert` and `--adapter`: what is written, what is refused, and with which code."""

import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from chat import cli
from engine.adapter import AdapterConfig, linear_targets, save_adapter
from engine.checkpoint import load_config, load_model, save_checkpoint
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.gguf import open_gguf
from engine.source import open_source
from engine.template import TFM
from weights.data.vocabulary import train_tokenizer

MODEL, LOW = "model.safetensors", "adapter_model.safetensors"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model directory of random weights."""
    config = ModelConfig(
        vocab_size=40, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=8, d_ff=24, max_positions=32
    )
    model = DecoderLM(config)
    model.init_weights(torch.Generator().manual_seed(1))
    save_checkpoint(tmp_path / "base", model, dtype=torch.float32)
    (tmp_path / "base" / "tokenizer.model").write_text("a tokenizer")
    pairs = {t.module: (torch.ones(2, t.d_in), torch.ones(t.stop - t.start, 2)) for t in linear_targets(model)}
    save_adapter(tmp_path / "adapter", pairs, AdapterConfig(2, 4), "base")
    return tmp_path / "base"


def convert(base: Path, *more: str) -> int:
    return cli.run_app(["convert", "-m", str(base), *more])


def test_a_merged_model_is_written_and_its_name_is_the_answer(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "merged"
    assert convert(base, "--merge", str(tmp_path / "adapter"), str(out)) == 0
    assert capsys.readouterr() == (f"{out}\n", "")
    before, after = load_file(base / MODEL), load_file(out / MODEL)
    assert before.keys() == after.keys()
    for name, tensor in before.items():  # every product B · A is 2, and the scale 4 / 2
        torch.testing.assert_close(after[name], tensor + 4 if "_proj" in name else tensor)
    assert (out / "tokenizer.model").read_text() == "a tokenizer"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_every_file_of_a_model_may_be_read_by_whom_the_umask_lets(
    base: Path, tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        assert convert(base, "--merge", str(tmp_path / "adapter"), str(tmp_path / "merged")) == 0
        written = [file.stat().st_mode & 0o777 for file in (tmp_path / "merged").glob("*.[js]*")]
    finally:
        os.umask(before)
    assert len(written) > 1 and set(written) == {mode}


def test_an_empty_directory_may_be_written_to(base: Path, tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    assert convert(base, "--merge", str(tmp_path / "adapter"), str(tmp_path / "merged")) == 0
    assert (tmp_path / "merged" / MODEL).is_file()


@pytest.mark.parametrize("taken", ["base", "base/config.json", "adapter"])
def test_nothing_is_overwritten(base: Path, tmp_path: Path, taken: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert convert(base, "--merge", str(tmp_path / "adapter"), str(tmp_path / taken)) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "nothing is overwritten" in shown.err and shown.err.count("\n") == 1
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--merge", "adapter"], 2, "MODEL"),
        (["default", "out"], 2, "named twice"),
        (["--merge", "nowhere", "out"], 3, "no adapter directory nowhere"),
        (["--merge", "base", "out"], 3, "no adapter_config.json in base"),
        (["--merge", "adapter", "-m", "nowhere", "out"], 3, "no model 'nowhere'"),
        (["--merge", "adapter", "-m", "adapter", "out"], 3, "config.json"),
        (["--merge", "adapter", "base/config.json/out"], 3, "cannot be written"),
        (["--merge", "adapter", "--dtype", "float32", "out"], 2, "--dtype"),
        (["--quant", "q8_0", "out"], 2, "--quant is for GGUF files"),
        (["--dtype", "float32", "out.gguf"], 2, "--dtype is for directories"),
        (["--quant", "q2_k", "out.gguf"], 2, "f32, f16, bf16, q8_0, q4_0"),
        (["--dtype", "int8", "out"], 2, "float32, float16, bfloat16"),
        (["out.gguf"], 3, "tokenizer.model"),
        (["out"], 3, "tokenizer.model"),
    ],
)
def test_what_is_wrong_is_one_sentence_a_code_and_no_directory(
    arguments: list[str], code: int, told: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert convert(Path("base"), *arguments) == code
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert told in shown.err
    assert {p.name for p in tmp_path.iterdir()} == {"base", "adapter"}


def test_a_model_is_named_once_and_so_is_what_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_app(["convert", "default"]) == 2
    assert "tfm convert MODEL OUT" in capsys.readouterr().err


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer.model."""
    path = tmp_path_factory.mktemp("pieces") / "tokenizer.model"
    train_tokenizer(["The quick brown fox jumps over the lazy dog.", "Who are you?"] * 4, 370, path, threads=1)
    return path


@pytest.fixture
def whole(base: Path, pieces: Path) -> Path:
    """A model directory with a tokenizer, whose vocabulary fits."""
    config = ModelConfig(
        vocab_size=384, d_model=32, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=48, max_positions=32
    )
    model = DecoderLM(config)
    model.init_weights(torch.Generator().manual_seed(1))
    path = base.parent / "whole"
    save_checkpoint(path, model, tokenizer_path=pieces, template=TFM)
    return path


def test_a_gguf_file_is_written_as_exact_as_the_model_is_or_as_asked(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, types, told in (
        ([], "BF16 (8), F32 (3)", ""),
        (["--quant", "f16"], "F16 (8), F32 (3)", ""),
        (["--quant", "q8_0"], "Q8_0 (7), F16 (1), F32 (3)", "blk.0.ffn_down.weight"),
    ):
        out = tmp_path / f"m{len(flags)}{flags[-1:]}.gguf"
        assert cli.run_app(["convert", str(whole), str(out), *flags]) == 0
        shown = capsys.readouterr()
        assert shown.out == f"{out}\n" and told in shown.err and bool(told) == bool(shown.err)
        assert open_gguf(out).quantisation() == types
    before = out.read_bytes()
    assert cli.run_app(["convert", str(whole), str(out)]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err and out.read_bytes() == before


def test_a_gguf_file_becomes_a_directory_and_a_directory_another(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, first, second = tmp_path / "m.gguf", tmp_path / "first", tmp_path / "second"
    assert cli.run_app(["convert", str(whole), str(path)]) == 0
    assert cli.run_app(["convert", "-m", str(path), str(first), "--dtype", "bfloat16"]) == 0
    assert cli.run_app(["convert", str(whole), str(second)]) == 0
    assert capsys.readouterr() == (f"{path}\n{first}\n{second}\n", "")
    original = load_file(whole / MODEL)
    for out in (first, second):
        assert all(torch.equal(tensor, original[name]) for name, tensor in load_file(out / MODEL).items())
        assert (out / "tokenizer.json").is_file()
    assert cli.run_app(["convert", str(path), str(tmp_path / "exact")]) == 0
    assert {t.dtype for t in load_file(tmp_path / "exact" / MODEL).values()} == {torch.float32}


def test_an_adapter_is_merged_into_a_gguf_file(whole: Path, tmp_path: Path) -> None:
    model = load_model(whole, load_config(whole), torch.bfloat16, torch.device("cpu"))
    pairs = {t.module: (torch.ones(2, t.d_in), torch.ones(t.stop - t.start, 2)) for t in linear_targets(model)}
    save_adapter(tmp_path / "other", pairs, AdapterConfig(2, 4), "whole")
    out, merged = tmp_path / "m.gguf", tmp_path / "merged"
    assert cli.run_app(["convert", str(whole), str(out), "--merge", str(tmp_path / "other")]) == 0
    assert cli.run_app(["convert", str(whole), str(merged), "--merge", str(tmp_path / "other")]) == 0
    here = load_model(merged, load_config(merged), torch.float32, torch.device("cpu"))
    there = open_source(out).model(torch.float32, torch.device("cpu"))
    assert all(map(torch.equal, here.parameters(), there.parameters()))
    assert not torch.equal(here.blocks[0].mlp.down.weight, model.float().blocks[0].mlp.down.weight)


def test_the_licence_and_a_name_go_along(whole: Path, tmp_path: Path) -> None:
    (whole / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    assert cli.run_app(["convert", str(whole), str(tmp_path / "m.gguf")]) == 0
    told = open_gguf(tmp_path / "m.gguf").metadata
    assert (told["general.name"], told["general.license"]) == ("whole", "mit")


def test_help_of_convert_imports_no_torch() -> None:
    import subprocess

    code = "import sys; from chat.cli import run_app; run_app(['convert', '--help']); sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False, capture_output=True).returncode == 0


def test_an_adapter_that_cannot_be_used_is_code_3_before_the_model_is_loaded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the weights were read")

    monkeypatch.setattr("engine.source.load_model", never)
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    for name, told in (("nowhere", "no adapter directory"), ("adapter", "peft_type is missing")):
        assert cli.run_app(["run", "-m", "default", "--adapter", str(tmp_path / name), "hello"]) == 3
        assert told in capsys.readouterr().err


def test_a_mistake_in_the_words_of_train_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["nonsense"], ["lora", "--rank", "0"], ["full"]):
        assert cli.run_app(["train", *words]) == 2
        shown = capsys.readouterr()
        assert shown.err.startswith("tfm: ") and shown.err.count("\n") == 1 and "a bug" not in shown.err

"""weights/pipeline.py and weights/cli.py: from a recipe and a corpus to a model that chats, as a user runs it."""

import json
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from engine.api import load_engine
from engine.checkpoint import load_config, save_checkpoint
from engine.decoder import DecoderLM
from engine.errors import DataError
from engine.params import SamplingParams
from engine.template import TFM, Message
from engine.tokenizer import SentencePieceTokenizer
from weights.pipeline import export
from weights.recipe import model_config, read_recipe
from weights.train.state import load_state, restore, trained_weights
from weights.workshop import Workshop

ROOT = Path(__file__).parents[2]
TINY = ROOT / "weights" / "recipes" / "tiny.toml"
SHORT = (
    "stage.pretrain.tokens=6000", "stage.sft.tokens=6000", "stage.pretrain.batch=4", "stage.pretrain.micro_batch=4",
    "stage.sft.batch=4", "stage.sft.micro_batch=2", "model.n_layers=2", "sources.identity.count=30",
    "sources.smalltalk.count=30",
)  # fmt: skip


def command(name: str, corpus: Path, out: Path, *more: str, sets: tuple[str, ...] = SHORT) -> list[str]:
    flags = [part for value in sets for part in ("--set", value)]
    paths = ["--corpus", str(corpus), "--out", str(out)]
    speed = [] if name == "tokenizer" else ["--no-compile", "--threads", "1"]
    verb, only = ("recipe", ["--only", name]) if name in ("pretrain", "sft") else (name, [])
    return [sys.executable, "-m", "weights", verb, str(TINY), *paths, *speed, *flags, *only, *more]


def run(arguments: list[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)


@dataclass
class Done:
    """How a command ended and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


Here = Callable[[list[str]], Done]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Run a command line of `python -m weights` in this process, where torch is loaded already."""

    def run_here(arguments: list[str]) -> Done:
        monkeypatch.setattr(sys, "argv", arguments[2:])
        capsys.readouterr()
        try:
            runpy.run_module("weights", run_name="__main__")
            code = 0
        except SystemExit as e:
            code = int(e.code or 0)
        return Done(code, *capsys.readouterr())

    return run_here


def losses(out: Path, stage: str) -> list[float]:
    rows = [json.loads(line) for line in (out / stage / "metrics.jsonl").read_text().splitlines()]
    return [r["loss"] for r in rows if "loss" in r]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place that a test fills once, for all of this module."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def out(trained: Path, corpus: Path, environment: dict[str, str]) -> Path:
    """Where `recipe` has run: the first test that asks for it waits for it."""
    out = trained / "out"
    if not out.exists():
        done = run(command("recipe", corpus, out), environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{out / 'model'}\n"
        assert "Traceback" not in done.stderr
    return out


def test_one_command_makes_a_model_directory_and_all_that_belongs_to_a_run(out: Path) -> None:
    for stage in ("pretrain", "sft"):
        names = {p.name for p in (out / stage).iterdir()}
        assert {"metrics.jsonl", "recipe.json", "losses.png"} <= names
        assert any(name.endswith(".ckpt") for name in names)
        assert losses(out, stage)
        bits = [json.loads(x) for x in (out / stage / "metrics.jsonl").read_text().splitlines() if "bits_per_byte" in x]
        assert set(bits[-1]["bits_per_byte"]) == {"tales", "hello", "facts"}
        begins = "Once upon a time | " if stage == "pretrain" else "Hello, who are you? | "  # as the recipe says
        assert bits[-1]["sample"].startswith(begins)
    assert {p.name for p in (out / "model").iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.model", "tokenizer_config.json",
    }  # fmt: skip
    assert not list(out.rglob("*.tmp"))


def test_a_blend_is_the_average_of_the_stages_it_names(out: Path, corpus: Path, tmp_path: Path) -> None:
    for part in ("tokenizer", "pretrain", "sft"):
        shutil.copytree(out / part, tmp_path / part)
    recipe = read_recipe(TINY, (*SHORT, "blend.pretrain=0.25", "blend.sft=0.75"))
    blended = load_file(export(Workshop(recipe, corpus, tmp_path)) / "model.safetensors")
    parts = [load_state(out / stage)["model"]["norm.weight"] for stage in ("pretrain", "sft")]  # type: ignore[index]
    expected = (0.25 * parts[0] + 0.75 * parts[1]).to(torch.bfloat16)
    assert torch.equal(blended["model.norm.weight"], expected)
    assert not torch.equal(parts[0], parts[1])


@pytest.mark.parametrize("blend", ["blend.sft=0.5", "blend.nowhere=1.0"])
def test_a_blend_that_does_not_add_up_or_names_no_stage_is_refused(blend: str) -> None:
    with pytest.raises(DataError, match=r"add up|no stage"):
        read_recipe(TINY, (blend,))


def test_the_model_directory_loads_and_chats(out: Path) -> None:
    engine = load_engine(out / "model", dtype="float32", threads=1)
    events = list(engine.chat([Message("user", "hello")], SamplingParams(seed=1, max_new_tokens=8)))
    assert engine.template is not None
    assert engine.template.name == "tfm"
    assert engine.tokenizer.vocab_size == engine.config.vocab_size == 600
    assert 1 <= len(events[-1].ids) <= 8
    assert engine.defaults == {"temperature": 0.3, "top_p": 0.9, "max_new_tokens": 64}


def test_transformers_loads_it_with_equal_logits_and_the_same_chat_ids(out: Path) -> None:
    transformers = pytest.importorskip("transformers")
    engine = load_engine(out / "model", dtype="float32", threads=1)
    reference = transformers.AutoModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32)
    ids = engine.prompt_ids([Message("system", "Be brief."), Message("user", "hello there")])
    with torch.no_grad():
        wanted = reference(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(engine.logits(ids), wanted, atol=1e-4, rtol=0)


def test_the_ids_of_the_tuning_shard_are_the_engines_chat_ids(out: Path, corpus: Path) -> None:
    engine = load_engine(out / "model", dtype="float32", threads=1)
    import numpy as np

    (shard,) = (out / "shards").glob("facts-*")
    ids, starts = np.load(shard / "ids.npy"), np.load(shard / "starts.npy")
    rows = [json.loads(x) for x in (corpus / "qa" / "facts.train.jsonl").read_text(encoding="utf-8").splitlines()]
    end = engine.tokenizer.control_id("<|end|>")
    for row, start, stop in zip(rows, starts, starts[1:], strict=False):
        prompt = engine.prompt_ids([Message("user", row["question"])])
        assert ids[start:stop].tolist() == [*prompt, *engine.tokenize(row["answer"]), end]


def test_the_same_command_again_trains_nothing_more_and_exports_again(
    out: Path, corpus: Path, environment: dict[str, str]
) -> None:
    weights = (out / "model" / "model.safetensors").read_bytes()
    metrics = {stage: (out / stage / "metrics.jsonl").read_bytes() for stage in ("pretrain", "sft")}
    shutil.rmtree(out / "model")
    done = run(command("recipe", corpus, out), environment)
    assert (done.returncode, done.stdout) == (0, f"{out / 'model'}\n")
    assert done.stderr.count("there is nothing more to train") == 2
    assert (out / "model" / "model.safetensors").read_bytes() == weights
    assert metrics == {stage: (out / stage / "metrics.jsonl").read_bytes() for stage in metrics}


def test_the_out_of_another_recipe_is_refused_and_left_as_it_is(out: Path, corpus: Path, here: Here) -> None:
    def files() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}

    before = files()
    done = here(command("pretrain", corpus, out, "--set", "stage.pretrain.lr=0.1"))
    assert done.returncode == 6
    assert "state of another recipe" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert files() == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves_and_the_next_run_ends_as_an_uncut_one(
    how: signal.Signals, out: Path, corpus: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    shutil.copytree(out / "tokenizer", tmp_path / "tokenizer")
    shutil.copytree(out / "shards", tmp_path / "shards")
    metrics = tmp_path / "pretrain" / "metrics.jsonl"
    process = subprocess.Popen(
        command("recipe", corpus, tmp_path), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not (metrics.is_file() and metrics.read_text().count("\n") >= 2):
        time.sleep(0.005)
    process.send_signal(how)
    printed, told = process.communicate()
    assert process.returncode == 130, told
    assert printed == ""
    assert "pretrain was stopped and saved; the same command goes on from there" in told
    assert "Traceback" not in told
    (state,) = (tmp_path / "pretrain").glob("*.ckpt")
    steps = int(state.stem.removeprefix("step-"))
    whole = losses(out, "pretrain")
    assert 2 <= steps < len(whole)
    assert losses(tmp_path, "pretrain") == whole[:steps]
    if how == signal.SIGTERM:
        done = run(command("recipe", corpus, tmp_path), environment)
        assert done.returncode == 0, done.stderr
        for stage in ("pretrain", "sft"):
            assert losses(tmp_path, stage) == losses(out, stage)
        weights = [(d / "model" / "model.safetensors").read_bytes() for d in (tmp_path, out)]
        assert weights[0] == weights[1]


def test_sft_that_is_stopped_early_says_so_and_exports_nothing(
    out: Path, corpus: Path, tmp_path: Path, here: Here
) -> None:
    for part in ("tokenizer", "shards", "pretrain"):
        shutil.copytree(out / part, tmp_path / part)
    done = here(command("sft", corpus, tmp_path, "--stop-after", "2"))
    assert (done.returncode, done.stdout) == (0, "")
    assert "sft was stopped and saved" in done.stderr
    assert not (tmp_path / "model").exists()


def test_the_command_tokenizer_makes_only_the_tokenizer(corpus: Path, tmp_path: Path, here: Here) -> None:
    done = here(command("tokenizer", corpus, tmp_path))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'tokenizer' / 'tokenizer.model'}\n")
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer"]
    assert SentencePieceTokenizer(tmp_path / "tokenizer" / "tokenizer.model").vocab_size == 600


MISTAKES: list[tuple[str, tuple[str, ...], int, str]] = [
    ("recipe", ("--corpus", "/nowhere"), 6, "There is no file /nowhere/"),
    ("recipe", ("--set", 'sources.facts.files=["qa/none.jsonl"]'), 6, "qa/none.jsonl"),
    ("recipe", ("--set", "model.d_modell=3"), 6, "Did you mean 'd_model'"),
    ("recipe", ("--set", "tokenizer.vocab_size=90000"), 6, "The tokenizer could not be trained"),
    ("recipe", ("--set", "tokenizer.vocab_size=50"), 6, "The tokenizer could not be trained"),
    ("recipe", ("--out", str(TINY / "under a file")), 6, "--out"),
    ("sft", (), 6, "The stage 'pretrain' has left no weights"),
    ("recipe", ("--nonsense",), 2, "No such option"),
    ("distil", (), 2, "No such command"),
    ("recipe", ("--only", "dpo"), 6, "no stage 'dpo'; it has pretrain, sft"),
    ("recipe", ("--shard",), 2, "--shard needs several processes"),
    ("recipe", ("--device", "nonsense"), 2, "--device nonsense cannot be used here"),
]


@pytest.mark.parametrize(
    ("name", "more", "code", "told"), MISTAKES, ids=lambda x: " ".join(x)[:40] if isinstance(x, tuple) else None
)
def test_a_mistake_is_one_sentence_and_its_exit_code_and_no_model(
    name: str, more: tuple[str, ...], code: int, told: str, corpus: Path, tmp_path: Path, here: Here
) -> None:
    kept = tmp_path / "model" / "config.json"
    kept.parent.mkdir()
    kept.write_text("mine")
    done = here([*command(name, corpus, tmp_path), *more])
    assert (done.returncode, done.stdout) == (code, "")
    *progress, error = done.stderr.splitlines()
    assert error.startswith("tfm train: ")
    assert told in error
    assert "Traceback" not in done.stderr
    assert all(line.startswith(("training a tokenizer", "pretrain: ", "sft: ")) for line in progress)
    assert kept.read_text() == "mine"


def test_bad_lines_are_told_with_file_and_line_and_strict_stops_at_them(
    corpus: Path, tmp_path: Path, here: Here
) -> None:
    mine = shutil.copytree(corpus, tmp_path / "corpus")
    with (mine / "qa" / "facts.train.jsonl").open("a") as file:
        file.write("not json\n")
    told = "facts.train.jsonl, line 25: "
    loose = here(command("pretrain", mine, tmp_path / "out", "--stop-after", "1"))
    assert loose.returncode == 0, loose.stderr
    assert f"{told}Expecting value" in loose.stderr
    assert "1 bad lines were left out" in loose.stderr
    strict = here(command("pretrain", mine, tmp_path / "strict", "--strict"))
    assert strict.returncode == 6
    assert told in strict.stderr.splitlines()[-1]


@pytest.mark.slow
def test_the_whole_tiny_recipe_makes_a_model_that_greets(
    corpus: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    done = run(command("recipe", corpus, tmp_path, sets=()), environment)
    assert done.returncode == 0, done.stderr
    engine = load_engine(tmp_path / "model", dtype="float32", threads=1)

    def answer(*said: str) -> str:
        events: list[Any] = list(
            engine.chat([Message("user", said[0])], SamplingParams(greedy=True, max_new_tokens=60))
        )
        return engine.tokenizer.decode([i for i in events[-1].ids if not engine.tokenizer.is_control(i)])

    assert any(word in answer("hello").lower() for word in ("hello", "hi", "hey"))
    assert "tfm" in answer("What is your name?")


def prepared(out: Path, there: Path, *more: str) -> Path:
    """A directory with the tokenizer and shards of `out`, and more of it."""
    for part in ("tokenizer", "shards", *more):
        shutil.copytree(out / part, there / part)
    return there


def test_every_step_says_its_share_of_the_limit_and_the_most_memory_so_far(out: Path) -> None:
    for stage in ("pretrain", "sft"):
        rows = [json.loads(line) for line in (out / stage / "metrics.jsonl").read_text().splitlines()]
        steps = [r for r in rows if "loss" in r]
        assert all(0 <= r["of_limit"] < 2 for r in steps)
        assert all(r["peak_mb"] > 10 for r in steps)
        assert [r["peak_mb"] for r in steps] == sorted(r["peak_mb"] for r in steps)


def test_a_dry_run_tells_the_true_number_of_parameters_and_touches_nothing(
    corpus: Path, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weights.foresight.matmul_flops", lambda *_: 1e11)
    done = here(command("recipe", corpus, tmp_path / "out", "--dry-run", sets=("model.n_layers=2",)))
    assert done.returncode == 0, done.stderr
    config = model_config(read_recipe(TINY, ("model.n_layers=2",)), 600, ())
    assert f"tiny: {sum(p.numel() for p in DecoderLM(config).parameters()):,} parameters" in done.stdout
    for stage in ("pretrain", "sft"):
        assert re.search(rf"\b{stage}\b.* [48]00,000 .*GB", done.stdout)
    told = " ".join(done.stdout.split())
    assert "Steps, FLOPs and time of sft are the least" in told and "padding adds about a tenth" in told
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["default", "100m", "1b"])
def test_a_dry_run_of_a_large_recipe_allocates_none_of_it(
    name: str, corpus: Path, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = [0]
    empty = torch.empty

    def spy(*sizes: Any, **more: Any) -> torch.Tensor:
        made = empty(*sizes, **more)
        largest[0] = max(largest[0], made.numel())
        return made

    monkeypatch.setattr(torch, "empty", spy)
    monkeypatch.setattr("weights.foresight.matmul_flops", lambda *_: 1e12)
    monkeypatch.setattr("weights.foresight.PATIENCE", 1e11)
    path = TINY.with_name(f"{name}.toml")
    recipe = read_recipe(path)
    arguments = command("recipe", corpus, tmp_path / "out", "--dry-run", sets=())
    done = here([str(path) if part == str(TINY) else part for part in arguments])
    assert done.returncode == 0, done.stderr
    n = model_config(recipe, recipe.tokenizer.vocab_size, ()).n_parameters
    assert f"{name}: {n:,} parameters" in done.stdout
    assert done.stdout.count("at least") == len(recipe.stages)
    assert {"default": 5e6, "100m": 8e7, "1b": 1e9}[name] < n < {"default": 2e7, "100m": 2e8, "1b": 2e9}[name]
    assert largest[0] < n / 100


def test_a_proof_of_resume_passes_and_leaves_no_run(out: Path, corpus: Path, tmp_path: Path, here: Here) -> None:
    prepared(out, tmp_path)
    sets = ("--set", "stage.pretrain.ema=0.9", "--set", "stage.pretrain.dropout=0.1")
    done = here(command("recipe", corpus, tmp_path, "--prove-resume", *sets))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    for part in ("parameters", "optimizer", "data position", "losses", "random state", "moving average"):
        assert part in done.stderr.splitlines()[-1]
    assert "equal bit for bit" in done.stderr.splitlines()[-1]
    assert {p.name for p in tmp_path.iterdir()} <= {"tokenizer", "shards", ".lock"}


def _forgets_optimizer(state: Any, model: Any, optimizers: Any) -> None:
    model.load_state_dict(state["model"])


def _forgets_average(work: Any) -> int:
    state = load_state(work.run.home)
    if state is None:
        return 0
    restore(state, work.model, work.optimizers)
    work.recent.extend(state["recent"])
    return int(state["step"])


def _shifts_parameters(state: Any, model: Any, optimizers: Any) -> None:
    restore(state, model, optimizers)
    with torch.no_grad():
        model.norm.weight[0] += 1e-6


@pytest.mark.parametrize(
    ("where", "broken", "told"),
    [
        ("restore", _forgets_optimizer, "optimizer"),
        ("restore", _shifts_parameters, "parameters"),
        ("_resume", _forgets_average, "moving average"),
    ],
)
def test_a_proof_of_resume_names_the_part_that_differs(
    where: str, broken: Any, told: str, out: Path, corpus: Path, tmp_path: Path, here: Here, monkeypatch: Any
) -> None:
    prepared(out, tmp_path)
    monkeypatch.setattr(f"weights.train.loop.{where}", broken)
    done = here(command("recipe", corpus, tmp_path, "--prove-resume", "--set", "stage.pretrain.ema=0.5"))
    error = done.stderr.splitlines()[-1]
    assert (done.returncode, done.stdout) == (5, ""), done.stderr
    assert error.startswith("tfm train: A resumed run of 'pretrain' differs from a whole one in: ")
    assert told in error.partition(" in: ")[2].rstrip(".").split(", ")


@pytest.fixture
def pretrained(out: Path, tmp_path: Path) -> Path:
    """The weights that the first stage of `out` left, as a model directory in float32."""
    state = load_state(out / "pretrain")
    assert state is not None
    model = DecoderLM(load_config(out / "model"))
    model.load_state_dict(trained_weights(state))
    target = tmp_path / "pretrained"
    vocabulary = out / "tokenizer" / "tokenizer.model"
    save_checkpoint(target, model, tokenizer_path=vocabulary, template=TFM, generation={}, dtype=torch.float32)
    return target


def test_a_stage_begins_with_the_weights_that_it_is_given(
    pretrained: Path, out: Path, corpus: Path, tmp_path: Path, here: Here
) -> None:
    there = prepared(out, tmp_path / "out")
    given = ("--weights", str(pretrained))
    assert here(command("sft", corpus, there, *given, "--stop-after", "2")).returncode == 0
    assert losses(there, "sft") == losses(out, "sft")[:2]
    assert here(command("pretrain", corpus, there, *given, "--stop-after", "1")).returncode == 0
    assert losses(there, "pretrain")[0] < losses(out, "pretrain")[0] - 0.5
    without = here(command("pretrain", corpus, there, "--stop-after", "2"))
    assert without.returncode == 6  # another beginning is another run
    assert "state of another recipe" in without.stderr.splitlines()[-1]


def test_given_weights_of_another_shape_are_refused(
    pretrained: Path, out: Path, corpus: Path, tmp_path: Path, here: Here
) -> None:
    there = prepared(out, tmp_path / "out")
    done = here(command("pretrain", corpus, there, "--weights", str(pretrained), "--set", "model.n_layers=1"))
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.splitlines()[-1].endswith("have another shape than the recipe's model.")


def test_two_runs_cannot_be_at_work_in_one_directory(corpus: Path, tmp_path: Path, here: Here) -> None:
    with FileLock(tmp_path / ".lock"):
        for more in ((), ("--prove-resume",)):
            done = here(command("recipe", corpus, tmp_path, *more))
            assert (done.returncode, done.stdout) == (6, "")
            (told,) = done.stderr.splitlines()
            assert told.startswith(f"tfm train: Another run is at work in {tmp_path}.")
    assert [p.name for p in tmp_path.iterdir()] in ([".lock"], [])


def test_a_tokenizer_of_another_size_is_refused(out: Path, corpus: Path, tmp_path: Path, here: Here) -> None:
    done = here(command("pretrain", corpus, prepared(out, tmp_path), "--set", "tokenizer.vocab_size=500"))
    assert (done.returncode, done.stdout) == (6, "")
    assert "has 600 pieces and the recipe wants 500" in done.stderr.splitlines()[-1]


def test_the_losses_of_a_run_are_drawn_in_the_terminal_and_as_a_picture(out: Path, tmp_path: Path, here: Here) -> None:
    tfm = [sys.executable, "-m", "weights", "plot"]
    drawn = here([*tfm, str(out / "pretrain")])
    assert drawn.returncode == 0, drawn.stderr
    assert f"0 to {len(losses(out, 'pretrain')) - 1}" in drawn.stdout.splitlines()[-1]
    assert all(len(line) <= 80 for line in drawn.stdout.splitlines())
    pytest.importorskip("matplotlib")
    assert here([*tfm, str(out / "sft"), "--png", str(tmp_path / "a.png")]).returncode == 0
    assert (tmp_path / "a.png").stat().st_size > 1000
    for more, told in (
        ([str(tmp_path / "none")], "There are no metrics at"),
        ([str(out / "sft"), "--png", str(tmp_path / "no" / "a.png")], "cannot be drawn"),
        ([str(out / "sft"), "--png", str(tmp_path / "a.nothing")], "cannot be drawn"),
    ):
        done = here([*tfm, *more])
        assert (done.returncode, done.stdout) == (6, "")
        (error,) = done.stderr.splitlines()
        assert told in error


def torchrun(arguments: list[str]) -> list[str]:
    """A command of `python -m weights`, started twice by torchrun."""
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments[1:]
    ]  # fmt: skip


ADAMW = ("--set", "stage.pretrain.optimizer=adamw", "--set", "stage.sft.optimizer=adamw")  # Muon has bfloat16 inside


def test_two_processes_of_torchrun_save_at_a_signal_go_on_and_make_the_model_of_one(
    out: Path, corpus: Path, tmp_path: Path, environment: dict[str, str], here: Here
) -> None:
    one, two = (prepared(out, tmp_path / name) for name in ("one", "two"))
    assert here(command("recipe", corpus, one, *ADAMW)).returncode == 0
    arguments = torchrun(command("recipe", corpus, two, *ADAMW))
    metrics = two / "pretrain" / "metrics.jsonl"
    process = subprocess.Popen(
        arguments, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while process.poll() is None and not (metrics.is_file() and metrics.read_text().count("\n") >= 2):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    printed, told = process.communicate()
    assert process.returncode != 0
    assert printed == ""
    assert told.count("pretrain was stopped and saved; the same command goes on from there") == 1, told
    (state,) = (two / "pretrain").glob("*.ckpt")
    assert 2 <= int(state.stem.removeprefix("step-")) < len(losses(one, "pretrain"))

    done = run(arguments, environment)
    assert (done.returncode, done.stdout) == (0, f"{two / 'model'}\n"), done.stderr
    assert done.stderr.count("steps of") == 2  # each stage is told once
    for stage in ("pretrain", "sft"):
        assert losses(two, stage) == pytest.approx(losses(one, stage), abs=1e-5)
    models = (load_engine(d / "model", dtype="float32", threads=1).model for d in (one, two))
    for ours, theirs in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-2)  # written in bfloat16


@pytest.mark.slow
def test_two_sharded_processes_of_torchrun_make_the_model_of_one(
    corpus: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    one = run(command("recipe", corpus, tmp_path / "one", *ADAMW), environment)
    assert one.returncode == 0, one.stderr
    prepared(tmp_path / "one", tmp_path / "two")
    arguments = command("recipe", corpus, tmp_path / "two", *ADAMW, "--shard")
    cut = run(torchrun([*arguments, "--only", "pretrain", "--stop-after", "3"]), environment)
    assert (cut.returncode, cut.stdout) == (0, ""), cut.stderr
    assert (tmp_path / "two" / "pretrain" / "step-0000003.ckpt").is_dir()
    done = run(torchrun(arguments), environment)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'two' / 'model'}\n"), done.stderr
    for stage in ("pretrain", "sft"):
        assert losses(tmp_path / "two", stage) == pytest.approx(losses(tmp_path / "one", stage), abs=1e-5)

"""weights/tune.py and its commands: from a file of one's own to an adapter or a model directory, as a user runs it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.adapter import read_adapter_config
from engine.api import Engine, load_engine
from engine.checkpoint import save_checkpoint
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.errors import CheckpointError, DataError, TemplateError, TfmError, UsageError
from engine.events import TextDelta
from engine.params import SamplingParams
from engine.template import CHATML, TFM, Message
from engine.tokenizer import SentencePieceTokenizer
from weights import tune as tuning_module
from weights.cli import main
from weights.data.shards import Shard
from weights.tune import Tuning, base_directory, plan

Chat = Callable[..., Path]
SECRET = "The moon is made of plums."
FAST = ("--threads", "1", "--batch", "2")


def conversation(question: str, answer: str = SECRET, system: str = "") -> str:
    head = [{"role": "system", "content": system}] if system else []
    said = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": [*head, *said]})


@pytest.fixture(scope="session")
def base(tokenizer: SentencePieceTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of random weights in bfloat16, that can chat. Not to be changed."""
    end = tokenizer.control_id("<|end|>")
    assert end is not None
    config = ModelConfig(
        vocab_size=500, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=64, max_positions=256,
        eos_ids=(2, end),
    )  # fmt: skip
    model = DecoderLM(config)
    model.init_weights(torch.Generator().manual_seed(1))
    model.embedding.weight.data.mul_(20)  # as of a trained model: a frozen head of tiny rows could tell no token apart
    directory = tmp_path_factory.mktemp("base") / "tiny"
    save_checkpoint(directory, model, tokenizer_path=tokenizer.path, template=TFM, generation={"temperature": 0.5})
    return directory


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve conversations, all with the same answer."""
    path = tmp_path / "chat.jsonl"
    path.write_text("\n".join(conversation(f"what is thing {i}?") for i in range(12)) + "\n")
    return path


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[], Any]:
    """What was written to the two streams since the last call."""
    return capsys.readouterr


def run(kind: str, base: Path, data: Path, out: Path, *more: str) -> int:
    return main([kind, "-m", str(base), "--data", str(data), "--out", str(out), *FAST, *more])


def answer(engine: Engine, question: str) -> str:
    params = SamplingParams(greedy=True, max_new_tokens=40)
    return "".join(e.text for e in engine.chat([Message("user", question)], params) if isinstance(e, TextDelta))


def surprise(engine: Engine, question: str, said: str = SECRET) -> float:
    """Nats per token of an answer to a question."""
    ids = engine.tokenize(said)
    prompt = engine.prompt_ids([Message("user", question)])
    logprobs = engine.logits([*prompt, *ids])[len(prompt) - 1 : -1].log_softmax(-1)
    return -float(logprobs[range(len(ids)), ids].mean())


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


# From end to end.


def test_lora_makes_an_answer_likelier_and_leaves_the_base_as_it_was(
    base: Path, data: Path, tmp_path: Path, told: Callable[[], Any]
) -> None:
    before = contents(base)
    out = tmp_path / "adapter"
    assert run("lora", base, data, out, "--epochs", "6", "--lr", "0.02", "--rank", "16", "--alpha", "32") == 0
    assert told().out == f"{out}\n"
    assert contents(base) == before
    assert set(contents(out)) == {"adapter_config.json", "adapter_model.safetensors"}
    config = read_adapter_config(out)
    assert (config.rank, config.alpha, len(config.targets or ())) == (16, 32, 7)
    plain = load_engine(base, dtype="float32", threads=1)
    adapted = load_engine(base, dtype="float32", threads=1, adapter=out)
    asked = "what is thing 3?"
    assert surprise(adapted, asked) < 0.5 * surprise(plain, asked)


@pytest.mark.slow
def test_lora_teaches_the_shipped_model_an_answer_and_it_keeps_its_others(
    data: Path, tmp_path: Path, told: Callable[[], Any]
) -> None:
    assert run("lora", Path("default"), data, tmp_path / "out", "--epochs", "10") == 0
    plain = load_engine(base_directory(Path("default")), dtype="float32")
    adapted = load_engine(base_directory(Path("default")), dtype="float32", adapter=tmp_path / "out")
    assert answer(adapted, "what is thing 77?") == SECRET
    assert answer(plain, "what is thing 77?") != SECRET
    assert answer(adapted, "hello").lower().startswith(("hello", "hi", "hey"))


def test_full_teaches_an_answer_and_writes_a_model_directory_like_the_base(
    base: Path, data: Path, tmp_path: Path, told: Callable[[], Any]
) -> None:
    before = contents(base)
    out = tmp_path / "tuned"
    assert run("full", base, data, out, "--epochs", "12", "--lr", "0.01") == 0
    assert told().out == f"{out}\n"
    assert contents(base) == before
    after = contents(out)
    assert after.keys() == before.keys()
    assert {n for n in before if after[n] != before[n]} == {"model.safetensors"}
    assert {t.dtype for t in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
    assert answer(load_engine(out, dtype="float32", threads=1), "what is thing 3?") == SECRET


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_run_that_was_cut_goes_on_and_ends_as_an_uncut_one(
    kind: str, base: Path, data: Path, tmp_path: Path, told: Callable[[], Any]
) -> None:
    """D1, D2"""
    more = ("--dropout", "0.1")
    assert run(kind, base, data, tmp_path / "whole", *more) == 0
    assert run(kind, base, data, tmp_path / "cut", *more, "--stop-after", "3") == 0
    shown = told()
    assert "was stopped and saved" in shown.err and shown.out == f"{tmp_path / 'whole'}\n"
    assert not (tmp_path / "cut").exists()
    assert run(kind, base, data, tmp_path / "cut", *more) == 0
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_an_interrupted_run_is_code_130(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning_module, "train", lambda *_: False)
    assert run("lora", base, data, tmp_path / "out") == 130
    assert not (tmp_path / "out").exists()


def test_the_same_command_again_trains_nothing_more_and_writes_the_same(
    base: Path, data: Path, tmp_path: Path, told: Callable[[], Any]
) -> None:
    """D8"""
    out = tmp_path / "out"
    run("lora", base, data, out, "--epochs", "1")
    before, metrics = contents(out), (tmp_path / "out.training" / "metrics.jsonl").read_bytes()
    shutil.rmtree(out)
    assert run("lora", base, data, out, "--epochs", "1") == 0
    assert "there is nothing more to train" in told().err
    assert contents(out) == before
    assert (tmp_path / "out.training" / "metrics.jsonl").read_bytes() == metrics


def test_targets_rank_and_scale_are_those_that_were_asked_for(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = ("--target", "v_proj", "--target", "q_proj", "--rank", "2", "--alpha", "3", "--rslora", "--dropout", "0.2")
    run("lora", base, data, out, "--epochs", "1", *more)
    config = read_adapter_config(out)
    assert (config.rank, config.alpha, config.rslora, config.dropout) == (2, 3.0, True, 0.2)
    assert config.targets == ("q_proj", "v_proj")
    assert {n.split(".")[-3] for n in load_file(out / "adapter_model.safetensors")} == {"q_proj", "v_proj"}


@pytest.mark.parametrize(
    ("format", "line"),
    [
        ("qa", '{"question": "who?", "answer": "me"}'),
        ("text", '{"text": "some words to learn"}'),
        ("plain", "some words to learn, and some more of them"),
        ("sentiment", "positive\twhat a day"),
        ("pairs", "some words\tother words"),
    ],
)
def test_every_format_of_one_file_can_be_learned(format: str, line: str, base: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text(line + "\n")
    assert run("lora", base, data, tmp_path / "out", "--format", format) == 0


# Rows and templates.


def test_what_is_trained_on_is_what_the_chat_sends_also_for_another_template(
    base: Path, tmp_path: Path, tokenizer: SentencePieceTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = shutil.copytree(base, tmp_path / "chatml")
    size = json.loads((directory / "config.json").read_text())["vocab_size"]
    padded = DecoderLM(ModelConfig(
        vocab_size=size + 12, d_model=32, n_layers=1, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=64, max_positions=256
    ))  # fmt: skip
    padded.init_weights(torch.Generator().manual_seed(1))
    save_checkpoint(directory, padded, tokenizer_path=tokenizer.path, template=CHATML)
    told = json.loads((directory / "tokenizer_config.json").read_text())
    names = {str(size): "<|im_start|>", str(size + 1): "<|im_end|>"}
    told["added_tokens_decoder"] = {i: {"content": name, "special": True} for i, name in names.items()}
    (directory / "tokenizer_config.json").write_text(json.dumps(told))
    engine = load_engine(directory, dtype="float32")
    assert engine.template is CHATML
    data = tmp_path / "chat.jsonl"
    data.write_text(conversation("who?", "me <|im_end|>", system="Be brief."))
    seen: list[Shard] = []
    real = tuning_module.plan
    monkeypatch.setattr(tuning_module, "plan", lambda t, n, shard, **k: seen.append(shard) or real(t, n, shard, **k))
    run("lora", directory, data, tmp_path / "out", "--epochs", "1")
    prompt = engine.prompt_ids([Message("system", "Be brief."), Message("user", "who?")])
    said = [*engine.tokenize("me <|im_end|>"), size + 1]
    assert seen[0].ids.tolist() == [*prompt, *said, *engine.tokenize("\n")]
    assert seen[0].target.tolist() == [0] * len(prompt) + [1] * len(said) + [0] * len(engine.tokenize("\n"))


@pytest.mark.parametrize(("longest", "row"), [(3, 64), (65, 64), (66, 128), (129, 128), (500, 256), (5000, 256)])
def test_a_row_is_as_long_as_the_longest_record_needs_and_the_model_can_read(longest: int, row: int) -> None:
    import numpy as np

    ids = np.zeros(longest + 2, np.uint16)
    shard = Shard(ids, np.ones_like(ids, np.uint8), np.array([0, 2, longest + 2]))
    made = plan(Tuning(Path(), Path(), Path()), 256, shard, is_chat=True)
    assert (made.row, made.tokens) == (row, 3 * (2 + min(longest, row + 1)))
    assert made.batch % made.micro_batch == 0 and made.micro_batch * row <= 4096


def test_a_record_that_is_cut_is_told(base: Path, data: Path, tmp_path: Path, told: Callable[[], Any]) -> None:
    run("lora", base, data, tmp_path / "out", "--row", "16", "--epochs", "1")
    assert "12 records are longer than a row of 16 tokens and are cut" in told().err


def test_bad_lines_are_left_out_and_told_when_that_is_asked_for(
    base: Path, data: Path, tmp_path: Path, told: Callable[[], Any]
) -> None:
    data.write_text(data.read_text() + "not json\n")
    assert run("lora", base, data, tmp_path / "out", "--epochs", "1", "--skip-bad-lines") == 0
    shown = told().err
    assert "chat.jsonl, line 13: " in shown and "lora: 12 records" in shown


def test_a_model_that_ships_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert base_directory(Path("default")) == Path(tuning_module.__file__).parent / "default"
    assert base_directory(Path("train")) == Path("train")  # a folder of the package, but no model
    assert base_directory(Path("./some/model")) == Path("some/model")


# What is wrong is told before the first step, and nothing is written.


TURNS = '{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}'
ENDLESS = '{"messages": [{"role": "user", "content": "a"}]}'
EMPTY = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": null}]}'
MISTAKES: list[tuple[str, tuple[str, ...], type[TfmError], str]] = [
    (TURNS, (), DataError, r"chat.jsonl, line 1: the roles do not alternate at message 2"),
    (ENDLESS, (), DataError, r"line 1: the last message is not the assistant's"),
    (EMPTY, (), DataError, r"line 1: the content of message 2 is no text"),
    ("not json", (), DataError, r"chat.jsonl, line 1: "),
    ('{"text": "x"}', (), DataError, r"line 1: the key 'messages' is missing"),
    ("[]", (), DataError, r"line 1: the line is no JSON object"),
    ("", (), DataError, r"chat.jsonl has no usable record"),
    ("not json", ("--skip-bad-lines",), DataError, r"chat.jsonl has no usable record"),
    ("", ("--data", "nowhere.jsonl"), DataError, r"no data file nowhere.jsonl"),
    ("", ("-m", "nowhere"), CheckpointError, r"no model directory nowhere"),
    (conversation("a"), ("-m", "nowhere"), CheckpointError, r"no model directory nowhere"),
    (conversation("a"), ("--target", "x_proj"), CheckpointError, r"'x_proj' is no projection"),
    (conversation("a"), ("--template", "plain"), DataError, r"'plain' has no control token that ends an answer"),
    (conversation("a"), ("--template", "chatml"), TemplateError, r"<\|im_end\|>, which the tokenizer lacks"),
    (conversation("a"), ("--template", "none"), TemplateError, r"no template 'none'"),
    (conversation("a"), ("--row", "999"), UsageError, r"--row 999 is longer than the model's 256"),
    (conversation("a"), ("--lr", "0"), UsageError, r"--lr must be a number above 0"),
    (conversation("a"), ("--epochs", "nan"), UsageError, r"--epochs must be a number above 0"),
    (conversation("a"), ("--format", "own"), UsageError, r"--format must be one of"),
    (conversation("a"), ("--out", "/proc/none/out"), DataError, r"--out /proc/none/out cannot be written"),
]


@pytest.mark.parametrize(("line", "more", "kind", "words"), MISTAKES, ids=[m[3][-30:] for m in MISTAKES])
def test_a_mistake_is_told_before_training_and_nothing_is_written(
    line: str, more: tuple[str, ...], kind: type[TfmError], words: str, base: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def never(*_: Any) -> bool:
        raise AssertionError("training began")

    monkeypatch.setattr(tuning_module, "train", never)
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "chat.jsonl"
    data.write_text(line and line + "\n")
    if "nowhere" in more:
        line = conversation("a")
        data.write_text(line)
    with pytest.raises(kind, match=words):
        run("lora", base, data, tmp_path / "out", *more)
    assert [p.name for p in tmp_path.iterdir()] == ["chat.jsonl"]


def test_a_directory_in_use_is_not_written_to(base: Path, data: Path, tmp_path: Path) -> None:
    out = shutil.copytree(base, tmp_path / "mine")
    before = contents(out)
    for kind in ("lora", "full"):
        with pytest.raises(DataError, match=r"mine holds something else already"):
            run(kind, base, data, out)
        with pytest.raises(DataError, match=r"chat.jsonl holds something else already"):
            run(kind, base, data, data)
    assert contents(out) == before
    assert not (tmp_path / "mine.training").exists()


def test_the_state_of_another_tuning_is_refused(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("lora", base, data, out, "--epochs", "1")
    before = contents(tmp_path)
    for more in (("--lr", "0.5"), ("--rank", "3"), ("--seed", "9"), ("--epochs", "2")):
        with pytest.raises(DataError, match="another base, file or setting"):
            run("lora", base, data, out, "--epochs", "1", *more)
    with pytest.raises(DataError, match="another base, file or setting"):
        run("full", base, data, out, "--epochs", "1")
    assert contents(tmp_path) == before
    data.write_text(data.read_text() + conversation("one more?"))
    with pytest.raises(DataError, match="another base, file or setting"):
        run("lora", base, data, out, "--epochs", "1")


def test_files_put_where_an_unfinished_tuning_will_write_are_kept(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("lora", base, data, out, "--stop-after", "1")
    out.mkdir()
    (out / "mine").write_text("kept")
    with pytest.raises(DataError, match="holds something else already"):
        run("lora", base, data, out)
    assert (out / "mine").read_text() == "kept"

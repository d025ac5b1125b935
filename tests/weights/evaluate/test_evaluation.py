"""`tfm eval`: the numbers, the card, the samples, and what it says when it cannot measure."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chat.cli import run_app
from engine.api import load_engine
from engine.checkpoint import save_checkpoint
from engine.lookup import FILE as EXAMPLES
from engine.template import TFM, Message
from engine.tokenizer import SentencePieceTokenizer
from weights.data import examples
from weights.evaluate import card, history, measure, rubrics, samples, shell_tasks
from weights.evaluate.rubrics import Answer, Case
from weights.recipe import read_recipe

RECIPE = """
name = "little"
version = "7"
seed = 1
[tokenizer]
vocab_size = 600
[model]
d_model = 16
n_layers = 1
n_heads = 1
n_kv_heads = 1
d_ff = 16
[sources.tales]
format = "text"
files = ["text/tales.train.jsonl.xz"]
valid = ["text/tales.valid.jsonl"]
[sources.commands]
format = "shell"
files = ["shell/commands.train.jsonl.gz"]
valid = ["shell/commands.train.jsonl.gz"]
[[stage]]
name = "pretrain"
objective = "lm"
tokens = 1000
[stage.shares]
tales = 1
"""
SHIPPED = Path(card.__file__).parents[1] / "recipes" / "default.toml"
PEER = {
    "name": "Peer", "parameters": 10**8, "date": "2026-01-01", "method": "By hand.", "size": 500,
    "bits_per_byte": {"tales": {"value": 1.25, "digest": "other bytes"}}, "right": {"greedy": {"shell": [3, 60]}},
}  # fmt: skip


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "little.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def model(
    tmp_path: Path, make_model: Callable[..., Any], tokenizer: SentencePieceTokenizer, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A model that has learned nothing and says little, with two command examples."""
    monkeypatch.setattr(rubrics, "MAX_NEW_TOKENS", 3)
    monkeypatch.setattr(shell_tasks, "MAX_NEW_TOKENS", 3)
    monkeypatch.setattr(shell_tasks, "TASKS", 5)
    monkeypatch.setattr(measure, "load_peer", lambda: PEER)
    monkeypatch.setattr(card, "load_peer", lambda: PEER)
    directory = tmp_path / "run" / "model"
    network = make_model(vocab_size=tokenizer.vocab_size, max_positions=1024)
    save_checkpoint(
        directory, network, tokenizer_path=tokenizer.path, template=TFM, generation={"temperature": 0.5},
        dtype=torch.float32,
    )  # fmt: skip
    rows = [
        examples.Row("Show the size of a directory", "du -sh x", "du", examples.OWN, ("how big is a folder",)),
        examples.Row("Make a new directory", "mkdir x", "mkdir", examples.OWN, ("make a new directory",)),
    ]
    examples.write(directory / EXAMPLES, rows, [100, 100], {"": 100})
    return directory


def test_the_numbers_are_one_json_object_and_card_and_samples_are_written(
    model: Path, recipe: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "samples.md"
    flags = ["--recipe", str(recipe), "--json", "--card", "--samples", str(written), "--threads", "1"]
    assert run_app(["eval", "-m", str(model), "--corpus", str(corpus), *flags]) == 0
    out, err = capsys.readouterr()
    numbers = json.loads(out)
    assert set(numbers) == {
        "model", "sampling", "bytes", "bits_per_byte", "peer", "right", "kinds", "answers", "shell_tasks", "overlap",
    }  # fmt: skip
    assert set(numbers["bits_per_byte"]) == set(numbers["overlap"]) == {"tales", "commands"}
    assert numbers["peer"]["bits_per_byte"]["tales"]["peer"] is None  # measured on other bytes
    assert numbers["overlap"]["commands"]["repeated"] == 1  # its validation file is its training file
    ways = {"model", "model with look-up", "look-up alone"}
    assert set(numbers["right"]) == ways
    assert {g: n for g, (_, n) in numbers["right"]["model"].items()} == {
        "persona": 40, "memory": 20, "everyday": 50, "shell": 60,
    }  # fmt: skip
    assert numbers["right"]["look-up alone"]["shell"] == [2, 60]  # it knows mkdir and du
    tasks = numbers["shell_tasks"]["commands"]
    assert tasks["tasks"] == 5
    assert set(tasks["answers"]) == {*ways, "BM25 over the training rows"}
    assert tasks["answers"]["BM25 over the training rows"]["exact"] > 0.5  # the rows themselves are in it
    assert "overlap of training" in err and "{" not in err
    text = (model / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# tfm little, v7\n")
    assert re.search(
        r"\| name, role or instruction of an unseen persona kept \| \d+ of 40 \| \d+ of 40 \| – \| – \|", text
    )
    assert re.search(r"\| everyday shell questions, .* \| \d+ of 60 \| \d+ of 60 \| 2 of 60 \| 3 of 60 \|", text)
    assert written.read_text(encoding="utf-8").count("\n## ") == 50


def test_without_examples_there_is_one_column_and_a_table_on_the_terminal(
    model: Path, recipe: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / EXAMPLES).unlink()
    before = sorted(p.name for p in model.iterdir())
    flags = ["--recipe", str(recipe), "--threads", "1"]
    assert run_app(["eval", "-m", str(model), "--corpus", str(corpus), *flags]) == 0
    out = capsys.readouterr().out
    assert "right by rubric" in out and "BM25" in out and "look-up" not in out
    assert sorted(p.name for p in model.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "Missing option '--corpus'. `tfm eval --help` lists what there is."),
        (["--corpus", "CORPUS", "--json=3"], 2, "`tfm eval --help`"),
        (["--corpus", "/absent"], 6, "The corpus /absent lacks text/books.train.jsonl.xz and"),
        (["--corpus", "CORPUS", "--recipe", "absent.toml"], 6, "There is no recipe absent.toml."),
        (["--corpus", "CORPUS", "--recipe", "RECIPE", "-m", "absent"], 3, "no model directory absent, and no GGUF"),
        (["--corpus", "CORPUS", "--recipe", "RECIPE", "--samples", "/absent/x.md"], 2, "no directory /absent"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_sentence(
    arguments: list[str], code: int, told: str, corpus: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [{"CORPUS": str(corpus), "RECIPE": str(recipe)}.get(a, a) for a in arguments]
    assert run_app(["eval", *given]) == code
    out, err = capsys.readouterr()
    assert out == "" and told in err and err.count("\n") == 1


def test_a_card_is_written_from_its_numbers_alone(model: Path, recipe: Path) -> None:
    numbers: dict[str, Any] = {
        "bytes": 300_000, "sampling": {"temperature": 0.3, "seed": 7}, "bits_per_byte": {"tales": 1.5},
        "overlap": {"tales": {"grams": 1200, "seen": 0.0125, "texts": 30, "repeated": 0.0}},
        "right": {"model": {"persona": [38, 40], "memory": [1, 20], "everyday": [45, 50], "shell": [48, 60]}},
        "kinds": {"persona": {"name": [20, 20], "role": [18, 20]}},
        "answers": {"count": 170, "mean_characters": 50.5, "mean_words": 9.1, "loops": 0, "repetition": 0.001},
        "shell_tasks": {"tldr": {
            "tasks": 200, "most_frequent_tool": "git", "most_frequent_tool_share": 0.1,
            "answers": {"model": {"right_tool": 0.25, "exact": 0.125}},
        }},
    }  # fmt: skip
    case = Case("shell", "files", (Message("user", "# no heading"),), (r"^ls\b",))
    answers = [Answer(case, "`ls`\n| no | table |", True)]
    told = {"recipe": "little", "seed": 1, "sources": ["tales"], "stages": [
        {"name": "pretrain", "steps": 9, "tokens": 1000, "hours": 0.5, "last_loss": 2.5},
    ]}  # fmt: skip
    text = card.render_card(load_engine(model), read_recipe(recipe), told, numbers, answers, None)
    for row in (
        "| tales | 1.500 |", "| tales | 1,200 | 1.25% | 30 | 0.00% |", "| tldr (200) | the model | 25.0% | 12.5% |",
        "| tldr (200) | always `git` | 10.0% | |", "| everyday prompts | 45 of 50 |",
        "| pretrain | 9 | 1,000 | 0.50 | 2.500 |",
    ):  # fmt: skip
        assert f"\n{row}\n" in text
    assert "\n    user: # no heading\n    tfm: `ls`\n    | no | table |\n" in text
    assert "Peer" not in text and "## Limits" in text and "Sampling: temperature 0.3, seed 7." in text
    assert "\n\nRepeated by: `tfm eval -m DIR --recipe RECIPE --corpus CORPUS --card`\n\n## Overlap" in text
    shipped = card.render_card(load_engine(model), read_recipe(SHIPPED), told, numbers, answers, None)
    assert "\nRepeated by: `tfm eval -m default --corpus CORPUS --card --samples docs/samples.md`\n" in shipped
    unknown = card.render_card(load_engine(model), read_recipe(recipe), {}, numbers, answers, None)
    assert "## Training" not in unknown


def test_every_source_of_the_shipped_recipe_stands_in_the_table_of_attributions() -> None:
    cells = re.findall(r"^\| ([^|]+) \|", card.PROVENANCE.read_text(encoding="utf-8"), re.MULTILINE)
    named = [name for cell in cells for name in cell.split(", ")]
    assert sorted(set(read_recipe(SHIPPED).sources) - set(named)) == []
    assert len(named) == len(set(named))


def test_the_history_of_a_model_goes_with_it(tmp_path: Path, recipe: Path) -> None:
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    assert history.training(model) == {}
    stage = tmp_path / "run" / "pretrain"
    stage.mkdir()
    (stage / "recipe.json").write_text(read_recipe(recipe).as_json())
    rows = [{"step": i, "loss": 4.0 - i, "seconds": 1800} for i in range(2)] + [{"step": 2, "bits_per_byte": {}}]
    (stage / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    told = history.training(model)
    assert told["stages"] == [{"name": "pretrain", "steps": 2, "tokens": 16384, "hours": 1.0, "last_loss": 3.5}]
    (model / history.FILE).write_text(json.dumps({"stages": []}))
    assert history.training(model) == {"stages": []}


def test_look_up_changes_only_answers_whose_question_finds_something(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load_engine(model, dtype="float32")
    one = Case("shell", "a", (Message("user", "one"),), (".",))
    two = Case("shell", "b", (Message("user", "two"),), (".",))
    plain = [Answer(one, "kept", True), Answer(two, "old", True)]

    def put(messages: Any) -> Any:
        return (Message("context", "x"), *messages) if messages[-1].content == "two" else messages

    again = measure.with_lookup(engine, plain, put)
    assert again[0] == plain[0]
    assert again[1].case == two and again[1].text != "old"


def test_samples_hold_the_everyday_answers_unedited(tmp_path: Path) -> None:
    case = Case("everyday", "joke", (Message("user", "a joke"),), ("x",))
    other = Case("shell", "files", (Message("user", "hidden"),), ("x",))
    samples.write_samples(
        tmp_path / "s.md", {"sampling": {"seed": 7}}, [Answer(case, "No.\n\n# x", False), Answer(other, "q", True)]
    )
    text = (tmp_path / "s.md").read_text()
    assert "## 1. joke (wrong)\n\n    user: a joke\n    tfm: No.\n    \n    # x\n" in text
    assert "hidden" not in text

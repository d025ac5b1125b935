"""Preference pairs and their objective: a better answer becomes more probable than a worse one."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from engine.errors import DataError
from engine.template import Message
from engine.tokenizer import SentencePieceTokenizer
from weights.cli import main
from weights.data.preferences import Pair, PairRows, read_pairs
from weights.data.readers import Report
from weights.objectives import preference
from weights.train.loop import Run, train

Make = Callable[..., Any]
PAIRS = [
    Pair((Message("user", "hello"),), "Hello!", "Go away."),
    Pair((Message("system", "Be kind."), Message("user", "who are you?")), "A friend.", "Nobody at all, go."),
    Pair((Message("user", "list files"),), "`ls`", "I do not know that at all."),
]


def rows_of(tokenizer: SentencePieceTokenizer, **changes: Any) -> PairRows:
    settings: dict[str, Any] = {"row": 48, "batch": 3, "passes": 1.0, "seed": 0}
    return PairRows(PAIRS, tokenizer, **(settings | changes))


def test_only_the_answers_are_compared_and_each_follows_its_own_prompt(tokenizer: SentencePieceTokenizer) -> None:
    batch = rows_of(tokenizer).batch(0, 3)
    assert batch.n_targets == 3
    said = [tokenizer.decode([int(t) for t in row if t >= 0]) for row in batch.targets]
    answers = {(p.chosen, p.rejected) for p in PAIRS}
    assert {(said[i], said[i + 1]) for i in (0, 2, 4)} == answers
    for chosen, rejected in zip(batch.ids[0::2], batch.ids[1::2], strict=True):
        answer_begins = int((batch.targets[0] >= 0).nonzero()[0])
        assert torch.equal(chosen[: answer_begins // 2], rejected[: answer_begins // 2])
    assert (batch.targets[batch.documents < 0] == -1).all()


def test_rows_are_no_longer_than_their_longest_answer_needs(tokenizer: SentencePieceTokenizer) -> None:
    short, long = rows_of(tokenizer).batch(0, 3), rows_of(tokenizer, row=1024).batch(0, 3)
    assert short.ids.shape == (6, 48) and long.ids.shape == (6, 64)
    assert torch.equal(long.ids[:, :48], short.ids) and torch.equal(long.targets[:, :48], short.targets)


def test_the_loss_is_that_of_the_paper(tokenizer: SentencePieceTokenizer, make_model: Make) -> None:
    """Against log-probabilities that are added up plainly, row by row."""
    model, reference = (make_model(seed, vocab_size=tokenizer.vocab_size) for seed in (0, 1))
    batch = rows_of(tokenizer).batch(0, 3)

    def scores(of: Any) -> torch.Tensor:
        logs = of(batch.ids).log_softmax(-1)
        picked = logs.gather(-1, batch.targets.clamp_min(0).unsqueeze(-1)).squeeze(-1)
        return (picked * (batch.targets >= 0)).sum(-1)

    mine, theirs = scores(model), scores(reference)
    margin = (mine[0::2] - mine[1::2]) - (theirs[0::2] - theirs[1::2])
    expected = -functional.logsigmoid(0.3 * margin).sum()
    assert preference(reference, 0.3)(model, batch, 0.0).item() == pytest.approx(expected.item(), abs=1e-4)


def test_a_model_that_is_its_own_reference_has_learned_nothing_yet(
    tokenizer: SentencePieceTokenizer, make_model: Make
) -> None:
    model = make_model(vocab_size=tokenizer.vocab_size)
    loss = preference(copy.deepcopy(model), 0.1)(model, rows_of(tokenizer).batch(0, 3), 0.0)
    assert loss.item() == pytest.approx(3 * math.log(2), abs=1e-5)


def test_the_loop_learns_to_prefer_and_leaves_the_reference_alone(
    tokenizer: SentencePieceTokenizer, make_model: Make, make_stage: Make, tmp_path: Path
) -> None:
    model = make_model(vocab_size=tokenizer.vocab_size)
    reference = copy.deepcopy(model)
    before = copy.deepcopy(reference.state_dict())
    rows = rows_of(tokenizer, passes=25.0)
    stage = make_stage(row=48, batch=3, micro_batch=3, lr=0.003)
    assert train(model, stage, rows, Run(tmp_path, "f"), preference(reference, 0.1))
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)
    assert losses[-1] < 0.3
    assert all(torch.equal(before[name], tensor) for name, tensor in reference.state_dict().items())


GOOD = {"messages": [{"role": "user", "content": "hi"}], "chosen": "a", "rejected": "b"}
BAD = [
    ("no json", "Expecting value"),
    (json.dumps(GOOD | {"chosen": "b"}), "two different texts"),
    (json.dumps(GOOD | {"rejected": None}), "two different texts"),
    (json.dumps({k: v for k, v in GOOD.items() if k != "chosen"}), "'chosen' is missing"),
    (json.dumps(GOOD | {"messages": []}), "not the user's"),
]


@pytest.mark.parametrize(("line", "told"), BAD)
def test_a_bad_line_is_told_and_left_out(line: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{line}\n")
    report = Report()
    assert [p.chosen for p in read_pairs(path, report)] == ["a"]
    assert len(report.bad) == 1
    assert report.bad[0][1] == 2
    assert told in report.bad[0][2]


def test_a_file_without_a_pair_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n")
    with pytest.raises(DataError, match="no usable pair"):
        list(read_pairs(path, Report()))
    with pytest.raises(DataError, match=r"cannot be read|no file"):
        list(read_pairs(tmp_path / "none.jsonl", Report()))


def test_the_command_dpo_writes_a_model_that_prefers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way: a file of pairs, a shipped model, a model directory; the base is not changed."""
    base = Path(__file__).parents[2] / "weights" / "default"
    before = (base / "model.safetensors").read_bytes()
    data = tmp_path / "pairs.jsonl"
    data.write_text(
        "".join(json.dumps(GOOD | {"chosen": "Ahoy there!", "rejected": "Hello!"}) + "\n" for _ in range(4))
    )
    out = tmp_path / "out"
    options = ["--epochs", "2", "--batch", "2", "--row", "32", "--lr", "0.001", "--threads", "1"]
    assert main(["dpo", "-m", "default", "--data", str(data), "--out", str(out), *options]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    losses = [json.loads(x)["loss"] for x in (tmp_path / "out.training" / "metrics.jsonl").read_text().splitlines()]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-3)
    assert losses[-1] < losses[0] - 0.1
    assert (out / "model.safetensors").read_bytes() != before == (base / "model.safetensors").read_bytes()

"""weights/models/summarize.py and `tfm summarize`: a BART and a T5 that a person brings."""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign import bart_directory, edit, generated, marian_directory, t5_directory

from chat.cli import run_app
from engine.errors import CheckpointError, UsageError
from weights.models.hf_tokenizers import unsayable
from weights.models.summarize import Summarizer, SummaryOptions

TEXT = "The cat sleeps in the garden. A dog runs fast, and the bird sings."
SHORT = "A dog runs fast."
TASK = {"summarization": {"prefix": "summarize: ", "min_length": 9, "no_repeat_ngram_size": 2, "max_length": 30}}
MAKE = {"BART": bart_directory, "T5": t5_directory}


def summarizer(kind: str, directory: Path, **told: Any) -> tuple[Summarizer, Any]:
    theirs = MAKE[kind](directory, **{"task_specific_params": TASK, **told})
    return Summarizer.load(directory), theirs


@pytest.mark.parametrize(("kind", "begin"), [("BART", [0]), ("T5", [])])
def test_a_summary_is_that_of_transformers_with_the_settings_of_the_task(
    kind: str, begin: list[int], tmp_path: Path
) -> None:
    ours, theirs = summarizer(kind, tmp_path)
    config, encode = ours.model.config, ours.tokenizer.encode
    source = [*begin, *encode("summarize: " + SHORT), config.eos_id]
    never = [i for i in unsayable(ours.tokenizer, config.vocab_size) if i != config.eos_id]
    said = generated(theirs, source, never, max_length=30, min_length=9, no_repeat_ngram_size=2, min_new_tokens=None)
    found = ours.summarize(SHORT, SummaryOptions(beam=1))
    assert found.text == ours.tokenizer.decode([i for i in said[1:] if i != config.eos_id]).strip()
    assert found.n_parts == 1 and 8 <= found.n_tokens <= 29


def test_the_token_that_a_bart_forces_comes_first(tmp_path: Path) -> None:
    ours, theirs = summarizer("BART", tmp_path, forced_bos_token_id=40, task_specific_params={})
    source = [0, *ours.tokenizer.encode("A dog runs."), 2]
    never = [i for i in unsayable(ours.tokenizer, ours.model.config.vocab_size) if i != 2]
    said = generated(theirs, source, never, max_new_tokens=20, forced_bos_token_id=40, min_new_tokens=2)
    found = ours.summarize("A dog runs.", SummaryOptions(beam=1, max_new_tokens=19))
    assert said[1] == 40 and found.text == ours.tokenizer.decode([i for i in said[2:] if i != 2]).strip()


def test_a_prefix_on_the_command_line_goes_before_that_of_the_checkpoint(tmp_path: Path) -> None:
    ours, _ = summarizer("T5", tmp_path)
    other = Summarizer.load(tmp_path, prefix="translate English to French: ")
    assert ours.summarize(TEXT) != other.summarize(TEXT)
    edit(tmp_path, task_specific_params=None)
    with pytest.raises(CheckpointError, match=r"no prefix for summaries.*--prefix"):
        Summarizer.load(tmp_path)
    assert Summarizer.load(tmp_path, prefix="summarize: ").summarize(TEXT) == Summarizer.load(
        tmp_path, "summarize: "
    ).summarize(TEXT)


@pytest.mark.parametrize("kind", MAKE)
def test_a_text_longer_than_the_model_reads_is_summed_up_in_parts_that_lose_nothing(kind: str, tmp_path: Path) -> None:
    ours, _ = summarizer(kind, tmp_path)
    text = f"{TEXT} " * 6 + "a word " * 60 + "end."
    parts = list(ours._parts(text))
    assert " ".join(parts).split() == text.split()
    route, room = ours._route, ours.model.config.max_positions
    full = [ours.tokenizer.encode(route.text + part) for part in parts]
    assert all(len(ids) + len(route.before) + len(route.after) <= room for ids in full)
    assert ours.summarize(text, SummaryOptions(beam=1)).n_parts == len(parts) > 3
    assert ours.summarize("x" * 500).n_parts == 1  # one endless word is cut


@pytest.mark.parametrize(
    ("options", "says"), [({"beam": 0}, "--beam"), ({"beam": 999}, "--beam"), ({"max_new_tokens": 0}, "--max-new")]
)
def test_a_setting_out_of_range_names_its_flag(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        SummaryOptions(**options)


def test_another_architecture_is_named(tmp_path: Path) -> None:
    marian_directory(tmp_path, target_lang="fr")
    with pytest.raises(
        CheckpointError, match=r"holds a MarianMTModel, which does not sum up\. `tfm translate -m .*` uses it"
    ):
        Summarizer.load(tmp_path)
    edit(tmp_path, architectures=None)
    with pytest.raises(CheckpointError, match="holds a model without a name"):
        Summarizer.load(tmp_path)


def test_the_command_sums_up_files_and_goes_on_after_a_bad_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    t5_directory(tmp_path / "m", task_specific_params=TASK)
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "empty.txt").write_text(" \n")
    files = [part for name in ("bad.txt", "a.txt", "empty.txt", "none.txt") for part in ("-f", str(tmp_path / name))]
    code = run_app(["summarize", "-m", str(tmp_path / "m"), "--json", "-n", "9", "--beam", "1", *files])
    out, err = capfd.readouterr()
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 2 and [r["summary"] is None for r in records] == [True, False, True, True]
    assert records[1]["source"].endswith("a.txt") and 8 <= records[1]["n_tokens"] <= 9
    assert "not UTF-8" in err and "nothing to sum up" in err and "none.txt" in err
    assert run_app(["summarize", "-m", str(tmp_path / "m"), "-n", "9", TEXT]) == 0
    out, _ = capfd.readouterr()
    assert out.endswith("\n") and out.count("\n") == 1 and out.strip()


def test_a_translator_of_others_answers_at_the_prompt(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    marian_directory(tmp_path / "m", target_lang="fr")
    code = run_app(["translate", "-m", str(tmp_path / "m"), "--to", "fr", "--from", "en", "The cat sleeps."])
    out, err = capfd.readouterr()
    assert (code, out.count("\n")) == (0, 1), err
    assert run_app(["translate", "-m", str(tmp_path / "m"), "--to", "de", "The cat sleeps."]) == 2
    assert "It knows fr." in capfd.readouterr().err

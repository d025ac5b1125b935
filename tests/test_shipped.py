"""The three models that ship, through the command line: what they say, what they weigh, and what their cards tell."""

import json
import math
import re
from pathlib import Path

import pytest

from chat.cli import run_app

ROOT = Path(__file__).parent.parent
LARGEST = {"default": 50, "translator": 25, "masked-lm": 12}  # MB of 10**6 bytes
TOGETHER = 90
WORDS: dict[str, list[str]] = {
    "default": [],
    "translator": ["--to", "fr"],
    "masked-lm": [],
}  # what `tfm inspect attention` needs beside -m
LINE = "She drinks a cup of [MASK] every morning."
models = pytest.mark.parametrize("name", LARGEST)


def home(name: str) -> Path:
    return ROOT / "weights" / name


def size(name: str) -> float:
    """MB of all files of a model."""
    return sum(path.stat().st_size for path in home(name).rglob("*") if path.is_file()) / 10**6


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def tfm(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command that succeeds writes to stdout."""
    assert run_app([*words, "--threads", "1"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(("to", "words"), [("fr", ["lit", "livre"]), ("es", ["leyendo", "libro"])])
def test_the_translator_translates(to: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    out = tfm(capsys, "translate", "--to", to, "He is reading a book.")
    assert out.count("\n") == 1 and out.endswith(".\n")
    assert [word for word in words if word not in re.findall(r"\w+", out)] == []


def test_the_masked_model_fills(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line.split("\t") for line in tfm(capsys, "fill", "--top", "4", LINE).splitlines()]
    probabilities = [float(row[0]) for row in rows]
    assert len(rows) == 4 and probabilities == sorted(probabilities, reverse=True)
    assert 0.1 < sum(probabilities) <= 1 and "tea" in [row[1] for row in rows]
    assert all(row[2] == LINE.replace("[MASK]", row[1]) for row in rows)
    (every,) = json.loads(tfm(capsys, "fill", "--top", "8000", "--json", LINE))["masks"]
    assert len(every) == 8000 and 0.99 < sum(guess["probability"] for guess in every) <= 1 + 1e-5


def test_the_masked_model_puts_a_paraphrase_nearer_than_another_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["I lost my credit card.", "My bank card is gone, I cannot find it.", "The cat sleeps in the garden."]
    rows = [[float(x) for x in line.split()] for line in tfm(capsys, "embed", *lines).splitlines()]
    width = json.loads((home("masked-lm") / "config.json").read_text(encoding="utf-8"))["d_model"]
    assert [len(row) for row in rows] == [width] * 3
    assert [math.hypot(*row) for row in rows] == pytest.approx([1.0] * 3, abs=1e-4)
    query, near, far = rows
    assert cosine(query, near) > cosine(query, far) + 0.1


@models
def test_what_each_looks_at_can_be_drawn(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "map.png"
    words = ["inspect", "attention", "The cat sees a dog.", "-m", name, *WORDS[name], "--png", str(picture)]
    assert tfm(capsys, *words).strip()
    assert picture.read_bytes().startswith(b"\x89PNG")


@models
def test_none_is_larger_than_was_promised(name: str) -> None:
    assert 1 < size(name) < LARGEST[name]


def test_together_they_stay_below_ninety_megabytes() -> None:
    assert sum(map(size, LARGEST)) < TOGETHER


@models
def test_each_card_names_the_command_that_repeats_its_numbers(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (home(name) / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# tfm {name}")
    command = re.search(
        r"^Repeated by: `tfm (eval -m (?:DIR|default) --corpus CORPUS .*--card.*)`$", text, re.MULTILINE
    )
    assert command, "the card names no command"
    places = {"DIR": str(home(name)), "CORPUS": "/absent"}
    monkeypatch.chdir(ROOT)
    assert run_app([places.get(word, word) for word in command[1].split()]) == 6  # all flags are known; no corpus is
    assert "The corpus /absent lacks" in capsys.readouterr().err

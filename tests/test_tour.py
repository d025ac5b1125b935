"""docs/transformers.md: its excerpts stand in the code, its numbers come from runs, and its commands exist."""

import ast
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from weights.cli import app, bench_app
from weights.compare.attention import attention_variants
from weights.compare.heads import head_variants
from weights.compare.residual import residual_variants

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "transformers.md"
EXCERPT = re.compile(r"```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\[`([\w.]+)`\]\(\.\./([\w/]+\.py)\)")
LONGEST = 12  # lines of an excerpt
QUESTIONS = [
    "dot product enough", "square root of d_k", "residual paths and norms", "more heads buy", "LSTM forget",
    "masking change", "each head look at", "attention board grow", "rows of the embedding", "expert specialise",
    "positions", "values",
]  # fmt: skip


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def excerpts() -> list[tuple[str, str, str]]:
    """(name, file, lines) of every excerpt: the last link before it says where it stands."""
    text = page()
    return [(*LINK.findall(text[: m.start()])[-1], m[1]) for m in EXCERPT.finditer(text)]


def source_of(name: str, file: str) -> str:
    """The lines of a function or class, such as `Block.forward`."""
    text = (ROOT / file).read_text(encoding="utf-8")
    node: Any = ast.parse(text)
    for part in name.split("."):
        node = next(n for n in node.body if getattr(n, "name", None) == part)
    return "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno]) + "\n"


@pytest.mark.parametrize(("name", "file", "lines"), excerpts(), ids=lambda v: v if "\n" not in v else "")
def test_an_excerpt_stands_in_the_code_that_it_names(name: str, file: str, lines: str) -> None:
    assert lines in source_of(name, file)
    assert lines.count("\n") <= LONGEST


def test_every_link_names_what_is_there() -> None:
    assert all(source_of(name, file) for name, file in LINK.findall(page()))


def test_the_questions_come_in_order_each_with_code_numbers_and_an_answer() -> None:
    sections = page().split("\n## ")[1:]
    assert len(sections) == len(QUESTIONS)
    for section, question in zip(sections, QUESTIONS, strict=True):
        assert question in section.splitlines()[0]
        assert "```python" in section and "<!-- measured: " in section and "**Answer.**" in section


@pytest.fixture(scope="module")
def tour() -> ModuleType:
    """scripts/make_tour.py."""
    spec = importlib.util.spec_from_file_location("make_tour", ROOT / "scripts" / "make_tour.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_tour"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_part_of_the_page_is_made_by_a_command_that_there_is(tour: ModuleType) -> None:
    assert sorted(re.findall(r"<!-- measured: (\S+) -->", page())) == sorted([*tour.PARTS, "looks"])
    known = {"train": app, "bench": bench_app}
    for part in tour.PARTS.values():
        _, group, name, *_ = part.command.split()
        commands = [c.name or str(c.callback.__name__).replace("_", "-") for c in known[group].registered_commands] if (
            group in known
        ) else []  # fmt: skip
        assert group == "eval" or name in commands


def test_nothing_is_left_to_measure() -> None:
    assert "TO MEASURE" not in page()


def outcome(variant: str, seed: int, held_out: float, **extra: Any) -> dict[str, Any]:
    losses = {"steps": [0, 1], "losses": [3.0, 2.0], "held_out": held_out, "tokens_per_s": 1000.0 + seed}
    return {"variant": variant, "seed": seed, **losses, "extra": extra}


def both_seeds(variants: dict[str, float], **extra: Any) -> list[dict[str, Any]]:
    """Outcomes whose distance to the first variant is 0.1 more with the second seed."""
    return [
        outcome(name, seed, loss + 0.1 * seed * (index > 0), **extra)
        for seed in (0, 1) for index, (name, loss) in enumerate(variants.items())
    ]  # fmt: skip


def told(name: str) -> Any:
    """Numbers as a run leaves them, by the name of their file."""
    scores = {"fr": {"chrF": 50.5, "by_words": {"1-5": {"chrF": 61.5, "sentences": 7}}}}
    history = {"stages": [{"tokens": 7_200_000, "hours": 2.0}]}
    typical = {"typical 0": [["▁a|b"], ["▁c"]], "typical 1": [["▁d"], ["▁e"]]}
    explained = {"by_token": 0.5, "by_before": 0.2, "by_chance": 0.1}
    reading = {"at_once": 2.0, "one_by_one": 2.00001, "seconds_at_once": 1.0, "seconds_one_by_one": 30.0}
    return {
        "compare-attention": both_seeds({v.name: 4.0 + i for i, v in enumerate(attention_variants(9))}),
        "softmax": [{"score": "q·k", "width": 8, "seed": 0, "entropy": 0.5, "gradient": 0.25}],
        "compare-residual": both_seeds({v.name: 4.0 + i for i, v in enumerate(residual_variants(9))}),
        "gradients": [{"variant": "norm after", "seed": 0, "norms": [4.0, 3.0, 2.0]}],
        "compare-heads": both_seeds({v.name: 4.0 + i for i, v in enumerate(head_variants(9))}),
        "compare-recurrence": both_seeds({"LSTM": 2.0, "transformer": 1.0}, right_4=0.75, speed_8=5000.0),
        "translators": {
            "model": scores, "training": history, "parameters": 11,
            "baselines": {"LSTM, dot": {"scores": scores, "training": history, "parameters": 12}},
        },
        "compare-masking": both_seeds(
            {"causal mask": 2.0, "no mask": 3.0}, prompt="Once", written="upon *a*", **reading
        ),
        "attention": [
            {"arm": arm, "length": n, "seconds": [n * n / 1e6], "peak_bytes": 4 * n * n}
            for arm in ("fused", "plain", "decode") for n in (128, 256)
        ],
        "compare-embeddings": both_seeds({"tied": 2.0, "untied": 3.0}, trained_1=1.0),
        "compare-experts": both_seeds({"dense": 2.0, "top-1": 3.0}, **explained, **typical),
        "compare-positions": both_seeds({"rope": 2.0, "alibi": 3.0}, at_128=2.5, at_256=2.75),
    }[name]  # fmt: skip


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A copy of the page, beside an analysis of one head."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "transformers.md").write_text(page(), encoding="utf-8")
    row = "| {} | 2, 1 | 9 | 0.90 (0.80 to 0.95) | -1 | 0.40 | 0.2 | {} |\n"
    table = row.format("noun to its article", "**yes**") + row.format("verb to its auxiliary", "no")
    (docs / "analysis.md").write_text(f"# Heads\n\n## The chat model\n\n{table}\n![a head](images/heads/a.png)\n")
    return docs


def fill(tour: ModuleType, docs: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", ["make_tour.py", "--runs", str(runs), "--docs", str(docs)])
    tour.main()
    return (docs / "transformers.md").read_text(encoding="utf-8")


def test_numbers_and_figures_come_from_the_runs_and_the_words_stay(
    tour: ModuleType, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    for part in tour.PARTS.values():
        for file in (*part.files, *part.figures):
            path = runs / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("PNG" if path.suffix == ".png" else json.dumps(told(path.stem)), encoding="utf-8")
    text = fill(tour, docs, runs, monkeypatch)
    assert "TO MEASURE" not in text
    for line in (
        "| cosine | 8.050 ± 0.071 | 1,000 ± 1 |", "seed by seed: dot +1.050 ± 0.071; bilinear +2.050 ± 0.071;",
        "| 8 | 0.5000 ± 0.0000 | 0.2500 ± 0.0000 |", "| norm after | 4 ± 0 | 3 ± 0 | 2 ± 0 | 2 ± 0 |",
        "| transformer, shipped | 61.5 | 50.5 |", "| LSTM, dot | 12 | 7,200,000 | 2.0 | 1,000 |",
        "at most 1.0e-05 nats apart, and reading one by one takes 30 times as long", "- no mask: *Once* … **upon a**",
        "From 128 to 256 tokens plain attention takes 4.0 times as long and 4.0 times the memory",
        "| layer 0, expert 0 | `▁a\\|b` |", "| layer 1, expert 1 | `▁e` |", "| alibi | 2.500 | 2.750 | – | – |",
        "| chat model | noun to its article | 2, 1 | 0.90 (0.80 to 0.95) | 0.40 |", "![a head](images/heads/a.png)",
        "Measured by `tfm train compare-heads --corpus CORPUS --out runs/compare-heads --threads 1`.",
    ):  # fmt: skip
        assert line in text
    assert "verb to its auxiliary" not in text
    figures = re.findall(r"\(images/tour/(\S+)\)", text)
    assert len(figures) == 11 and all((docs / "images" / "tour" / name).is_file() for name in figures)
    assert re.sub(tour.PART, "", text) == re.sub(tour.PART, "", page())
    assert fill(tour, docs, runs, monkeypatch) == text


def test_what_was_not_run_is_told_and_the_script_says_so(
    tour: ModuleType, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="Still to measure: scores, sharpness, unit,"):
        fill(tour, docs, tmp_path, monkeypatch)
    text = (docs / "transformers.md").read_text(encoding="utf-8")
    assert text.count("TO MEASURE(`tfm ") == len(tour.PARTS)

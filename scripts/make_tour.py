"""Fill the measured parts of docs/transformers.md, and docs/images/tour, with what its commands left under --runs.

    python scripts/make_tour.py [--runs runs]

A part stands between `<!-- measured: NAME -->` and `<!-- end -->` and is written anew: tables, sentences, figures and
the command that repeats them. What was not run yet says TO MEASURE(command). Exits with 1 while there is such a part.
"""

import argparse
import json
import re
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from weights.bench_attention import Measured, attention_table  # noqa: E402
from weights.compare import attention as compare_attention  # noqa: E402
from weights.compare import embeddings as compare_embeddings  # noqa: E402
from weights.compare import experts as compare_experts  # noqa: E402
from weights.compare import heads as compare_heads  # noqa: E402
from weights.compare import masking as compare_masking  # noqa: E402
from weights.compare import recurrence as compare_recurrence  # noqa: E402
from weights.compare import residual as compare_residual  # noqa: E402
from weights.compare.masking import quotes  # noqa: E402
from weights.compare.positions import TIMES  # noqa: E402
from weights.compare.residual import Gradients, gradient_table  # noqa: E402
from weights.compare.trials import Outcome, by_variant, table  # noqa: E402
from weights.sharpness import Sharpness, sharpness_table  # noqa: E402

PART = re.compile(r"(<!-- measured: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
HEADS = 6  # heads of one model that are named
SCORES = ("scaled dot", "dot", "bilinear", "additive", "cosine", "scaled cosine")
GROUPS = ("scaled dot", "grouped-query", "multi-query")
WIDE = ("one wide head, unit start", "the same, dot")


@dataclass(frozen=True)
class Part:
    """What one part of the page is made of.

    command: what repeats it. files: its numbers, below the runs. tell: from what they hold to Markdown.
    figures: below the runs -> what they show.
    """

    command: str
    files: Sequence[str]
    tell: Callable[..., str]
    figures: Mapping[str, str] = field(default_factory=dict)


def outcomes_of(told: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> list[Outcome]:
    """The outcomes in a file, all or those of some variants."""
    found = [Outcome(**o) for o in told]
    return [o for o in found if not names or o.variant in names]


def against(outcomes: Sequence[Outcome], base: str) -> str:
    """How far each variant's held-out loss is from that of `base`: seed by seed, mean and standard deviation."""
    groups = by_variant(outcomes)
    standard = {o.seed: o.held_out for o in groups.pop(base)}
    told = []
    for name, group in groups.items():
        far = [o.held_out - standard[o.seed] for o in group]
        told.append(f"{name} {statistics.fmean(far):+.3f} ± {statistics.stdev(far) if len(far) > 1 else 0:.3f}")
    return f"Held-out loss less that of *{base}*, seed by seed: {'; '.join(told)}.\n"


def compared(base: str, columns: Mapping[str, str], names: Sequence[str] = ()) -> Callable[[Any], str]:
    """The table of a comparison, or of some of its variants, and how far each is from `base`."""

    def tell(told: Any) -> str:
        outcomes = outcomes_of(told, names)
        return f"{table(outcomes, columns)}\n{_run(outcomes)} {against(outcomes, base)}"

    return tell


def _run(outcomes: Sequence[Outcome]) -> str:
    steps, seeds = len(outcomes[0].steps), len({o.seed for o in outcomes})
    return f"{steps:,} steps, {seeds} seeds, mean ± standard deviation; losses in nats per token."


def sharpness(told: Any) -> str:
    return sharpness_table([Sharpness(**s) for s in told])


def residual(told: Any, gradients: Any) -> str:
    text = compared("norm before", compare_residual.COLUMNS)(told)
    return f"{text}\n{gradient_table([Gradients(**g) for g in gradients])}"


def recurrence(told: Any) -> str:
    outcomes = outcomes_of(told)
    first = table(outcomes, compare_recurrence.COLUMNS)
    return f"{first}\n{table(outcomes, compare_recurrence.SPEED_COLUMNS)}\n{_run(outcomes)}\n"


def translators(told: Any) -> str:
    """chrF by length for each language, and how fast each model was trained."""
    rows = {"transformer, shipped": (told["model"], told["training"], told["parameters"])}
    rows |= {name: (b["scores"], b["training"], b["parameters"]) for name, b in told["baselines"].items()}
    lines = []
    for language, scores in told["model"].items():
        classes = scores["by_words"]
        heads = (f"{name} words ({here['sentences']:,})" for name, here in classes.items())
        lines += [f"| chrF, en-{language} | " + " | ".join(heads) + " | all |", "|---|" + "---:|" * (len(classes) + 1)]
        for name, (found, *_) in rows.items():
            cells = [f"{found[language]['by_words'][c]['chrF']:.1f}" for c in classes]
            lines.append(f"| {name} | " + " | ".join([*cells, f"{found[language]['chrF']:.1f}"]) + " |")
        lines.append("")
    lines += ["| | parameters | target positions | hours | positions/s |", "|---|---:|---:|---:|---:|"]
    for name, (_, training, parameters) in rows.items():
        (stage,) = training["stages"]
        speed = stage["tokens"] / stage["hours"] / 3600
        lines.append(f"| {name} | {parameters:,} | {stage['tokens']:,} | {stage['hours']} | {speed:,.0f} |")
    return "\n".join([*lines, "", "One training of each, on the same data."]) + "\n"


def masking(told: Any) -> str:
    outcomes = outcomes_of(told)
    causal, _ = by_variant(outcomes).values()
    apart = max(abs(o.extra["at_once"] - o.extra["one_by_one"]) for o in causal)
    slower = statistics.fmean(o.extra["seconds_one_by_one"] / o.extra["seconds_at_once"] for o in causal)
    return (
        f"{table(outcomes, compare_masking.COLUMNS)}\n{_run(outcomes)} With the mask the two losses are at most "
        f"{apart:.1e} nats apart, and reading one by one takes {slower:.0f} times as long.\n\n{quotes(outcomes)}\n"
    )


def board(told: Any) -> str:
    found = [Measured(**m) for m in told]
    lengths = sorted({m.length for m in found})
    by = {(m.arm, m.length): m for m in found}
    seconds = {arm: by[arm, lengths[-1]].median / by[arm, lengths[-2]].median for arm in ("plain", "fused", "decode")}
    grown = by["plain", lengths[-1]].peak_bytes / by["plain", lengths[-2]].peak_bytes
    return (
        f"{attention_table(found)}\nFrom {lengths[-2]:,} to {lengths[-1]:,} tokens plain attention takes "
        f"{seconds['plain']:.1f} times as long and {grown:.1f} times the memory, fused attention "
        f"{seconds['fused']:.1f} times as long, and one token from the cache {seconds['decode']:.1f} times.\n"
    )


def experts(told: Any) -> str:
    outcomes = outcomes_of(told)
    extra = by_variant(outcomes)["top-1"][0].extra
    layers = [key for key in extra if key.startswith("typical ")]
    lines = ["| top-1, seed 0 | most typical pieces |", "|---|---|"]
    for key in (layers[0], layers[-1]):
        for expert, pieces in enumerate(extra[key]):
            shown = " ".join(f"`{piece}`" for piece in pieces)
            lines.append(f"| layer {key.split()[1]}, expert {expert} | {shown.replace('|', chr(92) + '|')} |")
    return compared("dense", compare_experts.COLUMNS)(told) + "\n" + "\n".join(lines) + "\n"


def positions(told: Any) -> str:
    outcomes = outcomes_of(told)
    trained = min(int(key.removeprefix("at_")) for key in outcomes[0].extra)
    columns = {f"loss at {times * trained:,}": f"at_{times * trained}" for times in TIMES}
    return f"{table(outcomes, columns)}\nTrained in rows of {trained}. {_run(outcomes)}\n"


def looks(page: str) -> str:
    """The heads that have earned a name, from the tables of docs/analysis.md, and the first picture of each model."""
    lines = ["| model | relation | layer, head | right (95 %) | fixed distance is right |", "|---|---|---|---:|---:|"]
    pictures = []
    for section in page.split("\n## ")[1:]:
        model = section.splitlines()[0].removeprefix("The ")
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.endswith("| **yes** |")]
        lines += [f"| {model} | {row[0]} | {row[1]} | {row[3]} | {row[5]} |" for row in rows[:HEADS]]
        pictures += re.findall(r"^!\[.*\]\(images/heads/.*\)$", section, re.MULTILINE)[:1]
    return "\n".join([*lines, "", *pictures]) + "\n"


def trained(what: str, of: str = "--corpus CORPUS ") -> str:
    """The command of a comparison."""
    return f"tfm train compare-{what} {of}--out runs/compare-{what} --threads 1"


LSTMS = ("none", "additive", "dot")
ATTENTION = "compare-attention/compare-attention.json"
PARTS = {
    "scores": Part(
        trained("attention"), [ATTENTION], compared("scaled dot", compare_attention.COLUMNS, SCORES),
        {"compare-attention/compare-attention.png": "Losses of every kind of attention"},
    ),
    "sharpness": Part(
        "tfm train compare-attention --softmax-only --out runs/compare-attention --threads 1",
        ["compare-attention/softmax.json"], sharpness,
        {"compare-attention/softmax.png": "Entropy and gradient of a softmax against d_k"},
    ),
    "unit": Part(
        trained("attention"), [ATTENTION], compared(WIDE[0], {"held-out loss": "held_out"}, WIDE),
    ),
    "residual": Part(
        trained("residual"), ["compare-residual/compare-residual.json", "compare-residual/gradients.json"], residual,
        {
            "compare-residual/compare-residual.png": "Losses with norms before, after, and without",
            "compare-residual/gradients.png": "Gradient of each layer at the start",
        },
    ),
    "heads": Part(
        trained("heads"), ["compare-heads/compare-heads.json"], compared("4 x 32", compare_heads.COLUMNS),
        {"compare-heads/compare-heads.png": "Losses with more heads, and with wider ones"},
    ),
    "recurrence": Part(
        trained("recurrence", ""), ["compare-recurrence/compare-recurrence.json"], recurrence,
        {"compare-recurrence/recurrence.png": "What is kept of a sequence, and the speed of training, against length"},
    ),
    "translators": Part(
        "tfm eval -m translator --corpus CORPUS --baseline runs/translator-small/model "
        + " ".join(f"--baseline runs/lstm-{kind}/model" for kind in LSTMS)
        + " --json > runs/translators.json",
        ["translators.json"], translators,
    ),
    "masking": Part(
        trained("masking"), ["compare-masking/compare-masking.json"], masking,
        {"compare-masking/compare-masking.png": "Losses with and without the causal mask"},
    ),
    "board": Part(
        "tfm bench attention --out runs/bench-attention --threads 1", ["bench-attention/attention.json"], board,
        {"bench-attention/attention.png": "Time and memory of attention against length"},
    ),
    "groups": Part(trained("attention"), [ATTENTION], compared("scaled dot", compare_attention.COLUMNS, GROUPS)),
    "embeddings": Part(
        trained("embeddings"), ["compare-embeddings/compare-embeddings.json"],
        compared("tied", compare_embeddings.COLUMNS),
        {"compare-embeddings/rows.png": "Rows with a gradient against tokens in the batch"},
    ),
    "experts": Part(
        trained("experts"), ["compare-experts/compare-experts.json"], experts,
        {"compare-experts/speciality.png": "What explains the choice of an expert, by layer"},
    ),
    "positions": Part(
        trained("positions"), ["compare-positions/compare-positions.json"], positions,
        {"compare-positions/extrapolation.png": "Loss against the length that is read"},
    ),
    "rank": Part(
        trained("attention"), [ATTENTION],
        compared("scaled dot", compare_attention.COLUMNS, ("scaled dot", f"values of rank {compare_attention.RANK}")),
    ),
}  # fmt: skip


def written(part: Part, runs: Path, images: Path) -> str:
    """The Markdown of a part; its figures are copied to `images`, which stands beside the page as images/tour."""
    files = [runs / name for name in (*part.files, *part.figures)]
    if not all(path.is_file() for path in files):
        return f"TO MEASURE(`{part.command}`)\n"
    text = part.tell(*(json.loads((runs / name).read_text(encoding="utf-8")) for name in part.files))
    for name, shows in part.figures.items():
        shutil.copyfile(runs / name, images / Path(name).name)
        text += f"\n![{shows}](images/tour/{Path(name).name})\n"
    return f"{text}\nMeasured by `{part.command}`.\n"


def pieces(docs: Path, runs: Path) -> Iterator[tuple[str, str]]:
    """(name, Markdown) of every part."""
    images = docs / "images" / "tour"
    images.mkdir(parents=True, exist_ok=True)
    for name, part in PARTS.items():
        yield name, written(part, runs, images)
    told = "Measured by `python scripts/make_analysis.py --corpus CORPUS`, which writes [analysis.md](analysis.md).\n"
    yield "looks", looks((docs / "analysis.md").read_text(encoding="utf-8")) + f"\n{told}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    page = arguments.docs / "transformers.md"
    texts = dict(pieces(arguments.docs, arguments.runs))
    text = PART.sub(lambda m: f"{m[1]}{texts[m[2]]}{m[3]}", page.read_text(encoding="utf-8"))
    page.write_text(text, encoding="utf-8")
    if missing := [name for name, told in texts.items() if told.startswith("TO MEASURE")]:
        sys.exit(f"Still to measure: {', '.join(missing)}.")


if __name__ == "__main__":
    main()

"""Rewrite docs/analysis.md and docs/images/heads: what heads of the shipped models do, with scores and pictures.

    python scripts/make_analysis.py --corpus DIR [-m MODEL ...] [--to fr] [--out docs]

Each model is measured as `tfm inspect heads` measures it. A head gets a name where it has earned one; the examples
are the first two short texts of half B (which named no head) that have the relation twice, right or not.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from weights.evaluate.heads import Finding, Looked  # noqa: E402
from weights.evaluate.looks import Study, study  # noqa: E402
from weights.figure import draw_grid  # noqa: E402
from weights.models.boards import CROSS, draw_panel  # noqa: E402

SHIPPED = ("masked-lm", "default", "translator")
HEADS = 6  # of one model, at most
SHORT = 22  # tokens of an example
HEADING = {
    "masked-lm": "The masked language model", "default": "The chat model", "translator": "The translator",
}  # fmt: skip
INTRODUCTION = """# What each head looks at

`scripts/make_analysis.py --corpus DIR` writes this page; `tfm inspect heads -m MODEL --corpus DIR` prints its
tables; `tfm inspect attention TEXT -m MODEL --layer L --head H` shades one head on a text of yours.

**How a head gets a name.** A relation (weights/evaluate/relations.py) says, for some tokens of a text, which tokens
it would be right to look at: for *his* the *he* of its sentence, for a closing quotation mark the opening one. The
rules need no parser, only closed word classes, and are sometimes wrong; that costs all heads and the baseline alike.
A head is right at a token when the token that has most of its attention is a right one, `<s>` and `</s>` left out
(a head that has nothing to do looks there). Every second text, half A, names the head that is best at the relation,
and the best fixed distance: "always look d tokens on". Half B, which suggested neither, gives the scores below. The
interval is 95 % of 1000 bootstrap draws of texts. A name is earned (**yes**) where the lower end of the interval is at
least one half, that of the score minus the distance's score is above 0, and right tokens get at least twice the share
of its whole attention that they would get if it were spread evenly: untrained heads look at nothing in particular.

The sentences are English ones of the held-out split of the parallel corpus. The conversations are of the project's
generators, of kinds that the chat model was tuned on, drawn with a seed that no training had. The examples are the
first two short texts of half B that have the relation twice, right or not. In the pictures a row looks at the columns,
darker is more, and a red frame stands around what would be right.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("-m", "--model", type=Path, action="append")
    parser.add_argument("--to", default="fr")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    shipped = (ROOT / "weights" / name for name in SHIPPED)
    models = arguments.model or [path for path in shipped if (path / "config.json").is_file()]
    images = arguments.out / "images" / "heads"
    images.mkdir(parents=True, exist_ok=True)
    sections = []
    for model in models:
        is_translator = (model / "config.json").read_text(encoding="utf-8").find("Seq2Seq") > 0
        read = study(model, arguments.corpus, arguments.to if is_translator else None, threads=1)
        for stale in images.glob(f"{model.name}-*.png"):
            stale.unlink()
        sections.append("\n".join(section(model, read, images)))
    (arguments.out / "analysis.md").write_text("\n".join([INTRODUCTION, *sections]), encoding="utf-8")


def section(model: Path, read: Study, images: Path) -> Iterator[str]:
    """The part of the page about one model; its pictures are drawn on the way."""
    found = sorted(read.findings(), key=lambda f: f.offset_score - f.score)
    digest = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()[:12]
    n_layers, n_heads = read.texts[0].best.shape[:2]
    yield f"## {HEADING.get(model.name, model.name)}\n"
    where = "between decoder and encoder " if read.part == CROSS else ""
    yield f"{n_layers} layers of {n_heads} heads {where}read {len(read.texts)} texts; model.safetensors {digest}….\n"
    yield "| relation | layer, head | n | score (95 %) | best distance | its score | mean of all heads | earned |"
    yield "|---|---|---:|---|---:|---:|---:|---|"
    for f in found:
        yield (
            f"| {f.relation.name} | {f.layer}, {f.head} | {f.n} | {f.score:.2f} ({f.low:.2f} to {f.high:.2f}) "
            f"| {f.offset:+d} | {f.offset_score:.2f} | {f.mean:.2f} | {'**yes**' if f.holds else 'no'} |"
        )
    yield ""
    for f in named(found):
        picture = images / f"{model.name}-{f.layer}-{f.head}.png"
        examples = chosen(f)
        draw(read, f, examples, picture)
        yield f"### Layer {f.layer}, head {f.head}: {f.relation.says}\n"
        yield (
            f"Right {f.score:.0%} of {f.n} times ({f.low:.0%} to {f.high:.0%}); the distance {f.offset:+d} is right "
            f"{f.offset_score:.0%} of the time, the mean head {f.mean:.0%}. Right tokens get "
            f"{f.attention:.0%} of its whole attention, `<s>` counted; {f.even:.0%} would be an even share.\n"
        )
        for example in examples:
            right, count = verdict(f, example)
            yield f"- {shown(example.text)} — right {right} of {count} times"
        yield f"\n![layer {f.layer}, head {f.head}]({picture.relative_to(images.parent.parent)})\n"


def named(found: Sequence[Finding]) -> list[Finding]:
    """The findings that hold, the furthest above the baseline first, and no head twice."""
    heads: dict[tuple[int, int], Finding] = {}
    for f in found:
        if f.holds:
            heads.setdefault((f.layer, f.head), f)
    return list(heads.values())[:HEADS]


def chosen(f: Finding) -> list[Looked]:
    """The first two short texts of half B that have the relation twice; any two of the shortest where none have."""
    short = [e for e in f.examples if e.best.shape[-1] <= SHORT and len(e.links[f.relation.name]) > 1]
    return short[:2] if len(short) > 1 else sorted(f.examples, key=lambda e: e.best.shape[-1])[:2]


def verdict(f: Finding, example: Looked) -> tuple[int, int]:
    """(how often the head is right in a text, how often it could be)."""
    links = example.links[f.relation.name]
    return sum(int(example.best[f.layer, f.head, q]) in keys for q, keys in links.items()), len(links)


def draw(read: Study, f: Finding, examples: Sequence[Looked], path: Path) -> None:
    """The head on its examples, side by side."""
    boards = [read.board(example.text) for example in examples]

    def panel(axes: Any, index: int) -> None:
        links = examples[index].links[f.relation.name]
        marks = [(q, k) for q, keys in links.items() for k in keys]
        draw_panel(axes, boards[index], f.layer, f.head, marks, size=7)

    side = 1.3 + 0.11 * max(max(len(b.rows), len(b.columns)) for b in boards)
    if not draw_grid(path, 1, len(boards), side, panel):
        sys.exit("The pictures need matplotlib: pip install tfm[viz].")


def shown(text: Any) -> str:
    """A sentence, a pair of them, or a conversation on one line."""
    if isinstance(text, str):
        return f"*{text}*"
    if isinstance(text[0], str):
        return " → ".join(f"*{side}*" for side in text)
    return " ".join(f"{message.role}: *{message.content.replace(chr(10), ' ')}*" for message in text)


if __name__ == "__main__":
    main()

"""The model card: what a model was made of and how it does, from one evaluation, written as README.md."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.api import Engine
from engine.tokenizer import SentencePieceTokenizer
from weights.data.readers import Record
from weights.evaluate.bits import bits_per_byte
from weights.evaluate.rubrics import Answer, answer_cases, load_cases

GROUPS = {
    "persona": "name of an unseen persona kept",
    "everyday": "everyday prompts, right by their rubric",
    "shell": "everyday shell questions, right command by its rubric",
}
PROVENANCE = Path(__file__).with_name("provenance.md")


def evaluate(engine: Engine, held_out: Mapping[str, Sequence[Record]]) -> tuple[dict[str, Any], list[Answer]]:
    """Numbers and answers of one model: bits per byte of each source, and the share of right answers by group."""
    answers = answer_cases(engine, load_cases())
    right = Counter(a.case.group for a in answers if a.right)
    asked = Counter(a.case.group for a in answers)
    assert isinstance(engine.tokenizer, SentencePieceTokenizer)
    return {
        "bits_per_byte": bits_per_byte(engine.model, engine.tokenizer, held_out),
        "right": {group: [right[group], asked[group]] for group in GROUPS},
        "mean_characters": round(sum(len(a.text) for a in answers) / len(answers), 1),
        "loops": sum(_loops(a.text) for a in answers),
    }, answers


def _loops(text: str) -> bool:
    """Whether four words in a row come back more than three times."""
    words = text.split()
    return any(n > 3 for n in Counter(zip(words, words[1:], words[2:], words[3:], strict=False)).values())


def write_card(
    directory: Path, engine: Engine, run: Path, numbers: Mapping[str, Any], answers: Sequence[Answer]
) -> None:
    """Write README.md into the model's directory. `run` holds the recipe and metrics of the training."""
    config = engine.config
    lines = [
        "# tfm default, v0", "",
        f"A chat model of {config.n_parameters:,} parameters, trained from scratch by this project's own trainer. It",
        "answers in short English sentences, takes the name and role that a system prompt gives it, and knows common",
        "shell commands. It is small: it is often wrong, and it does not know when it is.", "",
        "## Shape", "",
        f"Llama-class: {config.n_layers} layers, width {config.d_model}, {config.n_heads} heads of {config.head_dim} "
        f"({config.n_kv_heads} key/value heads), feed-forward {config.d_ff}, tied embedding of {config.vocab_size:,} "
        f"SentencePiece pieces with byte fallback, {config.max_positions} positions. Stored as bfloat16.", "",
        "## Training", "", *_training(run), "",
        "## Held-out bits per byte", "",
        "Of the first 300 kB of each source's validation files. Lower is better. Conversations are read through the",
        "chat template, and the words of all roles count.", "",
        "| source | bits per byte |", "|---|---:|",
        *(f"| {name} | {value:.3f} |" for name, value in numbers["bits_per_byte"].items()), "",
        "## Answers by rubric", "",
        "Prompts and patterns are in weights/evaluate; none is in the training data of this project's own. Default "
        "sampling, one seed.", "",
        "| what | right | of |", "|---|---:|---:|",
        *(f"| {what} | {numbers['right'][g][0]} | {numbers['right'][g][1]} |" for g, what in GROUPS.items()), "",
        f"Mean length of an answer: {numbers['mean_characters']} characters. Answers in which four words in a row came "
        f"back more than three times: {numbers['loops']} of {len(answers)}.", "",
        "## Sample answers", "",
        "Unedited: of each table up to four right and four wrong ones, spread evenly over it.", "",
        *_samples(answers),
        PROVENANCE.read_text(encoding="utf-8"),
    ]  # fmt: skip
    (directory / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _training(run: Path) -> list[str]:
    """What each stage read, from its metrics."""
    lines = ["| stage | steps | tokens passed | hours | last loss (nats/token) |", "|---|---:|---:|---:|---:|"]
    recipe: dict[str, Any] = {}
    for metrics in sorted(run.glob("*/metrics.jsonl"), key=lambda p: p.stat().st_mtime):
        recipe = json.loads(metrics.with_name("recipe.json").read_text(encoding="utf-8"))
        stage = next(s for s in recipe["stages"] if s["name"] == metrics.parent.name)
        rows = [r for r in map(json.loads, metrics.read_text(encoding="utf-8").splitlines()) if "loss" in r]
        tail = [r["loss"] for r in rows[-50:]]
        hours = sum(r["seconds"] for r in rows) / 3600
        tokens = len(rows) * stage["batch"] * stage["row"]
        lines.append(f"| {stage['name']} | {len(rows)} | {tokens:,} | {hours:.2f} | {sum(tail) / len(tail):.3f} |")
    names = ", ".join(recipe.get("sources", {}))
    return [
        *lines,
        "",
        f"Recipe: weights/recipes/{recipe.get('name', '?')}.toml (seed {recipe.get('seed')}). Sources: {names}.",
    ]


def _samples(answers: Sequence[Answer]) -> list[str]:
    lines: list[str] = []
    for group in GROUPS:
        for right in (True, False):
            chosen = [a for a in answers if a.case.group == group and a.right is right]
            for answer in chosen[:: max(1, len(chosen) // 4)][:4]:
                lines += [f"**{'right' if right else 'wrong'}, {answer.case.kind}**", ""]
                lines += [f"> {m.role}: {m.content}  " for m in answer.case.messages]
                lines += ["> " + line + "  " for line in f"tfm: {answer.text}".split("\n")] + [""]
    return lines

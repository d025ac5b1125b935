"""The model card: what a model was made of and how it does, from one evaluation, written as README.md."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.api import Engine
from weights.evaluate.history import FILE, training, training_section
from weights.evaluate.measure import GROUPS, MODEL, WITH_LOOKUP
from weights.evaluate.peers import load_peer
from weights.evaluate.rubrics import Answer
from weights.evaluate.samples import quoted
from weights.recipe import Recipe

PROVENANCE = Path(__file__).with_name("provenance.md")
SHIPPED = "default"  # the recipe that `tfm eval` takes when none is named


def write_card(
    directory: Path, engine: Engine, recipe: Recipe, numbers: Mapping[str, Any], answers: Sequence[Answer]
) -> None:
    """Write README.md into the model's directory, and training.json, so that the card can be written again there."""
    history = training(directory)
    if history:
        (directory / FILE).write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    text = render_card(engine, recipe, history, numbers, answers, load_peer())
    (directory / "README.md").write_text(text, encoding="utf-8")


def render_card(
    engine: Engine, recipe: Recipe, history: Mapping[str, Any], numbers: Mapping[str, Any],
    answers: Sequence[Answer], peer: Mapping[str, Any] | None,
) -> str:  # fmt: skip
    """The card's text. It needs no corpus: all is in the numbers."""
    version = f", v{recipe.version}" if recipe.version else ""
    parts = [
        [f"# tfm {recipe.name}{version}"],
        _about(engine),
        training_section(recipe, history, "token"),
        _bits(numbers, peer),
        _repeated(recipe),
        _overlap(numbers),
        _answers(numbers, peer),
        _tasks(numbers),
        _samples(answers),
        [PROVENANCE.read_text(encoding="utf-8").rstrip("\n")],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _about(engine: Engine) -> list[str]:
    config = engine.config
    return [
        f"A chat model of {config.n_parameters:,} parameters, trained from scratch by this project's own trainer. It",
        "answers in short English sentences, takes the name and role that a system prompt gives it, and knows common",
        "shell commands. It is small: it is often wrong, and it does not know when it is.", "",
        "## Shape", "",
        f"Llama-class: {config.n_layers} layers, width {config.d_model}, {config.n_heads} heads of {config.head_dim} "
        f"({config.n_kv_heads} key/value heads), feed-forward {config.d_ff}, tied embedding of {config.vocab_size:,} "
        f"SentencePiece pieces with byte fallback, {config.max_positions} positions. Stored as bfloat16.",
    ]  # fmt: skip


def _bits(numbers: Mapping[str, Any], peer: Mapping[str, Any] | None) -> list[str]:
    lines = [
        "## Held-out bits per byte", "",
        f"Of the first {numbers['bytes'] // 1000} kB of each source's validation files, in float32. Lower is better. "
        "Conversations are read",
        "through the chat template; the words of all roles count, control tokens count as bits and not as bytes.", "",
    ]  # fmt: skip
    if not peer or "peer" not in numbers:
        rows = [f"| {name} | {value:.3f} |" for name, value in numbers["bits_per_byte"].items()]
        return [*lines, "| source | bits per byte |", "|---|---:|", *rows]
    same, size = numbers["peer"]["bits_per_byte"], f"first {peer['size'] // 1000} kB"
    lines += [
        f"The last two columns are of the same bytes. {peer['name']} has {peer['parameters'] / 1e6:.0f} million "
        f"parameters. {peer['date']}, {peer['method']}", "",
        f"| source | bits per byte | {size} | {peer['name']}, {size} |", "|---|---:|---:|---:|",
    ]  # fmt: skip
    for name, value in numbers["bits_per_byte"].items():
        theirs = same[name]["peer"]
        lines.append(
            f"| {name} | {value:.3f} | {same[name]['model']:.3f} | {'–' if theirs is None else f'{theirs:.3f}'} |"
        )
    return lines


def _repeated(recipe: Recipe) -> list[str]:
    """The command that measures all of the card's numbers again."""
    if recipe.name == SHIPPED:
        return ["Repeated by: `tfm eval -m default --corpus CORPUS --card --samples docs/samples.md`"]
    return ["Repeated by: `tfm eval -m DIR --recipe RECIPE --corpus CORPUS --card`"]


def _overlap(numbers: Mapping[str, Any]) -> list[str]:
    return [
        "## Overlap of training and validation data", "",
        "Computed: of the sequences of 13 words in a source's validation files, those that stand in its training files",
        "too; and of its validation texts, those that are word for word a text of them.", "",
        "| source | sequences | seen in training | texts | whole text in training |", "|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {o['grams']:,} | {o['seen']:.2%} | {o['texts']:,} | {o['repeated']:.2%} |"
            for name, o in numbers["overlap"].items()
        ),
    ]  # fmt: skip


def _answers(numbers: Mapping[str, Any], peer: Mapping[str, Any] | None) -> list[str]:
    columns = [(way, numbers["right"][way]) for way in numbers["right"]]
    if peer:
        columns += [(f"{peer['name']}, {how}", counts) for how, counts in peer.get("right", {}).items()]
    style, sampling = numbers["answers"], ", ".join(f"{k} {v}" for k, v in numbers["sampling"].items())
    return [
        "## Answers by rubric", "",
        "Prompts and patterns are in weights/evaluate; none is in the training data of this project's own.",
        f"Sampling: {sampling}.", "",
        f"| what | {' | '.join(name for name, _ in columns)} |", f"|---|{'---:|' * len(columns)}",
        *(f"| {what} | {' | '.join(_share(counts.get(g)) for _, counts in columns)} |" for g, what in GROUPS.items()),
        "",
        "Right by kind: " + "; ".join(
            f"{group}: " + ", ".join(f"{kind} {_share(n)}" for kind, n in kinds.items())
            for group, kinds in numbers["kinds"].items()
        ) + ".", "",
        f"Of these {style['count']} answers{' (with look-up)' if WITH_LOOKUP in numbers['right'] else ''}: "
        f"mean length {style['mean_characters']} characters, {style['mean_words']} words; "
        f"{style['loops']} in which four words in a row come more than three times; of all sequences of four words "
        f"{style['repetition']:.2%} stood in the same answer before.",
    ]  # fmt: skip


def _share(counts: Sequence[int] | None) -> str:
    return f"{counts[0]} of {counts[1]}" if counts else "–"


def _tasks(numbers: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Held-out shell tasks", "",
        "Rows of the validation tables, asked as questions, answered greedily. Right tool: the first word of the",
        "command after sudo and assignments. Exact: the very command, up to paths, file names, quoted",
        "texts and placeholders. tldr's validation rows are whole pages that are not in training: most tools are new.",
        "",
        "| table | answered by | right tool | exact |", "|---|---|---:|---:|",
    ]  # fmt: skip
    for name, table in numbers["shell_tasks"].items():
        for way, shares in table["answers"].items():
            who = "the model" if way == MODEL else way
            lines.append(f"| {name} ({table['tasks']}) | {who} | {shares['right_tool']:.1%} | {shares['exact']:.1%} |")
        constant = f"always `{table['most_frequent_tool']}`"
        lines.append(f"| {name} ({table['tasks']}) | {constant} | {table['most_frequent_tool_share']:.1%} | |")
    return lines


def _samples(answers: Sequence[Answer]) -> list[str]:
    lines = ["## Sample answers", "", "Unedited: of each table up to two right and two wrong ones, spread over it."]
    for group in GROUPS:
        for right in (True, False):
            chosen = [a for a in answers if a.case.group == group and a.right is right]
            for answer in chosen[:: max(1, len(chosen) // 2)][:2]:
                lines += ["", f"**{'right' if right else 'wrong'}, {group}: {answer.case.kind}**", "", *quoted(answer)]
    return lines

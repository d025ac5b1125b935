"""All numbers of one model: what `tfm eval` tells, and the model card reports."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine.api import Engine
from engine.lookup import FILE, Lookup, ground
from engine.params import SamplingParams
from engine.template import Message
from weights.data.readers import Record, Report
from weights.evaluate import rubrics, shell_tasks
from weights.evaluate.bits import bits_and_bytes
from weights.evaluate.overlap import overlap_of
from weights.evaluate.peers import load_peer
from weights.evaluate.records import beginning, beginnings, digest
from weights.evaluate.repetition import loops, repetition
from weights.evaluate.retrieval import Bm25
from weights.evaluate.rubrics import SEED, Answer, Ground, answer_cases, ask, command_of, judge, load_cases
from weights.recipe import Recipe
from weights.workshop import tell_bad_lines

GROUPS = {
    "persona": "name, role or instruction of an unseen persona kept",
    "memory": "the user's unseen name remembered",
    "everyday": "everyday prompts",
    "shell": "everyday shell questions, the command alone",
}
SIZE = 300_000  # bytes of each source
MODEL, WITH_LOOKUP, LOOKUP_ALONE, BM25 = "model", "model with look-up", "look-up alone", "BM25 over the training rows"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """What is measured, and on what."""

    engine: Engine
    recipe: Recipe
    corpus: Path
    lookup: Lookup | None = None

    @property
    def ground(self) -> Ground | None:
        """What puts examples before a question, where the model has some."""
        return partial(ground, lookup=self.lookup) if self.lookup else None


def find_lookup(directory: Path) -> Lookup | None:
    """The command examples beside a model, if there are any."""
    return Lookup(directory / FILE) if (directory / FILE).is_file() else None


def evaluate(setting: Setting, tell: Tell) -> tuple[dict[str, Any], list[Answer]]:
    """The numbers, ready for JSON, and the answers as the model ships: with look-up where it has it.

    Raises DataError when a file of the corpus is not there.
    """
    engine = setting.engine
    tell("bits per byte of the held-out files")
    numbers: dict[str, Any] = {
        "model": {"name": engine.info.name, "parameters": engine.config.n_parameters, "dtype": engine.info.dtype},
        "sampling": {**engine.defaults, "seed": SEED, "max_new_tokens": rubrics.MAX_NEW_TOKENS},
        **_bits(setting),
    }
    tell("answers to the fixed prompts")
    plain = answer_cases(engine, load_cases())
    shipped = with_lookup(engine, plain, setting.ground) if setting.ground else plain
    numbers["right"] = {MODEL: right(plain)}
    if setting.lookup:
        numbers["right"] |= {WITH_LOOKUP: right(shipped), LOOKUP_ALONE: {"shell": _lookup_alone(setting.lookup)}}
    numbers["kinds"] = {g: _counts((a.case.kind, a.right) for a in shipped if a.case.group == g) for g in GROUPS}
    numbers["answers"] = style(shipped)
    tell("held-out shell tasks")
    numbers["shell_tasks"] = _shell_tasks(setting)
    tell("overlap of training and validation files")
    numbers["overlap"] = overlap_of(setting.recipe, setting.corpus)
    return numbers, shipped


def _bits(setting: Setting) -> dict[str, Any]:
    """Bits per byte of each source, and of its beginning, as far as the peer was measured on it."""
    engine, peer = setting.engine, load_peer()
    whole: dict[str, float] = {}
    same: dict[str, Any] = {}
    report = Report()
    held_out = beginnings(setting.recipe, setting.corpus, SIZE, report)
    tell_bad_lines(report)
    for name, records in held_out.items():
        first = beginning(records, peer["size"]) if peer else []
        bits, size = bits_and_bytes(engine.model, engine.tokenizer, first)
        more_bits, more_size = bits_and_bytes(engine.model, engine.tokenizer, records[len(first) :])
        whole[name] = (bits + more_bits) / max(1, size + more_size)
        if peer:
            theirs = _of_the_same_bytes(peer["bits_per_byte"].get(name), first)
            same[name] = {"model": bits / max(1, size), "peer": theirs}
    numbers: dict[str, Any] = {"bytes": SIZE, "bits_per_byte": whole}
    if peer:
        numbers["peer"] = {"name": peer["name"], "bytes": peer["size"], "bits_per_byte": same}
    return numbers


def _of_the_same_bytes(theirs: dict[str, Any] | None, records: Sequence[Record]) -> float | None:
    """The peer's number of a source; None when it was taken on other bytes."""
    return float(theirs["value"]) if theirs and theirs["digest"] == digest(records) else None


def with_lookup(engine: Engine, answers: Sequence[Answer], put: Ground) -> list[Answer]:
    """The answers, with those given anew whose question finds examples."""
    again = []
    changed = [a.case for a in answers if tuple(put(a.case.messages)) != a.case.messages]
    new = iter(answer_cases(engine, changed, put))
    for answer in answers:
        again.append(next(new) if answer.case in changed else answer)
    return again


def right(answers: Sequence[Answer]) -> dict[str, list[int]]:
    """[right, asked] of each group."""
    return _counts((a.case.group, a.right) for a in answers)


def _counts(judged: Iterable[tuple[str, bool]]) -> dict[str, list[int]]:
    asked: Counter[str] = Counter()
    good: Counter[str] = Counter()
    for name, is_right in judged:
        asked[name] += 1
        good[name] += is_right
    return {name: [good[name], n] for name, n in asked.items()}


def style(answers: Sequence[Answer]) -> dict[str, float]:
    """How answers read: length and repetition."""
    texts = [a.text for a in answers]
    count = max(1, len(texts))
    return {
        "count": len(texts),
        "mean_characters": round(sum(map(len, texts)) / count, 1),
        "mean_words": round(sum(len(t.split()) for t in texts) / count, 1),
        "loops": sum(map(loops, texts)),
        "repetition": round(sum(map(repetition, texts)) / count, 4),
    }


def _lookup_alone(lookup: Lookup) -> list[int]:
    """[right, asked] of the shell questions when the answer is the nearest example's command."""
    cases = [case for case in load_cases() if case.group == "shell"]
    return [sum(judge(case, _nearest(lookup, case.messages[-1].content)) for case in cases), len(cases)]


def _nearest(lookup: Lookup, question: str) -> str:
    found = lookup.find(question, limit=1)
    return found[0].command if found else ""


def _shell_tasks(setting: Setting) -> dict[str, Any]:
    """For each shell table: shares of right tools and exact commands, of the model and of those without one."""
    tables = {n: s for n, s in setting.recipe.sources.items() if s.format == "shell"}
    rows = shell_tasks.shell_rows(setting.corpus, [file for source in tables.values() for file in source.files])
    nearest = Bm25((str(row["description"]), str(row["command"])) for row in rows)
    params = SamplingParams(greedy=True, max_new_tokens=shell_tasks.MAX_NEW_TOKENS)

    def answer(question: str, put: Ground | None = None) -> str:
        return command_of(ask(setting.engine, [Message("user", question)], params, put))

    ways: dict[str, Callable[[str], str]] = {MODEL: answer}
    if setting.lookup:
        ways[WITH_LOOKUP] = partial(answer, put=setting.ground)
        ways[LOOKUP_ALONE] = partial(_nearest, setting.lookup)
    ways[BM25] = nearest.command
    found: dict[str, Any] = {}
    for name, source in tables.items():
        if source.valid:
            tasks = shell_tasks.shell_tasks(setting.corpus, source.valid, shell_tasks.TASKS)
            tool, share = shell_tasks.most_frequent_tool(tasks)
            found[name] = {
                "tasks": len(tasks), "most_frequent_tool": tool, "most_frequent_tool_share": share,
                "answers": {way: shell_tasks.measure(tasks, ask_it) for way, ask_it in ways.items()},
            }  # fmt: skip
    return found

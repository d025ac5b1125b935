"""`tfm replay`: make stored answers again from their ids, seed, settings and passes, and say where they differ."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chat import models
from chat.answer import Interrupt
from chat.history import opened, table
from chat.loading import json_values
from chat.render import safe_text
from chat.screen import Screen
from chat.sessions.export import exported
from chat.sessions.fingerprint import fingerprint
from chat.sessions.resume import params_of
from engine.errors import UsageError, VerificationFailed
from engine.events import Finish, TextDelta, TokenEvent
from engine.params import MAX_LOGPROBS
from engine.splits import Split
from engine.stream import Detokenizer
from engine.template import TEMPLATES
from engine.thinking import CLOSE, OPEN, with_thoughts

if TYPE_CHECKING:
    from engine.api import Engine

INTERRUPTED = 130
SHOWN = 20  # characters of a text that differs
NEEDED = ("prompt_ids", "ids", "seed", "sampling", "finish", "cached_splits", "prefill_splits")
HOW = ("dtype", "kv", "quant", "device", "threads", "context", "adapter")  # options of load_engine
LOADED = (*HOW, "model_path", "template", "template_hash", "overflow")
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """What became of one answer. problem: why it could not be made again; differs: where, and how."""

    name: str
    tokens: int
    problem: str = ""
    differs: str = ""

    @property
    def shown(self) -> str:
        """In one word, or a few."""
        return self.problem or ("differs" if self.differs else "same")


def replay(
    target: str, verify: bool, model: str | None = None, *, loader: Callable[..., "Engine"] | None = None
) -> int:
    """Make the answers of a file or session again. verify: what cannot be compared counts as different, too.

    Raises VerificationFailed when an answer differs.
    """
    screen = Screen()
    records = list(records_of(target))
    if not records:
        raise UsageError(f"{target} holds no answer.", "`tfm run --json` and `tfm history export` write some.")
    results, remarks, engine, held = [], list[str](), None, None
    with Interrupt() as interrupt:
        for number, (name, record) in enumerate(records, 1):
            problem = missing(record)
            if not problem:
                wanted = tuple(record.get(key) for key in LOADED)
                if engine is None or wanted != held:
                    screen.wait("loading the model")
                    engine, held = load_for(record, model, loader), wanted
                    for line in other_than(record, engine, model):
                        remarks.append(line)
                        screen.report(line)
                screen.wait(f"answer {number} of {len(records)}")
                differs = compare(record, engine, interrupt) or wrong_text(record, engine)
            results.append(Result(name, len(record.get("ids", ())), problem, "" if problem else differs))
            if interrupt():
                return INTERRUPTED
    screen.stop_waiting()
    return tell(results, remarks, verify)


def tell(results: Sequence[Result], remarks: Sequence[str], verify: bool) -> int:
    """The table to stdout, and where each answer first differs."""
    table(("answer", "tokens", "result"), [(safe_text(r.name), str(r.tokens), r.shown) for r in results])
    for result in results:
        if result.differs:
            print(safe_text(f"{result.name}: {result.differs}"))
    wrong = [result for result in results if result.differs or (verify and result.problem)]
    if wrong:
        raise VerificationFailed(f"{len(wrong)} of {len(results)} answers are not the same.")
    if verify and remarks:
        raise VerificationFailed("The answers are the same, but not what made them.")
    return 0


def records_of(target: str) -> Iterator[tuple[str, Record]]:
    """(name, record) of each answer of a file that `tfm run --json` or `tfm history export` wrote, or of a session."""
    path = Path(target)
    if not path.is_file():
        if path.exists() or len(path.parts) > 1 or path.suffix:
            raise UsageError(f"There is no file {target}.")
        with opened() as store:
            yield from _of_session(exported(store.conversation(store.find(target)), "jsonl"))
        return
    for line, value in json_values(target):
        if not isinstance(value, dict):
            raise UsageError(f"{target}, line {line}, is no record of an answer.")
        if "messages" in value and "session" in value:
            yield from _of_session(value)
        elif "prompt_ids" in value:
            yield f"line {line}", value
        elif value.get("type") != "delta" and "error" not in value:
            raise UsageError(
                f"{target}, line {line}, is no record of an answer.", "`tfm history export --format jsonl` writes some."
            )


def _of_session(value: Record) -> Iterator[tuple[str, Record]]:
    try:
        session = value["session"]["id"]
        for message in value["messages"]:
            for number, run in enumerate(message.get("generations", ()), 1):
                is_last = number == len(message["generations"])
                said = {"text": message["text"], "text_ids": message["ids"]} if is_last else {}
                yield f"{session} {message['id']}" + (f".{number}" if number > 1 else ""), run | said
    except (KeyError, TypeError, AttributeError) as e:
        raise UsageError("What was exported is damaged: a session without its id or messages.") from e


def missing(record: Record) -> str:
    """Why an answer cannot be made again; empty when it can."""
    if record.get("server"):
        return "a server made it, and tells no tokens"
    lacks = [key for key in NEEDED if record.get(key) is None]
    if record.get("seed") is None and "seed" in record:
        return "it broke off, and its seed is not known"
    return f"its record lacks {', '.join(lacks)}" if lacks else ""


def load_for(record: Record, model: str | None, loader: Callable[..., "Engine"] | None) -> "Engine":
    """The engine that a record asks for, loaded in the same way; model: another place to take it from."""
    if loader is None:
        from engine import load_engine

        loader = load_engine
    path = models.resolve(model or str(record.get("model_path") or record.get("model") or ""))
    options: dict[str, Any] = {key: record.get(key) for key in HOW}
    if record.get("overflow") != "shift":  # nothing else depends on it, and memory for all of it would be asked for
        del options["context"]
    options = {key: value for key, value in options.items() if value is not None}
    engine = loader(path, **options)
    name = record.get("template")
    if template_hash(engine) != record.get("template_hash", "") and name in TEMPLATES:
        engine = loader(path, template=name, **options)
    return engine


def template_hash(engine: "Engine") -> str:
    """The hash of the template in use."""
    return engine.template.digest if engine.template is not None else ""


def other_than(record: Record, engine: "Engine", model: str | None) -> Iterator[str]:
    """In what the engine is another than that of the record: a sentence each."""
    adapter = [engine.info.adapter] if engine.info.adapter else []
    path = models.resolve(model) if model else Path(engine.info.path)
    for what, then, now in (
        ("weights", record.get("model_hash"), fingerprint(path, *adapter)),
        ("template", record.get("template_hash"), template_hash(engine)),
        ("number of threads", record.get("threads"), engine.info.threads),
    ):
        if then and then != now:
            yield f"The {what} of {engine.info.name}: then {then}, now {now or 'unknown'}."


def compare(record: Record, engine: "Engine", interrupt: Interrupt) -> str:
    """Make an answer again; where it differs from the record, or an empty text."""
    ids, ended = list(record["ids"]), record["finish"]["reason"] == "eos"
    length = len(ids) + ended
    settings = params_of(record["sampling"])
    params = replace(
        settings, seed=record["seed"], stop=(), max_new_tokens=length, logprobs=MAX_LOGPROBS,
        min_new_tokens=min(settings.min_new_tokens, length),
    )  # fmt: skip
    splits = [Split(*split) for split in record["cached_splits"]]
    splits += [Split(size, size, 1) for size in record["prefill_splits"]]
    overflow = "shift" if record.get("overflow") == "shift" else "error"
    keep = record.get("keep", 0)
    tokens: list[TokenEvent] = []
    finish = None
    with interrupt.awaiting():
        for event in engine.replay(
            record["prompt_ids"], params, splits, keep=keep, overflow=overflow, cancelled=interrupt
        ):
            if isinstance(event, TextDelta):
                tokens += event.tokens
            elif isinstance(event, Finish):
                finish = event
    place = next((n for n, t in enumerate(tokens) if n >= len(ids) or t.id != ids[n]), None)
    if place is None and len(tokens) == len(ids):
        return ""
    place = len(tokens) if place is None else place
    return divergence(record, engine, ids, tokens, place, finish)


def wrong_text(record: Record, engine: "Engine") -> str:
    """Where the text of an answer is not what its ids say, or an empty text: also for a record without a text.

    text_ids: of a stored answer, the ids of all its generations; else the text is that of the record's own, after the
    prefill.
    """
    if not isinstance(record.get("text"), str):
        return ""
    text = with_thoughts(record.get("thinking") or "", record["text"].removeprefix(record.get("prefill") or ""))
    detokenizer = Detokenizer(engine.tokenizer)
    told = "".join(map(detokenizer.add, record.get("text_ids", record["ids"]))) + detokenizer.finish()
    if text.startswith(OPEN):  # white space around the tags is no part, and the prompt may have held the first
        text, told = ("".join(t.replace(OPEN, "").replace(CLOSE, "").split()) for t in (text, told))
    stopped = record["finish"]["reason"] == "stop"  # the ids go on with the stop string
    readings = (told, told.removeprefix(" "))  # a tokenizer may put a space before every text
    if text in readings or (stopped and any(reading.startswith(text) for reading in readings)):
        return ""
    told = readings[not text.startswith(" ")]
    place = next((n for n, (a, b) in enumerate(zip(text, told, strict=False)) if a != b), min(len(text), len(told)))
    return f"its text says {text[place : place + SHOWN]!r} where its ids say {told[place : place + SHOWN]!r}"


def divergence(
    record: Record,
    engine: "Engine",
    ids: Sequence[int],
    tokens: Sequence[TokenEvent],
    place: int,
    finish: Finish | None,
) -> str:
    """The first token that differs, then and now, with their probabilities."""
    now = tokens[place] if place < len(tokens) else None
    then = then_at(record, place)
    parts = [f"token {place + 1}: then"]
    if place < len(ids):
        parts.append(f"{piece(engine, ids[place])}{probability(then)}")
        known = dict(now.top).get(ids[place]) if now is not None else None
        least = min((logprob for _, logprob in now.top), default=None) if now is not None and now.top else None
        if known is not None:
            parts.append(f"(now{probability(known)})")
        elif least is not None:
            parts.append(f"(now below {math.exp(least):.3g})")
    else:
        parts.append("the end")
    parts[-1] += ","
    if now is None:
        parts.append(f"now the end ({finish.reason if finish else 'it broke off'})")
    else:
        parts.append(f"now {piece(engine, now.id)}{probability(now.logprob)}")
    return " ".join(parts)


def then_at(record: Record, place: int) -> float | None:
    """The log-probability that a token had, if the record tells."""
    told = record.get("token_logprobs") or [token["logprob"] for token in record.get("logprobs") or ()]
    return told[place] if place < len(told) else None


def piece(engine: "Engine", token: int) -> str:
    """A token as text, with its id."""
    return f"{engine.tokenizer.piece(token)!r} (id {token})"


def probability(logprob: float | None) -> str:
    """As a share of one."""
    return "" if logprob is None else f" {math.exp(logprob):.3g}"

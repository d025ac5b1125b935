"""`tfm run`: one prompt, one answer, for scripts and pipes."""

import json
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TextIO

from chat import models
from chat.answer import Answer, Interrupt, statistics, why_it_ended
from chat.grounding import NO_ROOM, Found, Grounding
from chat.loading import load, read_text, system_prompt
from chat.screen import Screen
from chat.settings import Rank, Settings, flag
from engine.errors import ContextOverflow, UsageError
from engine.events import StreamEvent, TextDelta, TokenEvent
from engine.params import MAX_LOGPROBS, SamplingParams
from engine.template import Message

if TYPE_CHECKING:
    from engine.api import Engine

PATIENCE_SECONDS = 1.0  # after this a person at a terminal is told that stdin has not ended


@dataclass(frozen=True)
class Request:
    """What one call of `tfm run` asks for, apart from the settings."""

    prompt: Sequence[str] = ()
    files: Sequence[str] = ()
    raw: bool = False
    prefill: str | None = None
    json: bool = False
    stream_json: bool = False
    logprobs: str | None = None

    @property
    def alternatives(self) -> int | None:
        """How many alternatives to report for each token; None when none were asked for. Raises UsageError."""
        if self.logprobs is None:
            return None
        try:
            return SamplingParams(logprobs=int(self.logprobs)).logprobs
        except ValueError as e:
            raise UsageError(f"--logprobs must be a number up to {MAX_LOGPROBS}, not {self.logprobs!r}.") from e

    def check(self, settings: Settings) -> None:
        """Raise UsageError for flags that would do nothing together."""
        if self.json and self.stream_json:
            raise UsageError("--json and --stream-json exclude each other.")
        if self.alternatives is not None and not (self.json or self.stream_json):
            raise UsageError("--logprobs needs --json or --stream-json.")
        if not self.raw:
            return
        given = [flag(n) for n in ("system", "system_file", "template") if settings.values[n].rank == Rank.FLAG]
        given += ["--prefill"] if self.prefill is not None else []
        given += ["--ground"] if settings["ground"] and settings.values["ground"].rank == Rank.FLAG else []
        if given:
            raise UsageError(f"{given[0]} has no place in --raw.", "A raw prompt is continued as it is.")


def run_once(
    request: Request,
    settings: Settings,
    *,
    loader: Callable[..., "Engine"] | None = None,
    stdin: TextIO | None = None,
) -> int:
    """Answer once; returns the exit code. Everything that a person may have got wrong is found before the load."""
    screen = Screen(plain=settings["plain"])
    request.check(settings)
    directory = models.resolve(settings["model"])
    system = "" if request.raw else system_prompt(settings)
    prompt = read_prompt(request, sys.stdin if stdin is None else stdin, screen)
    engine = load(directory, settings, screen, loader)
    settings = settings.with_model(engine.defaults)
    params = settings.sampling(engine, request.alternatives or 0)
    answer, found = Answer(), Found(why="a raw prompt is continued as it is")
    with Interrupt() as interrupt:
        policy = settings["overflow"] or "error"
        if request.raw:
            events = engine.generate(prompt, params, overflow=policy, cancelled=interrupt)
        else:
            grounding = Grounding(directory, engine, screen)
            grounding.check(settings)
            asked = [Message("system", system)] if system else []
            asked.append(Message("user", prompt))
            prefill = request.prefill or ""
            found = grounding.find(asked, settings["ground"])
            found, messages = _grounded(asked, found, params, policy, prefill, engine, screen)
            events = engine.chat(messages, params, overflow=policy, prefill=prefill, cancelled=interrupt)
        _deliver(answer, events, interrupt, request, params, engine, screen, found, settings["hide_thinking"])
    if answer.finish is None:
        return 1
    _remark(answer, settings, params, engine, screen)
    if settings["show_sources"]:
        for line in found.lines():
            screen.aside(line)
    return 130 if answer.finish.reason == "interrupted" else 0


def _grounded(
    asked: Sequence[Message],
    found: Found,
    params: SamplingParams,
    policy: str,
    prefill: str,
    engine: "Engine",
    screen: Screen,
) -> tuple[Found, Sequence[Message]]:
    """The messages with what was found for the last; without it when there is only room for the prompt itself."""
    if not found.examples:
        return found, asked
    messages = (*asked[:-1], *found.before(asked[-1]))
    try:
        engine.fit(messages, params, policy, prefill=prefill)
    except ContextOverflow:
        screen.report(f"Nothing was looked up: {NO_ROOM}.")
        return Found(why=NO_ROOM), asked
    return found, messages


def _deliver(
    answer: Answer,
    events: Iterator[StreamEvent],
    interrupt: Interrupt,
    request: Request,
    params: SamplingParams,
    engine: "Engine",
    screen: Screen,
    found: Found,
    folded: bool,
) -> None:
    """The answer to stdout, in the form that was asked for."""
    if not (request.json or request.stream_json):
        renderer = screen.renderer(markdown=not request.raw)
        answer.show(events, screen, interrupt, renderer, request.prefill or "", folded)
        return

    def line(delta: TextDelta) -> None:
        if request.stream_json:
            tokens = _tokens(delta.tokens, engine) if request.logprobs is not None else None
            record: dict[str, Any] = {"type": "delta", "text": delta.text, "ids": [token.id for token in delta.tokens]}
            record |= {"thinking": delta.thoughts} if delta.thoughts else {}
            screen.write(json.dumps(record | ({"logprobs": tokens} if tokens is not None else {})) + "\n")

    answer.follow(events, screen, interrupt, line)
    if answer.finish is not None:
        ended = {"type": "finish"} if request.stream_json else {}
        screen.write(json.dumps(ended | as_record(answer, request, params, engine, found)) + "\n")


def as_record(
    answer: Answer, request: Request, params: SamplingParams, engine: "Engine", found: Found
) -> dict[str, Any]:
    """Everything about one answer as plain values: enough to repeat it. Only for an answer that has ended."""
    finish = answer.finish
    assert finish is not None
    record: dict[str, Any] = {
        "text": (request.prefill or "") + answer.text,
        "thinking": answer.thoughts or None,
        "model": engine.info.name,
        "adapter": engine.info.adapter or None,
        "examples": found.records(),
        "finish": {"reason": finish.reason, "stop": finish.stop},
        "prompt_ids": list(finish.prompt_ids),
        "ids": list(finish.ids),
        "seed": finish.seed,
        "sampling": params.as_dict() | {"seed": finish.seed},
        "usage": asdict(finish.usage),
        "timings": asdict(finish.timings),
        "prefill_splits": list(finish.prefill_splits),
        "dtype": engine.info.dtype,
        "quantisation": engine.info.quantisation or None,
        "threads": engine.info.threads,
        "context": engine.context,
    }
    if request.logprobs is not None:
        record["logprobs"] = _tokens(answer.tokens, engine)
    return record


def _tokens(tokens: Sequence[TokenEvent], engine: "Engine") -> list[dict[str, Any]]:
    piece = engine.tokenizer.piece
    return [
        {
            "id": token.id,
            "piece": piece(token.id),
            "logprob": token.logprob,
            "top": [{"id": id, "piece": piece(id), "logprob": logprob} for id, logprob in token.top],
        }
        for token in tokens
    ]


def _remark(answer: Answer, settings: Settings, params: SamplingParams, engine: "Engine", screen: Screen) -> None:
    """On stderr, and only where a person reads it or asked for it: why it ended, and the counts."""
    assert answer.finish is not None
    why = why_it_ended(answer.finish, params.max_new_tokens, engine.context)
    if why and (screen.tells_a_person or settings["stats"]):
        screen.report(why)
    if settings["stats"]:
        screen.report(statistics(answer.finish))


def read_prompt(request: Request, stdin: TextIO | None, screen: Screen) -> str:
    """The prompt from arguments, files and stdin, joined in that order with blank lines between.

    A chat prompt loses the line ends after each part; a raw one is kept to the letter. Raises UsageError when there
    is no prompt: nothing here ever waits for a terminal.
    """
    parts = [" ".join(request.prompt)] if request.prompt else []
    parts += [read_text(name) for name in request.files]
    piped = piped_text(stdin, screen)
    if piped:
        parts.append(piped)
    if not request.raw:
        parts = [part.rstrip("\r\n") for part in parts]
    prompt = "\n\n".join(part for part in parts if part)
    if not prompt.strip() and not (request.raw and (request.prompt or prompt)):
        raise UsageError("There is no prompt.", 'Give it as an argument, with -f, or on stdin: tfm run "hello".')
    return prompt


def piped_text(stdin: TextIO | None, screen: Screen) -> str:
    """What stands on stdin, when that is no terminal."""
    if stdin is None or stdin.closed or stdin.isatty():
        return ""
    if screen.tells_a_person and not _ready(stdin):
        screen.wait("waiting for stdin to end")
    try:
        return stdin.buffer.read().decode()
    except UnicodeDecodeError as e:
        raise UsageError(f"stdin is not UTF-8 text: byte {e.start} cannot be read.") from e
    except OSError as e:
        raise UsageError(f"stdin cannot be read: {e.strerror}.") from e
    finally:
        screen.stop_waiting()


def _ready(stdin: TextIO) -> bool:
    try:
        return bool(select.select([stdin], [], [], PATIENCE_SECONDS)[0])
    except (OSError, ValueError):
        return True

"""`tfm run`: one answer, or one for each of many prompts, for scripts and pipes."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TextIO

from chat.answer import Answer, Interrupt, statistics, why_it_ended
from chat.dangers import dangers
from chat.grounding import NO_ROOM, Found, Grounding
from chat.loading import answering, place_of, system_prompt
from chat.prompts import Prompt, read_prompt, read_prompts
from chat.repl.conversation import Conversation, Turn
from chat.screen import Screen
from chat.sessions.keeper import Keeper
from chat.sessions.provenance import Source, outcome
from chat.sessions.resume import conversation_of, open_session
from chat.settings import Rank, Settings, flag
from chat.shell_command import command_in_answer, example_behind
from engine.errors import ContextOverflow, TfmError, UsageError
from engine.events import StreamEvent, TextDelta, TokenEvent
from engine.params import MAX_LOGPROBS, SamplingParams
from engine.template import Message
from engine.thinking import with_thoughts

if TYPE_CHECKING:
    from chat.backend import Backend
    from engine.api import Engine

INTERRUPTED = 130
NO_TOKENS = "A server tells text and no tokens."


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
    command: bool = False
    prompts: str | None = None

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
        given += ["--command"] if self.command else []
        given += ["--ground"] if settings["ground"] and settings.values["ground"].rank == Rank.FLAG else []
        if given:
            raise UsageError(f"{given[0]} has no place in --raw.", "A raw prompt is continued as it is.")

    def check_place(self, settings: Settings) -> None:
        """Raise UsageError for what a server cannot do."""
        given = ["--logprobs"] if self.logprobs is not None else ["--prefill"] if self.prefill is not None else []
        if settings["server"] and given:
            raise UsageError(f"{given[0]} has no place with {settings.values['server'].source}.", NO_TOKENS)


def run_once(
    request: Request,
    settings: Settings,
    *,
    loader: Callable[..., "Engine"] | None = None,
    stdin: TextIO | None = None,
    session: str | None = None,
    last: bool = False,
) -> int:
    """Answer; returns the exit code. Everything that a person may have got wrong is found before the load.

    session, last: the conversation to go on with, by its id or because it was the last. Of many prompts, one that
    cannot be answered is told, and the others are; the exit code is then that of the first.
    """
    screen = Screen.of(settings)
    request.check(settings)
    system = "" if request.raw else system_prompt(settings)
    if request.raw and (last or session is not None):
        raise UsageError(f"{'--continue' if last else '--session'} has no place in --raw.", "It has no turns.")
    opened = open_session(settings, screen.report, session, last)
    settings = opened.settings
    directory = place_of(settings)
    request.check_place(settings)
    stdin = sys.stdin if stdin is None else stdin
    if request.prompts is not None:
        prompts = read_prompts(request.prompts, request.prompt, request.files, request.raw, stdin)
    else:
        prompts = [Prompt(read_prompt(request.prompt, request.files, request.raw, stdin, screen))]
    engine, settings = answering(directory, settings, screen, loader)
    settings = settings.with_model(engine.defaults)
    grounding = Grounding(directory, engine, screen)
    if not request.raw:
        grounding.check(settings)
    source = Source(engine, directory)
    before = conversation_of(opened, system, source)
    run = Run(request, settings, engine, screen, grounding, before, opened.keeper, source)
    try:
        return run.answer_all(prompts)
    finally:
        opened.keeper.close()


@dataclass(frozen=True)
class Run:
    """A call of `tfm run` with its model loaded: it answers one prompt after another."""

    request: Request
    settings: Settings
    engine: "Backend"
    screen: Screen
    grounding: Grounding
    before: Conversation  # every prompt follows it, beside the others
    keeper: Keeper
    source: Source

    def answer_all(self, prompts: Iterable[Prompt]) -> int:
        """Answer the prompts in their order; returns the exit code."""
        failed = 0
        with Interrupt() as interrupt:
            for prompt in prompts:
                try:
                    self.answer(prompt, interrupt)
                except TfmError as e:
                    if not prompt.line:
                        raise
                    self.tell_wrong(prompt, e)
                    failed = failed or e.exit_code
                if interrupt():
                    return INTERRUPTED
        return failed

    def answer(self, prompt: Prompt, interrupt: Interrupt) -> None:
        """Answer one prompt, in the form that was asked for. Raises TfmError when it cannot be."""
        if prompt.wrong:
            raise UsageError(f"{prompt.wrong[0].upper()}{prompt.wrong[1:]}.")
        request = self.request
        if prompt.prefill is not None:
            request = replace(request, prefill=prompt.prefill)
        params = self.settings.sampling(self.engine, request.alternatives or 0)
        policy = self.settings["overflow"] or "error"
        turn, system = Turn(prompt.text, self.before.tip), ""
        begun: list[int] = []  # the ids of what the answer is made to begin with
        if request.raw:
            turn.found = Found(why="a raw prompt is continued as it is")
            events = self.engine.generate(prompt.text, params, overflow=policy, cancelled=interrupt)
        else:
            system = self.before.system if prompt.system is None else prompt.system
            prefill = request.prefill or ""
            asked = Conversation(system, [*self.before.nodes, turn], turn).messages()
            found = self.grounding.find(asked, self.settings["ground"])
            turn.found, messages = self._grounded(asked, found, params, policy, prefill)
            events = self.engine.chat(messages, params, overflow=policy, prefill=prefill, cancelled=interrupt)
            if prefill:
                begun = self.engine.prompt_ids(asked, prefill=prefill)[len(self.engine.prompt_ids(asked)) :]
        answer, text = Answer(), request.prefill or ""
        recording = self.keeper.begin(
            turn,
            lambda: self.source.question(
                turn, system, params, self.settings, overflow=policy, raw=request.raw, text=text, ids=begun, by="run"
            ),
        )
        try:
            self._deliver(answer, recording.follow(events), interrupt, request, params, turn.found, prompt)
        finally:
            cut = answer.finish is None or answer.finish.reason == "interrupted"
            if answer.has_begun or not cut:
                whole = with_thoughts(answer.thoughts, text + answer.text)
                recording.end(whole, (*begun, *answer.ids), cut=cut)
            else:
                recording.abandon(prompt=answer.finish is None)  # what could not be sent was not said
        self._remark(answer, params, turn.found)

    def _deliver(
        self, answer: Answer, events: Iterator[StreamEvent], interrupt: Interrupt, request: Request,
        params: SamplingParams, found: Found, prompt: Prompt,
    ) -> None:  # fmt: skip
        """The answer to stdout, in the form that was asked for."""
        if request.json or request.stream_json:
            answer.follow(events, self.screen, interrupt, lambda delta: self._delta(delta, prompt))
            self._record(answer, request, params, found, prompt)
        elif request.command:
            answer.follow(events, self.screen, interrupt, lambda delta: self.screen.wait("looking for the command"))
            self._command(answer, request, params, found)
        else:
            renderer = self.screen.renderer(markdown=not request.raw)
            folded = self.settings["hide_thinking"]
            answer.show(events, self.screen, interrupt, renderer, request.prefill or "", folded)

    def _grounded(
        self, asked: Sequence[Message], found: Found, params: SamplingParams, policy: str, prefill: str
    ) -> tuple[Found, Sequence[Message]]:
        """The messages with what was found for the last; without it when there is only room for the prompt itself."""
        if not found.examples:
            return found, asked
        messages = (*asked[:-1], *found.before(asked[-1]))
        try:
            self.engine.fit(messages, params, policy, prefill=prefill)
        except ContextOverflow:
            self.screen.report(f"Nothing was looked up: {NO_ROOM}.")
            return Found(why=NO_ROOM), asked
        return found, messages

    def _delta(self, delta: TextDelta, prompt: Prompt) -> None:
        """A line of --stream-json."""
        if not self.request.stream_json:
            return
        record: dict[str, Any] = {"type": "delta", "text": delta.text, "ids": [token.id for token in delta.tokens]}
        record |= {"thinking": delta.thoughts} if delta.thoughts else {}
        record |= {"logprobs": tokens_of(delta.tokens, self.engine)} if self.request.logprobs is not None else {}
        self._object(record, prompt)

    def _record(self, answer: Answer, request: Request, params: SamplingParams, found: Found, prompt: Prompt) -> None:
        if answer.finish is None:
            return
        ended = {"type": "finish"} if request.stream_json else {}
        record = ended | as_record(
            answer, request, self.source.conditions(params, self.settings["overflow"] or "error"), self.engine, found,
            self.keeper.session,
        )  # fmt: skip
        if request.command:
            command = command_of(answer, request, found)
            record |= {"command": command or None, "dangers": list(dangers(command))}
        self._object(record, prompt)

    def _object(self, record: dict[str, Any], prompt: Prompt) -> None:
        line = {"line": prompt.line} if prompt.line else {}
        self.screen.write(json.dumps(line | record) + "\n")

    def _command(self, answer: Answer, request: Request, params: SamplingParams, found: Found) -> None:
        """The command alone to stdout; what it can destroy to stderr. Raises UsageError when there is none."""
        if answer.finish is None or answer.finish.reason == "interrupted":
            return
        command = command_of(answer, request, found)
        if not command:
            why = why_it_ended(answer.finish, params.max_new_tokens, self.engine.context)
            text = " ".join(((request.prefill or "") + answer.text).split())
            raise UsageError(f"The answer holds no command: {text}", why and f"({why})")
        self.screen.write(self.screen.safe(command) + "\n")
        for danger in dangers(command):
            self.screen.mark(danger)

    def _remark(self, answer: Answer, params: SamplingParams, found: Found) -> None:
        """On stderr, and only where a person reads it or asked for it: why it ended, the counts, the examples."""
        if answer.finish is None:
            return
        why = why_it_ended(answer.finish, params.max_new_tokens, self.engine.context)
        if why and (self.screen.tells_a_person or self.settings["stats"]):
            self.screen.report(why)
        if self.settings["stats"]:
            self.screen.report(statistics(answer.finish))
        if self.settings["show_sources"]:
            if self.request.command and (
                source := example_behind(command_of(answer, self.request, found), found.examples)
            ):
                found = replace(found, examples=(source,))
            for line in found.lines():
                self.screen.aside(line)

    def tell_wrong(self, prompt: Prompt, error: TfmError) -> None:
        """Tell, of many prompts, one that could not be answered: on stderr, and in JSON where its record would be."""
        self.screen.report(f"tfm: {self.request.prompts}, line {prompt.line}: {error}")
        if self.request.json or self.request.stream_json:
            self._object({"error": str(error), "exit_code": error.exit_code}, prompt)


def command_of(answer: Answer, request: Request, found: Found) -> str:
    """The command in a whole answer; empty when there is none, and for an answer that was cut: so may it be."""
    whole = answer.finish is not None and answer.finish.reason in ("eos", "stop")
    return command_in_answer((request.prefill or "") + answer.text, found.examples) if whole else ""


def as_record(
    answer: Answer, request: Request, made: Mapping[str, Any], engine: "Backend", found: Found, session: str | None
) -> dict[str, Any]:
    """Everything about one answer as plain values: enough to repeat it. Only for an answer that has ended.

    made: the conditions under which it was made.
    """
    finish = answer.finish
    assert finish is not None
    record: dict[str, Any] = {
        "text": (request.prefill or "") + answer.text,
        "prefill": request.prefill,
        "thinking": answer.thoughts or None,
        "examples": found.records(),
        **made,
        **outcome(finish),
        "sampling": made["sampling"] | {"seed": finish.seed},
        "session": session,
    }
    if request.logprobs is not None:
        record["logprobs"] = tokens_of(answer.tokens, engine)
    return record


def tokens_of(tokens: Sequence[TokenEvent], engine: "Backend") -> list[dict[str, Any]]:
    """Tokens with their log-probabilities as plain values."""
    assert engine.tokenizer is not None, "of a server no log-probabilities are asked"
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

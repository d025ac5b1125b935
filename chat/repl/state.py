"""`Chat`: the one object that commands and the loop share, and how it answers."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from chat.answer import Answer, Interrupt, statistics, why_it_ended
from chat.grounding import NO_ROOM, Found, Grounding
from chat.render import Renderer
from chat.repl.comparison import Comparison
from chat.repl.conversation import Conversation, Dropped, Run, Turn
from chat.screen import Screen
from chat.sessions.keeper import Keeper
from chat.sessions.provenance import Source
from chat.sessions.store import Question
from chat.settings import Settings
from chat.shell_command import CommandOnly
from engine.context import Fit
from engine.errors import ContextOverflow, TfmError, UsageError
from engine.events import Finish
from engine.params import SamplingParams
from engine.template import Message
from engine.thinking import with_thoughts

if TYPE_CHECKING:
    from chat.backend import Backend

DEFAULT_OVERFLOW = "drop-oldest"
LARGEST_SEED = 2**63


class Chat:
    """A conversation with an engine, under settings that commands may change."""

    def __init__(
        self,
        engine: "Backend",
        settings: Settings,
        screen: Screen,
        conversation: Conversation | str = "",
        grounding: Grounding | None = None,
        keeper: Keeper | None = None,
        source: Source | None = None,
    ) -> None:
        self.engine = engine
        self.grounding = grounding
        self.given = settings.with_model(engine.defaults)  # what `/set NAME default` goes back to
        self.settings = self.given
        self.screen = screen
        self.conversation = Conversation(conversation) if isinstance(conversation, str) else conversation
        self.keeper = keeper or Keeper(None, screen.report)
        self.source = source or Source(engine, Path(engine.info.path))
        self.last: Finish | None = None
        self.draft = ""  # what the next input line is to begin with
        self.shows_drafts = False  # whether the input can begin with something
        self.typed = False  # whether a person writes what comes, so that @file in it means a file
        self.attached: list[str] = []  # texts of files that go before the next message
        self.taken: list[str] = []  # those that went into the last one, until it is sent
        self.only_command = False  # whether of the next answer only its command is shown
        self.comparison: Comparison | None = None
        # What can never work is told now, not at the first answer: a --logit-bias that names no token, a model
        # without a template, a system prompt that has no place in it.
        self.settings.sampling(engine)
        if engine.tokenizer is not None:
            engine.prompt_ids(self.conversation.messages())

    @property
    def overflow(self) -> str:
        """The policy for a full context."""
        return str(self.settings["overflow"] or DEFAULT_OVERFLOW)

    def params(self) -> SamplingParams:
        """The settings for the next answer. A given seed moves on with each attempt, or /regen would repeat."""
        params = self.settings.sampling(self.engine)
        attempts = self.conversation.attempts()
        if params.seed is None or not attempts:
            return params
        return replace(params, seed=(params.seed + attempts) % LARGEST_SEED)

    def meter(self) -> str:
        """How full the context is, as `used/all` in tokens; empty when that cannot be told."""
        try:
            return f"{len(self.engine.prompt_ids(self.conversation.messages()))}/{self.engine.context}"
        except TfmError:  # a system prompt without a place: the next answer says so
            return ""

    def answer(self, interrupt: Interrupt) -> None:
        """Answer the last prompt. Raises TfmError, with the prompt taken back, when it cannot be sent.

        Whatever ends the answer, what has come of it is kept.
        """
        params = self.params()
        self.ground()
        self._send(params, (), interrupt)

    def go_on(self, interrupt: Interrupt) -> None:
        """Go on with the last answer, within the same turn. Raises TfmError, and nothing has changed, when there is
        no room for that, or when a server answers, which cannot go on."""
        if self.engine.tokenizer is None:
            raise UsageError("/continue cannot be done with a server: each answer begins anew.", "/regen asks again.")
        turn = self.conversation.reopen()
        assert turn is not None and turn.answer is not None, "/continue has seen to it"
        if turn.answer.ids is None:  # of another model
            turn.answer = replace(turn.answer, ids=tuple(self.engine.tokenize(turn.answer.content)))
        self._send(self.params(), turn.answer.ids or (), interrupt)

    def _send(self, params: SamplingParams, begun: tuple[int, ...], interrupt: Interrupt) -> None:
        """One generation for the last turn, which follows the ids of its answer that have `begun`."""
        turn = self.conversation.path()[-1]
        ledger = turn.dropped
        messages = self.prepare(params, begun)
        answer, renderer = Answer(), self._renderer(turn)
        recording = self.keeper.begin(turn, lambda: self._question(turn, params, turn.answer))
        if turn.answer is not None:
            renderer.resume(turn.answer.content)
        events = self.engine.chat(messages, params, overflow=self.overflow, prefill=begun, cancelled=interrupt)
        try:
            folded = self.settings["hide_thinking"]
            answer.show(recording.follow(events), self.screen, interrupt, renderer, hide_thinking=folded)
        except KeyboardInterrupt:
            pass  # a second Ctrl-C: it ends at once, and what there is of it is kept
        finally:
            if self._keep(answer, params, begun, messages) and turn.answer is not None:
                recording.end(turn.answer.content, turn.answer.ids or (), cut=turn.cut)
            else:
                turn.dropped = ledger
                recording.abandon()
        if isinstance(renderer, CommandOnly):
            renderer.remark(self.screen)
        self._remark(answer, params)

    def _question(self, turn: Turn, params: SamplingParams, begun: Message | None = None) -> Question:
        """A turn as the store takes it. begun: the answer, where it goes on."""
        text, ids = (begun.content, begun.ids or ()) if begun is not None else ("", ())
        system = self.conversation.system
        return self.source.question(turn, system, params, self.settings, overflow=self.overflow, text=text, ids=ids)

    def settle(self) -> None:
        """Let the store know what commands have done to the conversation."""
        plain = self.settings.sampling(self.engine)  # of an answer that came from a file
        self.keeper.settle(
            self.conversation, lambda turn: self._question(turn, turn.runs[-1].params if turn.runs else plain)
        )

    def _renderer(self, turn: Turn) -> Renderer:
        """How the next answer is shown."""
        only, self.only_command = self.only_command, False
        return CommandOnly(turn.found.examples, self.screen.safe) if only else self.screen.renderer()

    def prepare(self, params: SamplingParams, begun: tuple[int, ...] = ()) -> tuple[Message, ...]:
        """What is sent for the last turn. What had to go is told, and entered in its ledger.

        Raises TfmError when it cannot be sent, and the turn is taken back.
        """
        try:
            fit = self._fit(params, begun)
        except TfmError:
            self.conversation.withdraw()
            self.attached, self.taken = [*self.taken, *self.attached], []
            raise
        self.taken = []
        if fit.dropped:
            dropped = self.conversation.forget(fit.dropped, fit.dropped_tokens)
            are = "is" if dropped.first == dropped.last else "are"
            self.screen.tell(
                f"{dropped.turns.capitalize()} {are} no longer in the context ({dropped.tokens} tokens), to make room "
                f"(overflow {self.overflow})."
            )
        return fit.messages

    def ground(self) -> None:
        """Look up what the last prompt is about; for another answer to it, under the settings as they are now."""
        turn = self.conversation.path()[-1]
        turn.found = Found(why="the model has no examples")
        if self.grounding is not None:
            turn.found = self.grounding.find(self.conversation.messages(), self.settings["ground"])

    def _fit(self, params: SamplingParams, begun: tuple[int, ...]) -> Fit:
        """What is sent. Raises ContextOverflow when the last prompt does not fit even without its examples."""
        turn = self.conversation.path()[-1]
        try:
            return self._fit_as_it_is(params, begun)
        except ContextOverflow:
            if not turn.found.examples or turn.answer is not None:
                raise
            turn.found = Found(why=NO_ROOM)
            fit = self._fit_as_it_is(params, begun)
            self.screen.tell(f"Nothing was looked up: {NO_ROOM}.")
            return fit

    def _fit_as_it_is(self, params: SamplingParams, begun: tuple[int, ...]) -> Fit:
        """What is sent. An error under a policy that drops nothing says what another one would drop."""
        messages = self.conversation.question()
        try:
            return self.engine.fit(messages, params, self.overflow, prefill=begun)
        except ContextOverflow as error:
            if self.overflow != "error":
                raise
            would = self._would_go(messages, params, begun)
            if would is None:
                raise
            hint = f"{would.turns.capitalize()} ({would.tokens} tokens) would go by /set overflow {DEFAULT_OVERFLOW}."
            raise ContextOverflow(error.message, hint) from error

    def _would_go(self, messages: list[Message], params: SamplingParams, begun: tuple[int, ...]) -> Dropped | None:
        """What the default policy would drop; None when even that does not make room."""
        try:
            fit = self.engine.fit(messages, params, DEFAULT_OVERFLOW, prefill=begun)
        except ContextOverflow:
            return None
        return self.conversation.would_forget(fit.dropped, fit.dropped_tokens)

    def _keep(
        self, answer: Answer, params: SamplingParams, begun: tuple[int, ...], messages: tuple[Message, ...]
    ) -> bool:
        """Enter the answer in the history; False when it was cut before it began, and its prompt waits."""
        self.last = answer.finish
        run = Run(params, answer.finish)
        cut = run.reason == "interrupted"
        if cut and not answer.has_begun:
            self.conversation.abandon()
            return False
        ids, content = begun + answer.ids, answer.content
        if begun:
            content = with_thoughts(*self.engine.spoken(messages, ids, params))
        self.conversation.keep(content, ids, cut=cut, run=run)
        return True

    def _remark(self, answer: Answer, params: SamplingParams) -> None:
        """Say why it ended, if it was not complete; and the counts, if they are wanted."""
        why = why_it_ended(answer.finish, params.max_new_tokens, self.engine.context)
        if self.conversation.waits:
            why = "(cut before the answer began; /regen asks again)"
        elif self.engine.tokenizer and (answer.finish is None or answer.finish.reason in ("interrupted", "length")):
            why += "; /continue goes on"
        if why:
            self.screen.tell(why)
        if answer.finish and self.settings["stats"]:
            self.screen.report(statistics(answer.finish))
        path = self.conversation.path()
        if self.settings["show_sources"] and path:
            for line in path[-1].found.lines():
                self.screen.aside(line)

"""`Chat`: the one object that commands and the loop share, and how it answers."""

from dataclasses import replace
from typing import TYPE_CHECKING

from chat.answer import Answer, Interrupt, statistics, why_it_ended
from chat.grounding import NO_ROOM, Found, Grounding
from chat.repl.conversation import Conversation
from chat.screen import Screen
from chat.settings import Settings
from engine.context import Fit
from engine.errors import ContextOverflow, TfmError
from engine.events import Finish
from engine.params import SamplingParams

if TYPE_CHECKING:
    from engine.api import Engine

DEFAULT_OVERFLOW = "drop-oldest"
LARGEST_SEED = 2**63


class Chat:
    """A conversation with an engine, under settings that commands may change."""

    def __init__(
        self,
        engine: "Engine",
        settings: Settings,
        screen: Screen,
        system: str = "",
        grounding: Grounding | None = None,
    ) -> None:
        self.engine = engine
        self.grounding = grounding
        self.given = settings.with_model(engine.defaults)  # what `/set NAME default` goes back to
        self.settings = self.given
        self.screen = screen
        self.conversation = Conversation(system)
        self.last: Finish | None = None
        # What can never work is told now, not at the first answer: a --logit-bias that names no token, a model
        # without a template, a system prompt that has no place in it.
        self.settings.sampling(engine)
        engine.prompt_ids(self.conversation.messages())

    @property
    def overflow(self) -> str:
        """The policy for a full context."""
        return str(self.settings["overflow"] or DEFAULT_OVERFLOW)

    def params(self) -> SamplingParams:
        """The settings for the next answer. A given seed moves on with each attempt, or /regen would repeat."""
        params = self.settings.sampling(self.engine)
        attempts = self.conversation.turns[-1].attempts if self.conversation.turns else 0
        if params.seed is None or not attempts:
            return params
        return replace(params, seed=(params.seed + attempts) % LARGEST_SEED)

    def answer(self, interrupt: Interrupt) -> None:
        """Answer the last prompt. Raises TfmError, with the prompt taken back, when it cannot be sent.

        Whatever ends the answer, what has come of it is kept.
        """
        params = self.params()
        self._ground()
        try:
            fit = self._fit(params)
        except TfmError:
            self.conversation.withdraw()
            raise
        if fit.dropped:
            self._tell_forgotten(*self.conversation.forget(fit.dropped), fit.dropped_tokens)
        answer = Answer()
        events = self.engine.chat(fit.messages, params, overflow=self.overflow, cancelled=interrupt)
        try:
            folded = self.settings["hide_thinking"]
            answer.show(events, self.screen, interrupt, self.screen.renderer(), hide_thinking=folded)
        except KeyboardInterrupt:
            pass  # a second Ctrl-C: it ends at once, and what there is of it is kept
        finally:
            self._keep(answer)
        self._remark(answer, params)

    def _ground(self) -> None:
        """Look up what the last prompt is about; for another answer to it, under the settings as they are now."""
        turn = self.conversation.turns[-1]
        turn.found = Found(why="the model has no examples")
        if self.grounding is not None:
            turn.found = self.grounding.find(self.conversation.messages(), self.settings["ground"])

    def _fit(self, params: SamplingParams) -> Fit:
        """What is sent. Raises ContextOverflow when the last prompt does not fit even without its examples."""
        turn = self.conversation.turns[-1]
        try:
            return self.engine.fit(self.conversation.messages(), params, self.overflow)
        except ContextOverflow:
            if not turn.found.examples:
                raise
            turn.found = Found(why=NO_ROOM)
            fit = self.engine.fit(self.conversation.messages(), params, self.overflow)
            self.screen.tell(f"Nothing was looked up: {NO_ROOM}.")
            return fit

    def _keep(self, answer: Answer) -> None:
        """Enter the answer in the history. One that was cut before it began leaves its prompt waiting."""
        self.last = answer.finish
        cut = answer.finish is None or answer.finish.reason == "interrupted"
        if answer.ids or not cut:
            self.conversation.keep(answer.content, answer.ids, cut=cut)
        else:
            self.conversation.restore()

    def _remark(self, answer: Answer, params: SamplingParams) -> None:
        """Say why it ended, if it was not complete; and the counts, if they are wanted."""
        why = why_it_ended(answer.finish, params.max_new_tokens, self.engine.context)
        if self.conversation.waits:
            why = "(cut before the answer began; /regen asks again)"
        if why:
            self.screen.tell(why)
        if answer.finish and self.settings["stats"]:
            self.screen.report(statistics(answer.finish))
        if self.settings["show_sources"] and self.conversation.turns:
            for line in self.conversation.turns[-1].found.lines():
                self.screen.aside(line)

    def _tell_forgotten(self, first: int, last: int, tokens: int) -> None:
        turns = f"Turn {first} is" if first == last else f"Turns {first} to {last} are"
        self.screen.tell(f"{turns} no longer in the context ({tokens} tokens), to make room.")

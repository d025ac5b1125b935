"""What has been said, as data: turns, the system prompt, and which turns the model no longer sees."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chat.grounding import Found
from engine.template import Message


@dataclass
class Turn:
    """A prompt, what was looked up for it, and its answer. cut: the answer was interrupted; attempts: how many answers
    it has had; replaced: the answer before and what it had been given, kept until another has come."""

    prompt: str
    found: Found = field(default_factory=Found)
    answer: Message | None = None
    cut: bool = False
    attempts: int = 0
    replaced: tuple[Message, Found] | None = None


@dataclass
class Conversation:
    """The turns in their order. Of them, the first `forgotten` are not sent any more: they did not fit.

    They stay forgotten, so that the next prompt begins as this one did and the engine's cache is of use.
    """

    system: str = ""
    turns: list[Turn] = field(default_factory=list)
    forgotten: int = 0

    def messages(self) -> list[Message]:
        """What the model is to read: the system prompt, then every turn that is not forgotten."""
        messages = [Message("system", self.system)] if self.system else []
        for turn in self.turns[self.forgotten :]:
            messages += turn.found.before(Message("user", turn.prompt))
            if turn.answer is not None:
                messages.append(turn.answer)
        return messages

    @property
    def waits(self) -> bool:
        """Whether the last prompt has no answer yet."""
        return bool(self.turns) and self.turns[-1].answer is None

    def ask(self, prompt: str) -> None:
        """A new prompt. It takes the place of one that was never answered: two in a row no model was taught."""
        if self.waits:
            self.undo()
        self.turns.append(Turn(prompt))

    def keep(self, text: str, ids: tuple[int, ...], *, cut: bool) -> None:
        """The answer to the last prompt, with the ids that were sampled."""
        turn = self.turns[-1]
        turn.answer, turn.cut, turn.replaced = Message("assistant", text, ids), cut, None
        turn.attempts += 1

    def regenerate(self) -> bool:
        """Take the last answer back, so that the prompt waits again; False when nothing was asked."""
        if not self.turns:
            return False
        turn = self.turns[-1]
        if turn.answer is not None:
            turn.replaced, turn.answer = (turn.answer, turn.found), None
        return True

    def restore(self) -> bool:
        """Give the last prompt the answer back that was to be replaced; False when there was none."""
        turn = self.turns[-1]
        if turn.replaced is not None:
            (turn.answer, turn.found), turn.replaced = turn.replaced, None
        return turn.answer is not None

    def withdraw(self) -> None:
        """The last prompt could not be sent: the conversation is as it was before it."""
        if not self.restore():
            self.undo()

    def undo(self) -> Turn | None:
        """Take the last turn back; None when there is none."""
        turn = self.turns.pop() if self.turns else None
        self.forgotten = min(self.forgotten, len(self.turns))
        return turn

    def clear(self) -> None:
        """Forget every turn; the system prompt stays."""
        self.turns.clear()
        self.forgotten = 0

    def forget(self, dropped: Sequence[Message]) -> tuple[int, int]:
        """Mark the turns of messages that did not fit; returns the first and the last of them, counted from 1."""
        first = self.forgotten + 1
        self.forgotten += sum(message.role == "user" for message in dropped)
        return first, self.forgotten

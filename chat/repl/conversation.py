"""What has been said, as data: a tree of turns, the system prompt, and which turns the model no longer sees.

Nothing that was answered is ever taken out: another answer, other words and another way on are branches beside what
was there. Plain data, and no engine: the store writes it as it is.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase

from chat.grounding import Found
from engine.errors import UsageError
from engine.events import Finish, FinishReason
from engine.params import SamplingParams
from engine.template import Message


def new_key() -> str:
    """A name that no other prompt or answer has."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Dropped:
    """The ledger of one turn: before it was sent, turns `first` to `last` of its path (from 1) went out of the
    context, `tokens` in all."""

    first: int
    last: int
    tokens: int

    @property
    def turns(self) -> str:
        """Which turns, as the subject of a sentence."""
        return f"turn {self.first}" if self.first == self.last else f"turns {self.first} to {self.last}"


@dataclass(frozen=True)
class Run:
    """One generation of an answer: a continued answer has had several. finish: None when it broke off."""

    params: SamplingParams
    finish: Finish | None

    @property
    def reason(self) -> FinishReason:
        """Why it ended."""
        return self.finish.reason if self.finish else "interrupted"


@dataclass(eq=False)
class Turn:
    """A prompt, what was looked up for it, and its answer; the turn before it is its parent.

    cut: the answer was interrupted. dropped: what went out of the context before this turn was sent. prompt_key is
    shared by all answers to one prompt, answer_key is this answer's own: the store's names for them.
    """

    prompt: str
    parent: "Turn | None" = field(default=None, repr=False)
    found: Found = field(default_factory=Found)
    answer: Message | None = None
    cut: bool = False
    dropped: Dropped | None = None
    runs: tuple[Run, ...] = ()
    prompt_key: str = field(default_factory=new_key)
    answer_key: str = field(default_factory=new_key)

    @property
    def ended(self) -> FinishReason:
        """Why its answer ended, the last time."""
        return self.runs[-1].reason if self.runs else "interrupted" if self.cut else "eos"

    def path(self) -> "list[Turn]":
        """The turns from the root of the tree to this one."""
        turns: list[Turn] = []
        turn: Turn | None = self
        while turn is not None:
            turns.append(turn)
            turn = turn.parent
        return turns[::-1]

    def again(self) -> "Turn":
        """The same prompt at the same place, without an answer."""
        return Turn(self.prompt, self.parent, prompt_key=self.prompt_key)


@dataclass
class Conversation:
    """nodes: every turn in the order in which they came; a parent stands before its children. tip: the turn after
    which the next prompt goes, None before the first; a tip without an answer is a prompt that waits for one.

    The oldest turns of the path may not be sent any more: they did not fit. They stay forgotten on this path, so that
    the next prompt begins as this one did and the engine's cache is of use.
    """

    system: str = ""
    nodes: list[Turn] = field(default_factory=list)
    tip: Turn | None = None
    _before: Turn | None = field(default=None, repr=False)  # the tip before the turn that is being asked

    def path(self) -> list[Turn]:
        """The turns from the root to the tip."""
        return self.tip.path() if self.tip else []

    @property
    def forgotten(self) -> int:
        """How many turns of the path, the oldest, are not sent any more."""
        return max((turn.dropped.last for turn in self.path() if turn.dropped), default=0)

    def messages(self) -> list[Message]:
        """What the model is to read: the system prompt, then every turn of the path that is not forgotten."""
        messages = [Message("system", self.system)] if self.system else []
        for turn in self.path()[self.forgotten :]:
            messages += turn.found.before(Message("user", turn.prompt))
            if turn.answer is not None:
                messages.append(turn.answer)
        return messages

    def question(self) -> list[Message]:
        """What the last prompt is asked with: the messages without its answer."""
        messages = self.messages()
        return messages[:-1] if self.tip and self.tip.answer is not None else messages

    @property
    def waits(self) -> bool:
        """Whether the last prompt has no answer yet."""
        return self.tip is not None and self.tip.answer is None

    def children(self, turn: Turn | None) -> list[Turn]:
        """The turns that follow a turn, or that begin the conversation."""
        return [node for node in self.nodes if node.parent is turn]

    def attempts(self) -> int:
        """How many generations the last prompt has had, in all its answers."""
        if self.tip is None:
            return 0
        return sum(len(node.runs) for node in self.nodes if node.prompt_key == self.tip.prompt_key)

    def ask(self, prompt: str) -> None:
        """A new prompt. One that waits is no turn to follow: two prompts in a row no model was taught."""
        parent = self.tip.parent if self.tip and self.waits else self.tip
        self.enter(Turn(prompt, parent))

    def edit(self, number: int, prompt: str) -> None:
        """Ask turn `number` of the path in other words, beside what it was. Raises UsageError for a wrong number."""
        old = self.turn(number)
        self.enter(old.again() if prompt == old.prompt else Turn(prompt, old.parent))

    def regenerate(self) -> bool:
        """Ask the last prompt for another answer, beside the one that it has; False when nothing was asked."""
        if self.tip is None:
            return False
        if self.waits:
            self._before = self.tip
        else:
            self.enter(self.tip.again())
        return True

    def reopen(self) -> Turn | None:
        """The last turn, whose answer is to go on; None when there is none.

        An answer that others follow stays as they have read it, and one of another model as that one gave it: a copy
        beside it goes on.
        """
        turn = self.tip
        if turn is None or turn.answer is None:
            return None
        self._before = turn
        if self.children(turn) or turn.answer.ids is None:
            copy = turn.again()
            copy.found, copy.answer, copy.cut = turn.found, turn.answer, turn.cut
            copy.dropped, copy.runs = turn.dropped, turn.runs
            self.enter(copy)
        return self.tip

    def enter(self, turn: Turn) -> None:
        """Put a turn into the tree, as the tip."""
        self._before = self.tip
        self.nodes.append(turn)
        self.tip = turn

    def keep(self, text: str, ids: tuple[int, ...], *, cut: bool, run: Run | None = None) -> None:
        """The answer to the last prompt with all ids that were sampled for it, and its latest generation."""
        assert self.tip is not None, "a prompt was asked"
        self.tip.answer, self.tip.cut = Message("assistant", text, ids), cut
        self.tip.runs += (run,) if run else ()

    def abandon(self) -> None:
        """No answer came: a new prompt waits for one; of a prompt that has one already, that one is back."""
        before = self._before
        if before is not None and self.tip is not None and before.prompt_key == self.tip.prompt_key:
            self.withdraw()

    def withdraw(self) -> None:
        """The last turn could not be sent: the conversation is as it was before it."""
        if self.tip is not None and self._before is not self.tip:
            self.nodes.remove(self.tip)
            self.tip = self._before

    def undo(self) -> Turn | None:
        """Go back to before the last turn, which stays in the tree; None when there is none."""
        turn = self.tip
        if turn is not None:
            self.tip = turn.parent
        return turn

    def branch(self, number: int) -> None:
        """Let the next prompt follow turn `number` of the path; 0 is before the first. Raises UsageError when there is
        no such turn, or it has no answer."""
        turn = self.turn(number) if number else None
        if turn is not None and turn.answer is None:
            raise UsageError(f"Turn {number} has no answer to follow.", "/regen asks for one.")
        self.tip = turn

    def turn(self, number: int) -> Turn:
        """Turn `number` of the path, from 1. Raises UsageError when there is none."""
        path = self.path()
        if not path:
            raise UsageError("There is no turn yet.")
        if not 1 <= number <= len(path):
            raise UsageError(f"There is no turn {number} here: there are {len(path)}, from 1.", "/tree shows them.")
        return path[number - 1]

    def switch(self, name: str) -> None:
        """Go to the newest leaf of the branch that holds the turn of this id. Raises UsageError for an unknown id."""
        chosen = next((node for n, node in enumerate(self.nodes) if letters(n) == name.lower()), None)
        if chosen is None:
            raise UsageError(f"There is no turn with the id {name!r}.", "/tree shows the ids.")
        below = {chosen}
        for node in self.nodes:
            if node.parent in below:
                below.add(node)
                chosen = node
        self.tip = chosen

    def take_in(self, other: "Conversation") -> None:
        """Go to where another conversation stands, whose turns are branches beside those here; its system prompt is
        in force."""
        self.nodes += other.nodes
        self.tip, self.system, self._before = other.tip, other.system, other.tip

    def name(self, turn: Turn) -> str:
        """The short id of a turn: letters, in the order in which the turns came."""
        return letters(self.nodes.index(turn))

    def clear(self) -> None:
        """Forget every turn; the system prompt stays."""
        self.nodes.clear()
        self.tip = self._before = None

    def would_forget(self, dropped: Sequence[Message], tokens: int) -> Dropped:
        """Which turns these messages are, that do not fit any more."""
        return Dropped(self.forgotten + 1, self.forgotten + sum(m.role == "user" for m in dropped), tokens)

    def forget(self, dropped: Sequence[Message], tokens: int) -> Dropped:
        """Enter in the last turn's ledger that these messages are not sent any more; the turns that go now."""
        assert self.tip is not None, "a prompt was asked"
        now, old = self.would_forget(dropped, tokens), self.tip.dropped
        self.tip.dropped = Dropped(old.first, now.last, old.tokens + tokens) if old else now
        return now


def letters(number: int) -> str:
    """0, 1, 2 and so on as a, b, ... z, aa, ab and so on."""
    text = ""
    while number >= 0:
        number, digit = divmod(number, len(ascii_lowercase))
        text, number = ascii_lowercase[digit] + text, number - 1
    return text

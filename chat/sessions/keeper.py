"""`Keeper`: keeps one conversation as it goes on. A store that fails is told once, and then nothing more is kept:
nobody loses an answer on the screen because a disk is full.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from chat.repl.conversation import Conversation, Turn
from chat.sessions.journal import Journal, recover
from chat.sessions.kept import Verdict
from chat.sessions.provenance import stored_outcome
from chat.sessions.schema import StoreError
from chat.sessions.store import Begun, Question, Store
from engine.events import Finish, StreamEvent, TextDelta

T = TypeVar("T")


class Keeper:
    """The session of one conversation: begun with its first prompt, found again by the conversation's own keys.

    store: None when nothing is to be kept. session: its id, once there is one.
    """

    def __init__(self, store: Store | None, tell: Callable[[str], None], session: str | None = None) -> None:
        self.store, self.session = store, session
        self._tell = tell
        self._stands: int | None = None  # the message at which the store was last told that it stands
        self._messages: dict[str, int] = {}  # key of a prompt or answer -> its message in the store

    @classmethod
    def open(cls, wanted: bool, tell: Callable[[str], None]) -> "Keeper":
        """A keeper for a new conversation; without a store when none is wanted, or when it cannot be used."""
        keeper = cls(None, tell)
        if wanted:
            keeper.store = keeper.attempt(Store)
        return keeper

    def recover(self) -> list[str]:
        """Make the answers of killed processes whole; their sessions."""
        store = self.store
        return (self.attempt(lambda: recover(store)) or []) if store is not None else []

    def know(self, key: str, message: int) -> None:
        """A prompt or answer that is in the store already."""
        self._messages[key] = message

    def unknow(self, key: str) -> None:
        """It is not in the store any more."""
        self._messages.pop(key, None)

    def message(self, key: str) -> int | None:
        """The message of a prompt or answer."""
        return self._messages.get(key)

    def begin(self, turn: Turn, question: Callable[[], Question]) -> "Recording":
        """Enter a turn, whose answer is about to come.

        An answer that is in the store goes on; a prompt that is there gets another answer.
        """
        return Recording(self, self.attempt(lambda: self._begin(turn, question)), turn)

    def _begin(self, turn: Turn, question: Callable[[], Question]) -> Begun | None:
        if self.store is None:
            return None
        known = self._messages.get
        begun = self.store.begin(
            question(), session=self.session, parent=known(turn.parent.answer_key) if turn.parent else None,
            prompt=known(turn.prompt_key), answer=known(turn.answer_key),
        )  # fmt: skip
        self.session = begun.session
        self._messages |= {turn.prompt_key: begun.prompt, turn.answer_key: begun.message}
        return begun

    def settle(self, conversation: Conversation, question: Callable[[Turn], Question]) -> None:
        """After a command: the store has every answer of the conversation, and stands where it stands."""
        if not conversation.nodes:
            self.session = None  # forgotten here, and kept there: what comes is another conversation
            self._messages.clear()
            self._stands = None
        for turn in conversation.nodes:
            if self.store is not None and turn.answer is not None and turn.answer_key not in self._messages:
                finish = turn.runs[-1].finish if turn.runs else None
                recording = self.begin(turn, partial(question, turn))
                recording.end(turn.answer.content, turn.answer.ids or (), cut=turn.cut, finish=finish)
        self._stand(conversation.tip)

    def judge(self, turn: Turn, verdict: Verdict, text: str | None = None) -> bool:
        """Keep what a person thinks of an answer; False when nothing is kept."""
        store, message = self.store, self._messages.get(turn.answer_key)
        if store is None or message is None:
            return False
        self.attempt(lambda: store.judge(message, verdict, text))
        return self.store is not None

    def _stand(self, tip: Turn | None) -> None:
        """The conversation goes on after this turn; None is before the first."""
        message = None
        if tip is not None:
            message = self._messages.get(tip.answer_key, self._messages.get(tip.prompt_key))
        if self.store is None or self.session is None or message == self._stands or (tip and message is None):
            return
        store, session, self._stands = self.store, self.session, message
        self.attempt(lambda: store.stand(session, message))

    def close(self) -> None:
        """Nothing more comes."""
        if self.store is not None:
            self.attempt(self.store.close)
            self.store = None

    def attempt(self, work: Callable[[], T]) -> T | None:
        """Do something with the store; None when that failed, which has been told then."""
        try:
            return work()
        except StoreError as e:
            self.give_up(e)
            return None

    def give_up(self, error: StoreError) -> None:
        """Say why, and keep nothing from here on."""
        self.store = None
        self._tell(f"From here on this conversation is not kept. {error}")


class Recording:
    """One answer on its way to the store, and to nowhere when nothing is kept."""

    def __init__(self, keeper: Keeper, begun: Begun | None, turn: Turn) -> None:
        self._keeper, self._begun, self._turn = keeper, begun, turn
        self._journal = Journal(keeper.store, begun.message) if keeper.store and begun else None
        self._finish: Finish | None = None
        self._logprobs: list[float] = []

    def follow(self, events: Iterator[StreamEvent]) -> Iterator[StreamEvent]:
        """The same events, each noted before it is shown."""
        for event in events:
            if isinstance(event, TextDelta) and self._journal is not None:
                self._logprobs += [token.logprob for token in event.tokens]
                self._journal.add(event)
            elif isinstance(event, Finish):
                self._finish = event
            yield event

    def end(self, text: str, ids: Sequence[int], *, cut: bool, finish: Finish | None = None) -> None:
        """The answer as the conversation has it: its whole text, and all ids of it."""
        begun, finish = self._begun, finish or self._finish
        if not self._stop() or begun is None:
            return
        made = stored_outcome(finish, tuple(self._logprobs)) if finish is not None else None
        self._do(lambda store: store.finish(begun, text, ids, cut=cut, outcome=made))

    def abandon(self, *, prompt: bool = False) -> None:
        """No token came. prompt: its prompt could not be sent, and goes, too."""
        begun = self._begun
        if not self._stop() or begun is None:
            return
        if not begun.number:
            self._keeper.unknow(self._turn.answer_key)
            if prompt:
                self._keeper.unknow(self._turn.prompt_key)
        self._do(lambda store: store.abandon(begun, prompt=prompt))

    def _stop(self) -> bool:
        """End the journal; whether there is a store to write to."""
        if self._journal is not None:
            self._journal.close()
            if self._journal.failed is not None:
                self._keeper.give_up(self._journal.failed)
        return self._keeper.store is not None

    def _do(self, work: Callable[[Store], None]) -> None:
        if (store := self._keeper.store) is not None:
            self._keeper.attempt(lambda: work(store))

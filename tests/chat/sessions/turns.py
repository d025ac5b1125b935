"""Turns for tests of the store, whose ids are the characters of their answers."""

from typing import Any

from chat.sessions.journal import Journal
from chat.sessions.kept import Kept
from chat.sessions.store import Begun, Outcome, Question, Store
from engine.events import TextDelta, TokenEvent

SETTINGS = {"sampling": {"temperature": 0.7}}


def question(prompt: str, system: str = "", **more: Any) -> Question:
    return Question(prompt, system, "tiny", SETTINGS, "model", "template", **more)


def outcome(ids: list[int], prompt: list[int], **more: Any) -> Outcome:
    return Outcome(ids, prompt, {"cached_splits": []}, 5, len(ids) + 1, {"usage": {}}, "eos", **more)


def say(store: Store, asked: str, answer: str, **place: Any) -> Begun:
    """A whole turn, whose ids are the characters of its answer."""
    begun = store.begin(question(asked), **place)
    ids = list(map(ord, answer))
    store.finish(begun, answer, ids, cut=False, outcome=outcome(ids, [1, 2, 3]))
    return begun


def journalled(store: Store, begun: Begun, text: str) -> None:
    """What has come so far, on the disk."""
    journal = Journal(store, begun.message)
    journal.add(TextDelta(text, tuple(TokenEvent(ord(char), -1.0) for char in text)))
    journal.close()


def messages(store: Store, begun: Begun) -> list[Kept]:
    return list(store.conversation(begun.session).messages)

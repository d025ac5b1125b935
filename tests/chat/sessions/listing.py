"""What the store holds, for tests of command lines."""

from collections.abc import Callable

from chat.sessions.kept import Conversation
from chat.sessions.store import Store

Tfm = Callable[..., tuple[int, str, str]]


def kept() -> list[Conversation]:
    """Every session, the last first."""
    store = Store()
    found = [store.conversation(session.id) for session in store.sessions()]
    store.close()
    return found


def told(conversation: Conversation) -> list[tuple[str, str]]:
    return [(m.role, m.text) for m in conversation.path()]

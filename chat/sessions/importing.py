"""A conversation out of a file: what `/save` and `tfm history export` wrote, and conversations of other programs.

A file may come from anybody. So nothing in it is taken on trust: every value is looked at before it is used, and the
ids of answers are only offered (see `Kept.ids`); whoever takes them up compares them with the text.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from chat.grounding import Found
from chat.loading import json_values, read_text
from chat.sessions import transcript
from chat.sessions.kept import Conversation, Kept, Role, Session
from engine.errors import UsageError
from engine.lookup import Example

NAMES: Mapping[str, Role] = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant",
}  # fmt: skip
HINT = 'It reads what /save and `tfm history export` write, and {"messages": [{"role": "user", "content": "..."}]}.'


def read_conversation(name: str, model_hash: str = "") -> Conversation:
    """The conversation of a file, as the store would give it, without generations.

    model_hash: ids that this model sampled are kept, those of others are not. Raises UsageError that names the file
    when it cannot be read, and when it holds no conversation or several.
    """
    path = str(Path(name).expanduser())
    text = read_text(path)
    head: int | None = -1
    try:
        if text.lstrip()[:1] not in ("{", "["):
            messages = _chain(transcript.read(text))
        else:
            values = [value for _, value in json_values(path, text)]
            if len(values) > 1:
                raise ValueError(f"it holds {len(values)} conversations, and one is loaded at a time")
            messages, head = _messages(values[0], model_hash)
    except ValueError as e:
        raise UsageError(f"{name} cannot be loaded: {e}.", HINT) from e
    if not messages:
        raise UsageError(f"{name} holds no message.", HINT)
    return Conversation(Session("", 0.0, 0.0, "", "", head, len(messages)), tuple(messages))


def _messages(value: Any, model_hash: str) -> tuple[list[Kept], int | None]:
    """The messages of a JSON value of any form that is known, and where its conversation stands: at the last one when
    that is none of them (-1)."""
    if isinstance(value, list):
        value = {"messages": value}
    if not isinstance(value, dict):
        raise ValueError("it is no object of JSON")
    if isinstance(value.get("conversations"), list):
        return _chain(_said(value["conversations"], "from", "value")), -1
    if not isinstance(value.get("messages"), list):
        raise ValueError("it has no messages")
    if isinstance(value.get("session"), dict):
        head = value["session"].get("head", -1)
        return _tree(value["messages"], model_hash), head if head is None or type(head) is int else -1
    return _chain(_said(value["messages"], "role", "content")), -1


def _said(rows: list[Any], role: str, text: str) -> Iterable[transcript.Section]:
    for place, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"message {place} is no object")
        yield _role(row.get(role), place), _text(row.get(text), place), False


def _chain(sections: Iterable[transcript.Section]) -> list[Kept]:
    """Messages that follow one another: prompts and answers take turns, a system prompt may stand before any."""
    messages: list[Kept] = []
    asked = False
    for place, (role, text, cut) in enumerate(sections, 1):
        if role != "system" and (role == "assistant") != asked:
            wanted = "an answer" if asked else "a prompt"
            raise ValueError(f"message {place} is of the {role}, where {wanted} should stand")
        if role == "system" and asked:
            raise ValueError(f"message {place} is of the system, between a prompt and its answer")
        asked = role == "user"
        messages.append(Kept(place, place - 1 or None, cast(Role, role), text, 0.0, cut=cut))
    return messages


def _tree(rows: list[Any], model_hash: str) -> list[Kept]:
    """The messages of `tfm history export --format jsonl`: parents before their children."""
    known: dict[int, Role] = {}
    messages = []
    for place, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"message {place} is no object")
        number, parent, role = row.get("id"), row.get("parent"), _role(row.get("role"), place)
        if type(number) is not int or number in known:
            raise ValueError(f"message {place} has no id of its own")
        if parent is not None and (type(parent) is not int or parent not in known):
            raise ValueError(f"message {place} follows a message that does not stand before it")
        above = None if parent is None else known[parent]
        if (above == "user") != (role == "assistant"):
            raise ValueError(f"message {place} is of the {role}, below {above or 'nothing'}")
        known[number] = role
        messages.append(
            Kept(
                number, parent, role, _text(row.get("text"), place), 0.0, _ids(row, model_hash),
                cut=row.get("cut") is True, found=_found(row.get("found"), place),
            )
        )  # fmt: skip
    return messages


def _role(value: Any, place: int) -> Role:
    if not isinstance(value, str) or value not in NAMES:
        raise ValueError(f"the role of message {place} is none of {', '.join(NAMES)}")
    return NAMES[value]


def _text(value: Any, place: int) -> str:
    """A text; half a surrogate pair, which JSON can hold and UTF-8 cannot, becomes a question mark."""
    if not isinstance(value, str):
        raise ValueError(f"message {place} has no text")
    return value.encode(errors="replace").decode()


def _ids(row: Mapping[str, Any], model_hash: str) -> tuple[int, ...] | None:
    """The ids of an answer, when the model with this hash sampled them."""
    ids, runs = row.get("ids"), row.get("generations")
    if not model_hash or not isinstance(ids, list) or not isinstance(runs, list) or not runs:
        return None
    is_same = isinstance(runs[-1], dict) and runs[-1].get("model_hash") == model_hash
    return tuple(ids) if is_same and all(type(token) is int and token >= 0 for token in ids) else None


def _found(value: Any, place: int) -> dict[str, Any] | None:
    """What was looked up for a prompt, as Found and Example have it."""
    if value is None:
        return None
    try:
        examples = [Example(**{key: _text(text, place) for key, text in row.items()}) for row in value["examples"]]
        return {"examples": Found(tuple(examples)).records(), "why": _text(value["why"], place)}
    except (AttributeError, KeyError, TypeError) as e:
        raise ValueError(f"what was looked up for message {place} is damaged") from e

"""Sessions as text and records: Markdown for people, JSONL with everything, ShareGPT's form, and data to train on."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from chat.sessions import transcript
from chat.sessions.kept import Conversation, Kept
from chat.sessions.provenance import record
from engine.thinking import CLOSE

FORMATS = ("markdown", "jsonl", "sharegpt", "sft")
SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}  # ShareGPT's names


def exported(conversation: Conversation, form: str) -> Any:
    """A session: Markdown text, or the record of one line of JSON. jsonl has the whole tree, the others the path on
    which the conversation stands."""
    if form == "markdown":
        return markdown(conversation)
    if form == "sharegpt":
        path = [message for message in conversation.path() if message.text or message.role != "system"]
        said = [{"from": SPEAKERS[message.role], "value": message.text} for message in path]
        return {"id": conversation.session.id, "conversations": said}
    return {"session": asdict(conversation.session), "messages": [message_record(m) for m in conversation.messages]}


def markdown(conversation: Conversation) -> str:
    """A document with a section for each message."""
    return transcript.written(((m.role, m.text, m.cut) for m in conversation.path()), conversation.session.title)


def message_record(message: Kept) -> dict[str, Any]:
    """One message with everything that is known of it; an answer's generations are as `tfm run --json` writes them."""
    fields: dict[str, Any] = {
        "id": message.id, "parent": message.parent, "role": message.role, "text": message.text,
        "created": message.created,
    }  # fmt: skip
    if message.role == "assistant":
        fields |= {
            "ids": list(message.ids or ()), "cut": message.cut, "complete": message.complete, "found": message.found,
            "dropped": message.dropped, "judgement": asdict(message.judgement) if message.judgement else None,
            "generations": [record(run) for run in message.generations],
        }  # fmt: skip
    return fields


def judged(conversation: Conversation) -> Iterator[dict[str, Any]]:
    """Conversations to learn from, as the trainer reads them: one for each answer that was judged good or was
    corrected, which stands last. What nobody judged stands before it as it was said: to be read, not to be learned.

    A corrected answer stands as it should have been. One that was judged bad is never shown as what to say, nor one
    that was cut: the turns up to it are left out.
    """
    for message in conversation.messages:
        if message.judgement is not None and message.judgement.verdict != "bad":
            yield {"messages": _lesson(conversation.path(message.id))}


def _lesson(path: list[Kept]) -> list[dict[str, str]]:
    system = next((m.text for m in reversed(path) if m.role == "system"), "")
    turns: list[dict[str, str]] = []
    for message in path:
        if message.role == "user":
            turns.append({"role": "user", "content": message.text})
        elif message.role == "assistant":
            verdict = message.judgement.verdict if message.judgement else None
            if verdict == "bad" or (message.cut and verdict is None):
                turns.clear()
                continue
            corrected = message.judgement.text if message.judgement and verdict == "fixed" else None
            answer = message.text.partition(CLOSE)[2].lstrip("\n") if CLOSE in message.text else message.text
            turns.append({"role": "assistant", "content": corrected or answer})
    return ([{"role": "system", "content": system}] if system else []) + turns

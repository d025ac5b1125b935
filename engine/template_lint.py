"""A conversation as ids with whose words they are, and what is wrong with how a template writes it. Torch-free."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from engine.errors import TemplateError
from engine.template import Message, Role, Segment, Template
from engine.template_choice import QUESTION, look_over
from engine.tokenizer import Tokenizer


@dataclass(frozen=True)
class Span:
    """Neighbouring ids of one kind: a control token, words of the template, or what a role has said."""

    kind: str  # "control", "template" or a role
    ids: tuple[int, ...]
    text: str


def spans(
    template: Template, tokenizer: Tokenizer, messages: Sequence[Message], *, add_generation_prompt: bool = True
) -> list[Span]:
    """The ids that a model is given for a conversation, in order. Raises TemplateError as rendering does.

    A token that holds a character of a message counts as the message's, wherever its other characters are from.
    """
    segments = template.render(messages, add_generation_prompt=add_generation_prompt)
    waiting = [message for message in messages if message.content or message.ids]
    found: list[Span] = []
    for place, segment in enumerate(segments):
        if segment.control:
            token = tokenizer.control_id(segment.text)
            if token is None:
                raise TemplateError(f"The template needs the control token {segment.text}, which is not here.")
            found.append(Span("control", (token,), segment.text))
        elif segment.ids is not None:
            while waiting and waiting[0].ids != segment.ids:
                waiting.pop(0)
            role = waiting.pop(0).role if waiting else "assistant"
            found.append(Span(role, segment.ids, tokenizer.decode(segment.ids)))
        else:
            found += _of_text(segment, place, tokenizer, waiting)
    return [span for span in found if span.ids]


def _of_text(segment: Segment, place: int, tokenizer: Tokenizer, waiting: list[Message]) -> Iterator[Span]:
    """A text segment, cut where a message in it begins and ends; the messages in it are taken from `waiting`."""
    ids = tokenizer.encode_within(segment.text) if place else tokenizer.encode(segment.text)
    pieces = [tokenizer.token_bytes(token) for token in ids]
    whole, end = b"".join(pieces), 0
    parts: list[tuple[int, int, Role]] = []
    for message in list(waiting):
        for form in (message.content, message.content.strip()):  # templates like to trim
            content = form.encode("utf-8", "replace")
            start = whole.find(content, end) if form else -1
            if start >= 0:
                end = start + len(content)
                parts.append((start, end, message.role))
                del waiting[: waiting.index(message) + 1]
                break
    place_of, kinds = 0, []
    for piece in pieces:
        first, last = place_of, place_of + len(piece)
        kinds.append(next((role for a, b, role in parts if first < b and last > a), "template"))
        place_of = last
    begin = 0
    for n in range(1, len(ids) + 1):
        if n == len(ids) or kinds[n] != kinds[begin]:
            said = b"".join(pieces[begin:n]).decode(errors="replace")
            yield Span(kinds[begin], tuple(ids[begin:n]), said)
            begin = n


def lint(template: Template, tokenizer: Tokenizer, ends: Collection[int]) -> tuple[str, ...]:
    """What is wrong with a template, a sentence each: what is looked over at every load, and two things more.

    ends: the end tokens that the model's own files name.
    """
    remarks = list(look_over(template, tokenizer))
    end = tokenizer.control_id(template.end_of_turn) if template.end_of_turn else None
    if end is not None and end not in ends:
        remarks.append(
            f"An answer ends with {template.end_of_turn}, which the model's files do not name as an end: "
            f"it ends an answer here, and would not in other engines."
        )
    if not any(span.kind == "control" for span in spans(template, tokenizer, [QUESTION])[1:]):
        remarks.append("The template's roles are plain words, which any message can write too.")
    if forged := forged_by(template, tokenizer):
        remarks.append(f"The words of a message can become the control token {forged}.")
    return tuple(remarks)


def forged_by(template: Template, tokenizer: Tokenizer) -> str:
    """A control token that a user's text turns into; empty when there is none, as it should be."""
    for name in tokenizer.controls:
        try:
            found = spans(template, tokenizer, [Message("user", f"a {name} b{name}")])
        except TemplateError:  # it refuses such words: no harm, but nothing to see either
            continue
        for span in found:
            if span.kind != "control" and any(tokenizer.is_control(token) for token in span.ids):
                return name
    return ""


def written_controls(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[tuple[Role, str]]:
    """(role, control token) of each that the words of a message spell."""
    return [(m.role, name) for m in messages for name in tokenizer.controls if m.ids is None and name in m.content]

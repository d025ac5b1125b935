"""`tfm inspect template` and `/show prompt`: the ids of a conversation with whose words they are, and what is wrong."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chat import models
from chat.render import safe_text, styled
from chat.screen import Screen
from chat.settings import Settings
from engine.errors import TemplateError
from engine.template import Message, Template

if TYPE_CHECKING:
    from engine.api import Engine
    from engine.template_lint import Span

COLOURS = {
    "control": "bold red", "template": "dim", "system": "magenta", "context": "blue", "user": "green",
    "assistant": "cyan",
}  # fmt: skip
WIDTH = max(map(len, COLOURS))
QUESTION = "Hello there"
NO_FAULT = (
    "No fault found: BOS once, an answer's beginning and end are marked, the system prompt is kept, no words become "
    "control tokens, and each turn's ids begin with those of the turn before."
)


@dataclass(frozen=True)
class Request:
    """What one call asks for: a user's words, a model, and a template in place of its own."""

    text: Sequence[str] = ()
    model: str = models.DEFAULT
    template: str | None = None
    json: bool = False


def inspect_template(request: Request, settings: Settings) -> int:
    """Show a conversation of two turns as the model's template writes it, and what is wrong with the template.

    No weight is read. Raises TemplateError when there is no template, ModelError for a model that cannot be used.
    """
    from engine.source import open_source
    from engine.template_choice import choose_template
    from engine.template_lint import lint, spans, written_controls

    screen = Screen.of(settings)
    source = open_source(Path(models.resolve(request.model)))
    tokenizer = source.tokenizer()
    template, origin = choose_template(source.templates(), request.template, tokenizer)
    if template is None:
        raise TemplateError(f"This model has no template: {origin}.", "--template names one.")
    messages = _conversation(template, " ".join(request.text) or QUESTION)
    found = spans(template, tokenizer, messages)
    remarks = [*lint(template, tokenizer, source.config.eos_ids), *_told(written_controls(tokenizer, messages))]
    if request.json:
        told = {"template": template.name, "source": origin, "spans": [asdict(s) for s in found], "remarks": remarks}
        screen.write(json.dumps(told) + "\n")
        return 0
    screen.write(safe_text(f"template {template.name}, from {origin}; stops at {_stops(template)}\n"))
    for parts in lines_of(found, remarks):
        screen.write(styled(parts, screen.coloured and screen.out.isatty()) + "\n")
    return 0


def show_prompt(engine: "Engine", messages: Sequence[Message], screen: Screen) -> None:
    """The same of a conversation as it stands: a question to where its answer begins. Raises TemplateError."""
    from engine.template_lint import lint, spans, written_controls

    if engine.template is None:
        raise TemplateError(f"This model has no template: {engine.info.template_source}.")
    answered = bool(messages) and messages[-1].role == "assistant"
    found = spans(engine.template, engine.tokenizer, messages, add_generation_prompt=not answered)
    remarks = lint(engine.template, engine.tokenizer, engine.config.eos_ids)
    for parts in lines_of(found, [*remarks, *_told(written_controls(engine.tokenizer, messages))]):
        screen.tell_parts(parts)


def _conversation(template: Template, question: str) -> list[Message]:
    """Two turns, after a system prompt where there is a place for one."""
    system = Message("system", "Be brief.")
    try:
        template.head([system])
    except TemplateError:
        head = []
    else:
        head = [system]
    return [*head, Message("user", question), Message("assistant", "Fine."), Message("user", "And then?")]


def _stops(template: Template) -> str:
    return ", ".join([template.end_of_turn, *map(repr, template.stop)]).strip(", ") or "nothing"


def lines_of(found: "Sequence[Span]", remarks: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
    """(text, style) parts of a line for each span, its kind, text and ids, and for each remark or their absence."""
    for span in found:
        text = span.text.replace("\n", "⏎")
        ids = " ".join(map(str, span.ids))
        yield [(f"{span.kind:<{WIDTH}}  ", ""), (text, COLOURS[span.kind]), (f"  [{ids}]", "dim")]
    for remark in remarks:
        yield [(f"! {remark}", "bold red")]
    if not remarks:
        yield [(NO_FAULT, "")]


def _told(written: Sequence[tuple[str, str]]) -> list[str]:
    return [f"The {role} message writes {name}: here it is text, and no control token." for role, name in written]

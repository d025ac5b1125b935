"""Messages to segments: where each role's control tokens stand. Torch-free.

Text and control are kept apart until they are ids: what a person types is only ever encoded as text, so it
cannot become a control token. A template is data (a row of TEMPLATES, or a JSON file of the same fields).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from engine.errors import TemplateError

Role = Literal["system", "context", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "context", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """One entry of a conversation. The role `context` holds what was looked up for the user message after it.

    `ids`, when known, are the sampled ids and are used instead of the text:
    the text tokenised again may give other ids, and the cached prefix would be lost."""

    role: Role
    content: str
    ids: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Segment:
    """A piece of a rendered conversation: control tokens by name, plain text, or ids that already ran."""

    text: str
    control: bool = False
    ids: tuple[int, ...] | None = None


class Template(Protocol):
    """How a model was taught to read a conversation: one of ours, or the Jinja template of a checkpoint."""

    @property
    def name(self) -> str: ...
    @property
    def jinja(self) -> str: ...
    @property
    def end_of_turn(self) -> str: ...
    @property
    def stop(self) -> tuple[str, ...]: ...
    @property
    def roles(self) -> tuple[Role, ...]: ...
    @property
    def controls(self) -> tuple[str, ...]: ...
    @property
    def digest(self) -> str: ...
    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> list[Segment]: ...
    def head(self, messages: Sequence[Message]) -> list[Segment]: ...


@dataclass(frozen=True)
class Turn:
    """What stands before and after the content of one role: (text, is_control) pairs."""

    before: tuple[tuple[str, bool], ...]
    after: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class ChatTemplate:
    """How a model was taught to read a conversation.

    controls: the control pieces it needs; end_of_turn: the control piece that ends an answer; jinja: the same
    template for other engines, written into tokenizer_config.json.
    """

    name: str
    bos: str
    turns: Mapping[Role, Turn]
    end_of_turn: str
    jinja: str = field(default="", repr=False)
    stop: tuple[str, ...] = ()

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> list[Segment]:
        """Segments of the conversation, BOS once and first; then, if asked for, the opening of an answer.

        Raises TemplateError for a role that has no place, or a system message that does not come first.
        """
        segments = [Segment(self.bos, control=True)] if self.bos else []
        for index, message in enumerate(messages):
            turn = self.turns.get(message.role)
            if turn is None:
                raise TemplateError(f"The template {self.name!r} has no place for the role {message.role!r}.")
            if message.role == "system" and index:
                raise TemplateError(f"Message {index + 1} is a system prompt; it must come first.")
            segments += [Segment(*part) for part in turn.before]
            if message.content or message.ids:
                segments.append(Segment(message.content, ids=message.ids))
            segments += [Segment(*part) for part in turn.after]
        if add_generation_prompt:
            segments += [Segment(*part) for part in self.turns["assistant"].before]
        return segments

    def head(self, messages: Sequence[Message]) -> list[Segment]:
        """What stands before the first question of a conversation that begins with these messages."""
        return self.render(messages, add_generation_prompt=False)

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that have a place in it."""
        return tuple(self.turns)

    @property
    def controls(self) -> tuple[str, ...]:
        """The control pieces that a tokenizer must have for this template."""
        parts = [part for turn in self.turns.values() for part in (*turn.before, *turn.after)]
        names = [self.bos, self.end_of_turn, *(text for text, control in parts if control)]
        return tuple(dict.fromkeys(name for name in names if name))

    @property
    def digest(self) -> str:
        """A short hash of everything that decides the rendering, for records."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def _control_turn(role: Role) -> Turn:
    """`<|role|>` text `<|end|>`, with nothing between. What was looked up speaks as the system, under a heading."""
    if role == "context":
        return Turn(before=(("<|system|>", True), ("Examples:\n", False)), after=(("<|end|>", True),))
    return Turn(before=((f"<|{role}|>", True),), after=(("<|end|>", True),))


def _chatml_turn(role: str) -> Turn:
    return Turn(
        before=(("<|im_start|>", True), (f"{role}\n", False)),
        after=(("<|im_end|>", True), ("\n", False)),
    )


TFM = ChatTemplate(
    name="tfm",
    bos="<s>",
    turns={role: _control_turn(role) for role in ROLES},
    end_of_turn="<|end|>",
    jinja=(
        "{{ '<s>' }}{% for message in messages %}"
        "{% if message['role'] not in ['system', 'context', 'user', 'assistant'] %}"
        "{{ raise_exception('no place for the role ' + message['role']) }}{% endif %}"
        "{% if message['role'] == 'system' and not loop.first %}"
        "{{ raise_exception('a system prompt must come first') }}{% endif %}"
        "{% if message['role'] == 'context' %}{{ '<|system|>Examples:\n' }}"
        "{% else %}{{ '<|' + message['role'] + '|>' }}{% endif %}"
        "{{ message['content'] + '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    ),
)
CHATML = ChatTemplate(
    name="chatml",
    bos="",
    turns={role: _chatml_turn(role) for role in ROLES},
    end_of_turn="<|im_end|>",
    jinja=(
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
        "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
)
# For models that were never taught to chat: roles are words, so the answer ends at the next one.
PLAIN = ChatTemplate(
    name="plain",
    bos="<s>",
    turns={
        "system": Turn(before=(), after=(("\n\n", False),)),
        "user": Turn(before=(("User: ", False),), after=(("\n", False),)),
        "assistant": Turn(before=(("Assistant:", False),), after=(("\n", False),)),
    },
    end_of_turn="",
    stop=("\nUser:",),
)
TEMPLATES: dict[str, ChatTemplate] = {t.name: t for t in (TFM, CHATML, PLAIN)}


def find_template(jinja: str | None) -> ChatTemplate | None:
    """The built-in template whose Jinja form is exactly this text; None when there is none."""
    return next((t for t in TEMPLATES.values() if jinja and t.jinja == jinja), None)


def load_template(name_or_path: str) -> ChatTemplate:
    """A built-in template by name, or one from a JSON file with the fields of ChatTemplate (data, never run).

    Raises TemplateError when neither is there, or the file's fields are not a template's.
    """
    if name_or_path in TEMPLATES:
        return TEMPLATES[name_or_path]
    path = Path(name_or_path)
    if not path.is_file():
        raise TemplateError(
            f"There is no template {name_or_path!r}.",
            f"Built in are {', '.join(TEMPLATES)}; or name a JSON file.",
        )
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        turns = {
            role: Turn(*(tuple((str(t), bool(c)) for t, c in turn[side]) for side in ("before", "after")))
            for role, turn in fields["turns"].items()
        }
        if not set(turns) <= set(ROLES) or "assistant" not in turns or "user" not in turns:
            raise ValueError("turns must be for user, assistant and, if there is a place for it, system")
        return ChatTemplate(
            name=str(fields.get("name", path.stem)),
            bos=str(fields.get("bos", "")),
            turns=turns,
            end_of_turn=str(fields["end_of_turn"]),
            stop=tuple(str(s) for s in fields.get("stop", ())),
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as e:
        raise TemplateError(f"The template file {path} cannot be used: {e}.") from e

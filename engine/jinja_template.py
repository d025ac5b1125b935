"""A checkpoint's own Jinja chat template, rendered so that no message can become a control token.

The template writes one text in which its own words and the messages' are mixed. Which is which, is found out so:
1. A probe is rendered: each message's words are replaced by marks that nobody can guess. White space around them and
   the tags that the template itself looks for (`</think>`) stay, so that it goes the ways that it goes for the words.
   Whatever control tokens stand in the probe are the template's own.
2. Then the words themselves are rendered; but where they spell a control token, its first character is a private one,
   and turned back when the text has been cut at the control tokens. The result must hold exactly the control tokens
   of the probe: if not, the words had a hand in them, and the conversation is refused.
An answer whose sampled ids are known is put in as its mark, and the mark is replaced by the ids; if the template does
not write the answer whole (it takes thoughts out), its words are rendered like those of others.
Needs jinja2 (the extra [hf]); import this module only when there is a template to run. Torch-free.
"""

import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from engine.errors import TemplateError
from engine.sandbox import Program
from engine.template import Message, Role, Segment

PRIVATE = range(0xF0000, 0xFFFFE)  # a plane of characters that no text has, and no tokenizer treats in its own way
TRIAL = Message("user", "Hello")


class Strips(Protocol):
    """What the template's reader must know of a control token: which white space it takes with it."""

    @property
    def lstrip(self) -> bool: ...
    @property
    def rstrip(self) -> bool: ...


@dataclass(frozen=True)
class _Probe:
    """A message in the probe: its text there, and the marks in it."""

    text: str
    marks: tuple[str, ...]

    def place(self, rendered: str) -> str:
        """What of it stands in a rendered text, in one piece and once; empty when that is not so."""
        if not self.marks:
            return ""
        forms = (self.text, self.text.lstrip(), self.text.rstrip(), self.text.strip())  # templates like to trim
        return next((form for form in forms if rendered.count(form) == 1), "")


class JinjaTemplate:
    """A Jinja chat template with the tokens of the tokenizer that it is for.

    controls: the tokenizer's control tokens by name; special_tokens: the variables bos_token, eos_token and so on.
    end_of_turn: the control token after an answer, empty when there is none; opening: what the template writes
    between the last question and the answer. Raises TemplateError when it cannot render even one question.
    """

    stop: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ("system", "user", "assistant")

    def __init__(
        self, source: str, controls: Mapping[str, Strips], special_tokens: Mapping[str, str], name: str = "jinja"
    ) -> None:
        self.name, self.jinja = name, source
        self._strips = dict(controls)
        longest_first = sorted(controls, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._special_tokens = dict(special_tokens)
        self._program = Program(source)
        tags = sorted((c for c in self._program.constants if self._is_tag(c)), key=len, reverse=True)
        self._tag = re.compile("(" + "|".join(map(re.escape, tags)) + ")" if tags else r"(?!)()")
        self.opening = ""
        self.opening = self._after([TRIAL], opened=True)
        self.end_of_turn = self._end_of_turn()

    @property
    def controls(self) -> tuple[str, ...]:
        """The control pieces without which it cannot be used: none, what the tokenizer lacks is text to it."""
        return ()

    @property
    def digest(self) -> str:
        """A short hash of everything that decides the rendering, for records."""
        facts = [self.jinja, sorted(self._special_tokens.items())]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> list[Segment]:
        """Segments of the conversation; then, if asked for, the opening of an answer.

        Raises TemplateError when the template refuses the conversation, leaves a message out, or lets the words of
        one decide about control tokens.
        """
        for message in messages:
            if message.role not in self.roles:
                raise TemplateError(f"The template {self.name!r} has no place for the role {message.role!r}.")
        if all(message.role != "user" for message in messages):
            return self.head(messages)  # few templates have a meaning without a question
        private = self._private(messages)
        rendered, sampled = self._rendered(messages, private, add_generation_prompt)
        return list(self._segments(rendered, sampled, private))

    def head(self, messages: Sequence[Message]) -> list[Segment]:
        """What stands before the first question when the conversation begins with these system messages."""
        segments = self.render([*messages, Message(TRIAL.role, TRIAL.content, ids=())])
        return list(takewhile(lambda segment: segment.ids is None, segments))

    def _rendered(
        self, messages: Sequence[Message], private: Mapping[str, str], opened: bool
    ) -> tuple[str, dict[str, tuple[int, ...]]]:
        """What is rendered, with private characters and marks in it; and which ids take the place of which marks."""
        roles = [message.role for message in messages]
        probes = [self._probe(message.content) for message in messages]
        probe = self._text(roles, [p.text for p in probes], opened)
        sampled: dict[str, tuple[int, ...]] = {}
        texts = []
        for message, p in zip(messages, probes, strict=True):
            thoughtful = message.role == "assistant" and self._tag.search(message.content)  # may be all thoughts
            if p.marks and not thoughtful and not any(mark in probe for mark in p.marks):
                raise TemplateError(
                    f"The template leaves out the {message.role} message.",
                    "Do without it, or choose another with --template.",
                )
            place = "" if message.ids is None else p.place(probe)
            if place and message.ids is not None:
                sampled[place] = message.ids
            texts.append(p.text if place else self._hidden(message.content, private))
        rendered = self._text(roles, texts, opened)
        if self._control.findall(rendered) != self._control.findall(probe):
            raise TemplateError(
                "The words of this conversation would decide about control tokens in the template.",
                "Choose another with --template.",
            )
        return rendered, sampled

    def _text(self, roles: Sequence[str], contents: Sequence[str], opened: bool) -> str:
        """What the template writes."""
        turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
        variables = {"messages": turns, "tools": None, "documents": None, "add_generation_prompt": opened}
        return self._program.render(self._special_tokens | variables)

    def _is_tag(self, constant: str) -> bool:
        """Whether the template may look for this in a message, and a message may hold it without harm."""
        if not re.search(r"[<>\[\]{}|]", constant) or self._control.search(constant):
            return False
        ends = [(constant[:n], constant[-n:]) for n in range(2, len(constant) + 1)]
        return not any(
            constant in name or any(name.endswith(first) or name.startswith(last) for first, last in ends)
            for name in self._strips
        )

    def _probe(self, content: str) -> _Probe:
        parts, marks = [], []
        for n, part in enumerate(self._tag.split(content)):
            if n % 2 or not part.strip():
                parts.append(part)
                continue
            marks.append(self._mark())
            core = part.strip()
            before, after = part.split(core, 1)
            parts.append(before + marks[-1] + after)
        return _Probe("".join(parts), tuple(marks))

    def _mark(self) -> str:
        return f"{chr(PRIVATE[-1])}{secrets.token_hex(12)}{chr(PRIVATE[-1])}"

    def _private(self, messages: Sequence[Message]) -> dict[str, str]:
        """First character of a control token -> the private character that stands for it; none is in a message."""
        used = set(self.jinja).union(*(message.content for message in messages))
        free = (c for c in map(chr, PRIVATE) if c not in used)
        return dict(zip(sorted({name[0] for name in self._strips}), free, strict=False))

    def _hidden(self, content: str, private: Mapping[str, str]) -> str:
        """The content without a control token in it: the first character of each is a private one."""
        starts = [n for n in range(len(content)) if content[n] in private and self._control.match(content, n)]
        characters = list(content)
        for n in starts:
            characters[n] = private[characters[n]]
        return "".join(characters)

    def _segments(
        self, rendered: str, sampled: Mapping[str, tuple[int, ...]], private: Mapping[str, str]
    ) -> Iterator[Segment]:
        """The rendered text cut at its control tokens and at the answers whose ids are known."""
        answers = re.split("(" + "|".join(map(re.escape, sampled)) + ")" if sampled else r"(?!)()", rendered)
        for n, part in enumerate(answers):
            if n % 2:
                yield Segment("", ids=sampled[part])
            else:
                yield from self._cut(self._as_opened(part) if n + 1 < len(answers) else part, private)

    def _as_opened(self, text: str) -> str:
        """The text before an answer, with the white space at its end that stood there when the answer was sampled."""
        opening = self.opening.rstrip()
        if not opening or not text.rstrip().endswith(opening):
            return text
        return text.rstrip() + self.opening[len(opening) :]

    def _cut(self, text: str, private: Mapping[str, str]) -> Iterator[Segment]:
        shown = str.maketrans({hidden: first for first, hidden in private.items()})
        done, strip = 0, False
        for match in [*self._control.finditer(text), None]:
            plain = text[done : match.start() if match else len(text)].translate(shown)
            plain = plain.lstrip() if strip else plain
            name = match.group() if match else ""
            plain = plain.rstrip() if match and self._strips[name].lstrip else plain
            if plain:
                yield Segment(plain)
            if match:
                yield Segment(name, control=True)
                done, strip = match.end(), self._strips[name].rstrip

    def _after(self, conversation: Sequence[Message], *, opened: bool) -> str:
        """What the template writes after the last message of a conversation."""
        mark = self._mark()
        texts = [*(message.content for message in conversation[:-1]), mark]
        _, found, after = self._text([message.role for message in conversation], texts, opened).rpartition(mark)
        if not found:
            raise TemplateError(f"The template leaves out the {conversation[-1].role} message.")
        return after

    def _end_of_turn(self) -> str:
        """The control token that follows an answer, with nothing but white space between."""
        try:
            after = self._after([TRIAL, Message("assistant", "Hi")], opened=False)
        except TemplateError:  # it wants a question at the end, or has no place for answers
            return ""
        match = self._control.match(after.lstrip())
        return match.group() if match else ""

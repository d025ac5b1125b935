"""Answers in the form that the system prompt asks for: one word, capitals, French, a rhyme, and so on. Torch-free.

kept_instructions.py bends the answers of characters; here the questions are ordinary, and each form its own answers.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import article, capital, listed
from weights.data.own.characters.plain_questions import COUNTS, Ask, any_ask, typed
from weights.data.own.phrasing import Conversation, talk
from weights.data.own.tables import entries, rows
from weights.data.own.unusual_names import unusual_name

TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_NUMBERS = ("zero", "one", "two", "three", "four", "five")
_START = re.compile(
    r"(?:A|After|An|He|In|It|It's|My|Of|Take|That|The|That's|Then|There|They|This|You|You're|Your|We|Hello|Good|Put|Go|Don't"
    r"|Thank|Learn|Happy|Congratulations|Yes|No|Well|Goodbye|Get|How|Drink|Take|Right)\b"
)
_OTHER_TOPICS = ("chat", "others", "babies", "homes", "sounds", "legs", "colours", "materials", "purposes", "commands")
Turn = tuple[str, str]


@dataclass(frozen=True)
class Form:
    """An instruction, how it is written, and what makes a question with an answer of that form."""

    kind: str
    text: str
    turn: Callable[[Random], Turn]
    word: str = ""


@cache
def words_of(name: str) -> tuple[str, ...]:
    """The entries of a table at a dotted name."""
    found: Any = TABLE
    for key in name.split("."):
        found = found[key]
    return entries(found)


@cache
def table(name: str) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The rows of a table at a dotted name."""
    found: Any = TABLE
    for key in name.split("."):
        found = found[key]
    return rows(found)


def _asked(kind: str, rng: Random, **words: str) -> str:
    text = rng.choice(words_of(f"ask.{kind}")).format(**words)
    text = re.sub(r"([.!?])([\"']?)\.$", r"\1\2", text)
    return text.rstrip(".") if rng.random() < 0.12 else text


def _named(p: str, rng: Random) -> Ask:
    """A question for the name that the prompt gives."""
    said = rng.choice(rows(TABLE["people"]["ask"])[0][0])
    return Ask(said, rng.choice((f"I'm {p}.", f"My name is {p}.")), p, "name")


def _any(p: str, rng: Random, but: tuple[str, ...] = ()) -> Ask:
    return _named(p, rng) if p and rng.random() < 0.14 else any_ask(rng, but)


def _bent(bend: Callable[[Ask, Random], str], p: str, but: tuple[str, ...] = ()) -> Callable[[Random], Turn]:
    """Turns whose answers are bent; questions that cannot take the form are not asked."""

    def turn(rng: Random) -> Turn:
        while True:
            ask = _any(p, rng, but)
            answer = bend(ask, rng)
            if answer:
                # A name such as "Labs Ltd." has its full stop already.
                return typed(ask.said, rng), re.sub(r"(?<!\.)\.\.(?!\.)", ".", answer)

    return turn


def _either(ask: Ask, rng: Random) -> str:
    return ask.full if rng.random() < 0.6 else ask.brief


def _small(ask: Ask, text: str) -> str:
    """The text as it goes on behind a comma: a name keeps its capital."""
    common = _START.match(text) or not (ask.group in ("chat", "name") or ask.short[:1].isupper())
    return text[:1].lower() + text[1:] if common else text


def _one(p: str, rng: Random) -> Form:
    return Form("one", _asked("one", rng), _bent(lambda ask, _: ask.one, p))


def _brief(p: str, rng: Random) -> Form:
    return Form("brief", _asked("brief", rng), _bent(lambda ask, _: ask.brief, p))


def _caps(p: str, rng: Random) -> Form:
    return Form("caps", _asked("caps", rng), _bent(lambda ask, r: _either(ask, r).upper(), p, ("commands",)))


def _lower(p: str, rng: Random) -> Form:
    return Form("small", _asked("small", rng), _bent(lambda ask, r: _either(ask, r).lower(), p))


def _phrased(kind: str, w: str, marks: tuple[str, ...], rng: Random) -> tuple[str, str]:
    """The instruction and its phrase, which has a mark behind it only inside quotes."""
    text = rng.choice(words_of(f"ask.{kind}"))
    if "'{w}'" in text or '"{w}"' in text:
        w += rng.choice(marks)
    return text.format(w=w), w


def _begin(p: str, rng: Random) -> Form:
    text, w = _phrased("begin", rng.choice(words_of("values.begin")), ("", "", "!", ",", ":", "..."), rng)
    start = w if w[-1] in "!,:." else w + rng.choice((",", "!", ":"))

    def bend(ask: Ask, r: Random) -> str:
        answer = _either(ask, r)
        return f"{start} {_small(ask, answer) if start[-1] == ',' else answer}"

    return Form("begin", text, _bent(bend, p), w)


def _end(p: str, rng: Random) -> Form:
    if rng.random() < 0.3:
        text, w = _phrased("end", rng.choice(words_of("values.faces")), ("",), rng)
    else:
        text, w = _phrased("end", rng.choice(words_of("values.end")), ("", "", "!", "."), rng)
    return Form("end", text, _bent(lambda ask, r: f"{_either(ask, r)} {w}", p), w)


def _call(p: str, rng: Random) -> Form:
    u = rng.choice(words_of("values.users"))
    u = u if rng.random() < 0.85 else unusual_name(rng)

    def bend(ask: Ask, r: Random) -> str:
        answer = _either(ask, r)
        kind = r.random()
        if ask.group == "name":
            return f"{answer[:-1]}, {u}."
        if kind < 0.3 and "?" not in answer:
            return f"{capital(u)}, {_small(ask, answer)}"
        first = re.search(r"(?<=\w|`|\d)[.!?](?= |$)", answer)
        if first is None or "," in answer[: first.start()]:
            return f"{answer} That's all I know, {u}." if kind > 0.9 and ask.group != "chat" else ""
        return f"{answer[: first.start()]}, {u}{answer[first.start() :]}"

    bent = _bent(bend, p)

    def turn(r: Random) -> Turn:
        kind = r.random()
        if kind < 0.08:
            return typed(r.choice(words_of("called.who")), r), r.choice(words_of("called.you")).format(u=u)
        if kind < 0.16 and not p:
            return typed(r.choice(words_of("called.me")), r), r.choice(words_of("called.tfm")).format(u=u)
        return bent(r)

    return Form("call", _asked("call", rng, u=u), turn, u)


def _count(p: str, rng: Random) -> Form:
    count = rng.choice(COUNTS)
    n = _NUMBERS[count] if rng.random() < 0.75 else str(count)

    def bend(ask: Ask, r: Random) -> str:
        return "" if ask.group == "name" and count == 1 else ask.words(count, r)

    return Form("count", _asked("count", rng, n=n, N=capital(n)), _bent(bend, p), str(count))


def _question(p: str, rng: Random) -> Form:
    def turn(r: Random) -> Turn:
        if r.random() < 0.3:
            asks, answers = r.choice(table("questions.chat"))
            return typed(r.choice(asks), r), r.choice(answers)
        ask = _any(p, r, ("chat",))
        if ask.group == "name":
            return typed(ask.said, r), r.choice(words_of("questions.named")).format(p=p)
        frames = words_of("questions.purposes" if ask.group == "purposes" else "questions.frames")
        return typed(ask.said, r), r.choice(frames).format(s=ask.short)

    return Form("question", _asked("question", rng), turn)


def _yes_no(_: str, rng: Random) -> Form:
    mark = rng.choice((".", ".", "!", ""))

    def turn(r: Random) -> Turn:
        answer = r.choice(("yes", "no"))
        return typed(r.choice(words_of(f"yes_no.{answer}")), r), f"{answer.capitalize()}{mark}"

    return Form("yes_no", _asked("yes_no", rng), turn)


def _language(p: str, rng: Random) -> Form:
    names = words_of("languages.names")
    at = rng.randrange(len(names))

    def turn(r: Random) -> Turn:
        kind = r.random()
        if p and kind < 0.1:
            return typed(_named(p, r).said, r), table("languages.named")[0][at][0].format(p=p)
        if kind < 0.22:
            a, b = r.randint(0, 10), r.randint(0, 10)
            ask = r.choice((f"what is {a}+{b}", f"what is {a} plus {b}", f"{a} + {b}", f"how much is {a} + {b}"))
            number = TABLE["languages"]["numbers"].strip().splitlines()[at].split("|")[a + b]
            return typed(ask, r), f"{capital(number)}."
        if kind < 0.3:
            lines = [line.split("|") for line in TABLE["languages"][r.choice(("days", "months"))].strip().splitlines()]
            day = r.randrange(len(lines[0]))
            ask = r.choice(("what comes after {d}", "which one comes after {d}", "what is next after {d}"))
            return typed(ask.format(d=lines[0][day - 1]), r), f"{capital(lines[at + 1][day])}."
        asks, *said = r.choice(table("languages.rows"))
        return typed(r.choice(asks), r), said[at][0]

    return Form("language", _asked("language", rng, l=names[at]), turn, names[at])


def _never(_: str, rng: Random) -> Form:
    (head,), *fields = rng.choice(table("never.rows"))
    x, _, stems = head.partition("=")
    pairs = list(zip(fields[::2], fields[1::2], strict=True))
    shut = re.compile(rf"\b(?:{stems.replace(',', '|')})", re.IGNORECASE)

    def turn(r: Random) -> Turn:
        if r.random() < 0.75:
            asks, answers = r.choice(pairs)
            return typed(r.choice(asks), r), r.choice(answers)
        while True:
            ask = any_ask(r)
            if not shut.search(f"{ask.said} {ask.full}"):
                return typed(ask.said, r), ask.full

    return Form("never", _asked("never", rng, x=x, X=capital(x)), turn, stems)


def _topic(_: str, rng: Random) -> Form:
    (t,), *fields = rng.choice(table("topic.rows"))
    pairs = list(zip(fields[::2], fields[1::2], strict=True))

    def turn(r: Random) -> Turn:
        kind = r.random()
        if kind < 0.45:
            asks, answers = r.choice(pairs)
            return typed(r.choice(asks), r), r.choice(answers)
        if kind < 0.52:
            return typed(r.choice(("hello", "hi", "hey", "good day")), r), r.choice(words_of("topic.greeting")).format(
                t=t
            )
        return typed(any_ask(r, _OTHER_TOPICS).said, r), r.choice(words_of("topic.decline")).format(t=t)

    return Form("topic", _asked("topic", rng, t=t), turn, t)


def _list(_: str, rng: Random) -> Form:
    kind = rng.choice(("list_comma", "list_comma", "list_number", "list_bullet"))
    joined = rng.random() < 0.4

    def turn(r: Random) -> Turn:
        asks, (items,) = r.choice(table("lists.rows"))
        three = r.sample(items.split(", "), 3)
        if kind == "list_comma":
            answer = capital(listed(three) if joined else ", ".join(three)) + "."
        else:
            marks = ("1. ", "2. ", "3. ") if kind == "list_number" else ("- ",) * 3
            answer = "\n".join(mark + item for mark, item in zip(marks, three, strict=True))
        return typed(r.choice(asks), r), answer

    return Form(kind, _asked(kind, rng), turn)


def _from_rows(kind: str) -> Callable[[str, Random], Form]:
    def made(_: str, rng: Random) -> Form:
        def turn(r: Random) -> Turn:
            asks, answers = r.choice(table(f"{kind}.rows"))
            return typed(r.choice(asks), r), r.choice(answers)

        return Form(kind, _asked(kind, rng), turn)

    return made


def _pirated(text: str) -> str:
    for old, new in ((r"\bis\b", "be"), (r"\bare\b", "be"), (r"\byou\b", "ye"), (r"\bmy\b", "me"), (r"\bMy\b", "Me")):
        text = re.sub(old, new, text)
    return re.sub(r"\b(?:I'm|I am)\b", "I be", re.sub(r"\b(You're|You are)\b", "Ye be", text))


def _speech(role: str) -> Callable[[str, Random], Form]:
    def made(p: str, rng: Random) -> Form:
        def bend(ask: Ask, r: Random) -> str:
            answer = ask.full if r.random() < 0.8 else ask.brief
            answer = _pirated(answer) if role == "pirate" else answer
            front, back = r.choice(words_of(f"values.{role}_front")), r.choice(words_of(f"values.{role}_back"))
            if role == "pirate" and back == "matey!":
                return f"{front.rstrip('!,') + '!'} {answer[:-1]}, {back}" if "matey" not in front else ""
            if r.random() < 0.45:
                return f"{answer} {back}"
            answer = f"{front} {_small(ask, answer) if front[-1] == ',' else answer}"
            return f"{answer} {back}" if r.random() < 0.35 and back not in front else answer

        return Form(role, _asked(role, rng), _bent(bend, p, ("plurals", "pasts")))

    return made


def _pair(p: str, rng: Random) -> Form:
    """Two instructions that can be kept together: one of length, one of looks."""
    first = rng.choice((_one, _brief, _count, _call))(p, rng)
    second = rng.choice((_caps, _lower, _end, _begin))(p, rng)
    if first.kind in ("count", "one") and second.kind in ("end", "begin"):
        second = _caps(p, rng)

    def turn(r: Random) -> Turn:
        said, answer = first.turn(r)
        while second.kind == "caps" and "`" in answer:
            said, answer = first.turn(r)
        looks = {"caps": str.upper, "small": str.lower}
        if second.kind in looks:
            return said, looks[second.kind](answer)
        w = second.word
        return said, f"{answer} {w}" if second.kind == "end" else f"{w if w[-1] in '!,:.' else w + '!'} {answer}"

    return Form(f"{first.kind}+{second.kind}", f"{first.text.rstrip('.')}. {second.text}", turn)


FORMS: dict[str, tuple[Callable[[str, Random], Form], float]] = {
    "one": (_one, 9),
    "yes_no": (_yes_no, 8),
    "caps": (_caps, 6),
    "small": (_lower, 4),
    "language": (_language, 15),
    "begin": (_begin, 8),
    "end": (_end, 9),
    "call": (_call, 8),
    "never": (_never, 6),
    "topic": (_topic, 8),
    "question": (_question, 5),
    "count": (_count, 7),
    "list": (_list, 5),
    "rhyme": (_from_rows("rhyme"), 4),
    "pirate": (_speech("pirate"), 4),
    "knight": (_speech("knight"), 2.5),
    "robot": (_speech("robot"), 2.5),
    "brief": (_brief, 4),
    "child": (_from_rows("child"), 4),
    "pair": (_pair, 6),
}


def _person(rng: Random) -> tuple[str, str]:
    """A sentence that says who the model is, and its name; the name is empty where none is given."""
    if rng.random() < 0.3:
        return rng.choice(words_of("people.plain")), ""
    p = unusual_name(rng, plain=0.6)
    return rng.choice(words_of("people.lines")).format(p=p, r=article(rng.choice(words_of("people.roles")))), p


def _system(start: str, text: str, rng: Random) -> str:
    if not start:
        return text
    if rng.random() < 0.15:
        return f"{text if text[-1] in '.!?' else text + '.'} {capital(start)}"
    return f"{start}{rng.choice((' ', ' ', ' ', chr(10)))}{text if rng.random() < 0.1 else capital(text)}"


def made(rng: Random) -> tuple[Conversation, Form]:
    """A conversation, and the form that its answers keep."""
    start, p = _person(rng) if rng.random() < 0.5 else ("", "")
    kinds = tuple(FORMS)
    form = FORMS[rng.choices(kinds, [FORMS[kind][1] for kind in kinds])[0]][0](p, rng)
    turns: dict[str, str] = {}
    count = rng.choices((1, 2, 3), (73, 18, 9))[0]
    while len(turns) < count:
        said, answer = form.turn(rng)
        if form.kind == "yes_no" or answer not in turns.values():
            turns.setdefault(said, answer)
    texts = [text for turn in turns.items() for text in turn]
    if not start and rng.random() < 0.12 and form.kind not in ("call", "child", "never"):
        lead = form.text if form.text[-1] in ".!?" else f"{form.text}."
        return talk(f"{lead} {texts[0]}", *texts[1:]), form
    return talk(*texts, system=_system(start, form.text, rng)), form


def one(rng: Random) -> Conversation:
    """One conversation of one to three turns, each answer in the form that was asked for."""
    return made(rng)[0]

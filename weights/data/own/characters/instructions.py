"""Instructions of a system prompt that a small model can keep: each one asks, carries out and checks. Torch-free."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from weights.data.own.characters.character_facts import one_stop
from weights.data.own.characters.characters import Character, article, roles
from weights.data.own.names import built_name, person_name
from weights.data.own.tables import read_tables

_T = read_tables(__file__)
# The end of a sentence, but not the full stop of a title or of an initial.
ENDED = re.compile(r"(?<!Mr)(?<!Mrs)(?<!Dr)(?<!Ms)(?<! [A-Z])[.!?](?=\s|$)")
BRIEF_WORDS = 14
_COMMON = re.compile(
    r"(?:A|Above|An|Any|As|Ask|At|Because|Come|Do|For|From|Get|Glad|Go|Good|Gladly|He|Here|How|If|In|It|Let|Look"
    r"|Maybe|My|Never|No|Nobody|Of|On|Our|Say|Shall|She|Since|Some|Sorry|Start|Sure|Take|Tell|That|The|Then|There|They"
    r"|This|To|Use|We|Welcome|What|When|Where|Which|Why|Would|Yes|You|Your)\b"
)


def is_short(answer: str) -> bool:
    """Whether an answer is one short sentence, or a command alone."""
    said = _bare(answer)
    return len(said.split()) <= BRIEF_WORDS and len(ENDED.findall(said)) <= 1


def _bare(answer: str) -> str:
    return answer.split("\n")[0] if answer.startswith("`") else answer


def _is_plain(answer: str) -> bool:
    return "`" not in answer and answer.isascii()


def _is_text(answer: str) -> bool:
    return not set('`"[]') & set(answer)


@dataclass(frozen=True)
class Instruction:
    """A sentence for the system prompt, what it makes of an answer, whether one keeps it, and which it can take."""

    kind: str
    text: str
    apply: Callable[[str], str]
    kept: Callable[[str], bool]
    takes: Callable[[str], bool] = lambda _: True


def _asked(kind: str, rng: Random, **words: str) -> str:
    return rng.choice(_T[kind]).format(**words).replace("..", ".")


def _quoted(kind: str, p: str, marks: tuple[str, ...], rng: Random) -> tuple[str, str]:
    """The instruction and its phrase, which has a mark behind it only inside quotes."""
    text = rng.choice(_T[kind])
    if "'{p}'" in text or '"{p}"' in text:
        p += rng.choice(marks)
    return text.format(p=p).replace("..", "."), p


def _finished(text: str) -> str:
    return text if text[-1] in ".!?:)]\"'" else f"{text}."


def _after(answer: str, more: str) -> str:
    """The answer with more behind it, on the line of its last sentence; a bare command gets a line of its own."""
    return f"{answer}\n{more}" if answer.endswith("`") else f"{_finished(answer)} {more}"


def _phrase(table: str, rng: Random) -> str:
    """A phrase: a known one, now and then a word that nobody knows."""
    return built_name(rng).lower() if rng.random() < 0.15 else rng.choice(_T[table])


def _end(rng: Random, _: Character | None) -> Instruction:
    text, p = _quoted("end", _phrase("phrases", rng), ("", "", "!", "."), rng)
    return Instruction("end", text, lambda a: _after(a, p), lambda a: a.endswith(p))


def _begin(rng: Random, _: Character | None) -> Instruction:
    p = _phrase("starts", rng)
    text, p = _quoted("begin", p[:1].upper() + p[1:], ("", "!", "!", ","), rng)
    mark = "" if p[-1] in "!," else rng.choice((",", "!", ":"))
    return Instruction(
        "begin", text, lambda a: f"{p}{mark} {_small(a) if (p + mark).endswith(',') else a}", lambda a: a.startswith(p)
    )


def _small(answer: str) -> str:
    """The answer as it goes on behind a comma: in small letters where a common word begins it."""
    return answer[0].lower() + answer[1:] if _COMMON.match(answer) else answer


def _call(rng: Random, _: Character | None) -> Instruction:
    u = person_name(rng) if rng.random() < 0.35 else rng.choice(_T["users"])
    front = rng.random() < 0.3

    def apply(answer: str) -> str:
        if u in answer:
            return answer
        first = ENDED.search(answer)
        if front or first is None or "`" in answer:
            if "`" in answer:
                return _after(answer, f"Just like that, {u}.")
            start, rest = u[:1].upper() + u[1:], _small(answer)
            return f"{start}, {rest}" if rest != answer or answer.startswith("I") else f"{start}! {answer}"
        return f"{answer[: first.start()]}, {u}{answer[first.start() :]}"

    return Instruction("call", _asked("call", rng, u=u), apply, lambda a: u.lower() in a.lower())


def _brief(rng: Random, _: Character | None) -> Instruction:
    def kept(answer: str) -> bool:
        return "\n" not in answer and len(answer.split()) <= BRIEF_WORDS + 6 and len(ENDED.findall(answer)) <= 3

    return Instruction("brief", _asked("brief", rng), _bare, kept, is_short)


def _caps(rng: Random, _: Character | None) -> Instruction:
    return Instruction("caps", _asked("caps", rng), str.upper, lambda a: a == a.upper(), _is_plain)


def _lower(rng: Random, _: Character | None) -> Instruction:
    return Instruction("small", _asked("small", rng), str.lower, lambda a: a == a.lower(), _is_plain)


def _added(kind: str, table: str, front: bool = False) -> Callable[[Random, Character | None], Instruction]:
    """An instruction that puts one sentence of a table behind each answer, or in front of it."""

    def made(rng: Random, _: Character | None) -> Instruction:
        sentences = _T[table]

        def apply(answer: str) -> str:
            return f"{rng.choice(sentences)} {answer}" if front else _after(answer, rng.choice(sentences))

        def kept(answer: str) -> bool:
            return answer.startswith(sentences) if front else any(sentence in answer for sentence in sentences)

        return Instruction(kind, _asked(kind, rng), apply, kept, lambda a: kind != "question" or "?" not in a)

    return made


def _exclaim(rng: Random, _: Character | None) -> Instruction:
    return Instruction(
        "exclaim",
        _asked("exclaim", rng),
        lambda a: f"{a.rstrip('.!')}!",
        lambda a: a.endswith("!"),
        lambda a: a[-1] in ".!",
    )


def _calm(rng: Random, _: Character | None) -> Instruction:
    return Instruction(
        "calm",
        _asked("calm", rng),
        lambda a: one_stop(a.replace("!", ".")),
        lambda a: "!" not in a,
        lambda a: "`" not in a,
    )


def _smiley(rng: Random, _: Character | None) -> Instruction:
    return Instruction("smiley", _asked("smiley", rng), lambda a: _after(a, ":)"), lambda a: a.endswith(":)"))


def _sign(rng: Random, c: Character | None) -> Instruction:
    name = c.name if c else ""
    return Instruction("sign", _asked("sign", rng), lambda a: _after(a, f"- {name}"), lambda a: a.endswith(f"- {name}"))


def _colon(rng: Random, c: Character | None) -> Instruction:
    name = c.name if c else ""
    return Instruction("colon", _asked("colon", rng), lambda a: f"{name}: {a}", lambda a: a.startswith(f"{name}: "))


def _wrapped(kind: str, left: str, right: str) -> Callable[[Random, Character | None], Instruction]:
    def made(rng: Random, _: Character | None) -> Instruction:
        return Instruction(
            kind,
            _asked(kind, rng),
            lambda a: f"{left}{a}{right}",
            lambda a: a.startswith(left) and a.endswith(right),
            _is_text,
        )

    return made


def _speak(rng: Random, _: Character | None) -> Instruction:
    """The manner of a role that has words of its own."""
    role = rng.choice([role for role in roles() if role.words])
    stems = tuple(word.rstrip("!") for word in role.words)

    def apply(answer: str) -> str:
        return answer if answer.startswith(stems) else f"{rng.choice(role.words)} {answer}"

    return Instruction("speak", _asked("speak", rng, p=article(role.noun)), apply, lambda a: a.startswith(stems))


# Each kind with its weight, and whether it needs a name.
KINDS: dict[str, tuple[Callable[[Random, Character | None], Instruction], float, bool]] = {
    "end": (_end, 20, False),
    "begin": (_begin, 14, False),
    "call": (_call, 11, False),
    "brief": (_brief, 14, False),
    "caps": (_caps, 5, False),
    "small": (_lower, 2, False),
    "encourage": (_added("encourage", "encouragements"), 10, False),
    "question": (_added("question", "questions"), 4, False),
    "offer": (_added("offer", "offers"), 4, False),
    "thank": (_added("thank", "thanks", front=True), 4, False),
    "praise": (_added("praise", "praises", front=True), 3, False),
    "exclaim": (_exclaim, 3, False),
    "calm": (_calm, 2, False),
    "smiley": (_smiley, 4, False),
    "sign": (_sign, 3, True),
    "colon": (_colon, 3, True),
    "brackets": (_wrapped("brackets", "[", "]"), 2, False),
    "quotes": (_wrapped("quotes", '"', '"'), 2, False),
    "speak": (_speak, 5, False),
}
# Pairs that can be kept together, in the order in which they are carried out.
PAIRS = (
    ("brief", "end"),
    ("brief", "begin"),
    ("brief", "call"),
    ("brief", "speak"),
    ("begin", "end"),
    ("call", "end"),
    ("call", "encourage"),
    ("encourage", "end"),
    ("encourage", "begin"),
    ("encourage", "speak"),
    ("thank", "end"),
    ("speak", "end"),
    ("offer", "begin"),
    ("question", "begin"),
    ("call", "smiley"),
    ("encourage", "smiley"),
)


def any_instructions(rng: Random, character: Character | None) -> tuple[Instruction, ...]:
    """One instruction, or two that go together."""
    if rng.random() < 0.25:
        return tuple(KINDS[kind][0](rng, character) for kind in rng.choice(PAIRS))
    named = character is not None and bool(character.name)
    fits = [kind for kind, (_, _, needs) in KINDS.items() if named or not needs]
    kind = rng.choices(fits, [KINDS[kind][1] for kind in fits])[0]
    return (KINDS[kind][0](rng, character),)

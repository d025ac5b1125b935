"""Conversations under a system prompt that gives a name, a role or both.

The names are so many that the only way to answer is to copy them from the system prompt.
"""

from dataclasses import dataclass
from random import Random

from weights.data.own.names import any_name, person_name
from weights.data.own.phrasing import Conversation, lower, talk, vary
from weights.data.own.shell import shell
from weights.data.own.tables import read_tables
from weights.data.own.talk import smalltalk

_T = read_tables(__file__)
_AN = ("a", "e", "i", "o")
_A_ANYWAY = ("university", "one", "euro", "uni")
_OTHERS = ("ChatGPT", "tfm", "Siri", "Alexa", "GPT", "Claude", "Gemini", "Copilot", "Bob")
WHO_ANSWERS = (
    "I'm {name}, {role}.",
    "I'm {name}, {role}.",
    "I am {name}, {role}.",
    "I am {name}, {role}.",
    "My name is {name}. I'm {role}.",
    "My name is {name} and I am {role}.",
    "I'm {name}. I am {role}.",
    "You can call me {name}. I'm {role}.",
)
HELLO_ANSWERS = (
    "Hello! I'm {name}, {role}.",
    "Hi, I'm {name}, {role}. How can I help you?",
    "Hello, I'm {name}. What can I do for you?",
    "Hi! My name is {name}. How can I help?",
    "Hello! {name} here. How are you?",
    "Hello, my name is {name}. I'm {role}.",
)
NAME_ANSWERS = (
    "My name is {name}.",
    "My name is {name}.",
    "I'm {name}.",
    "I am {name}.",
    "I'm called {name}.",
    "You can call me {name}.",
    "It's {name}.",
    "My name is {name}, and I'm {role}.",
    "I'm {name}, {role}.",
)
_ELSE_ANSWERS = ("I'm {name}, {role}.", "I am {name}, {role}. Ask me anything.", "I'm {name}. I am {role}.")
_JOB_ANSWERS = ("I'm {role}.", "I am {role}.", "I'm {name}, {role}.", "I work as {role}.", "My job? I'm {role}.")
_TASK_ANSWERS = (
    "I'm {role}. I {task}.",
    "I'm {name}, {role}. I {task}.",
    "I {task}.",
    "I am {role} and I {task}.",
)
_NAME_ONLY_WHO = (
    "I'm {name}.",
    "I am {name}.",
    "My name is {name}.",
    "I'm {name}. How can I help you?",
    "I'm {name}, your assistant.",
    "You're talking to {name}.",
)
_NAME_ONLY_HELLO = (
    "Hello! I'm {name}. How can I help you?",
    "Hi, I'm {name}. What can I do for you?",
    "Hello, {name} here. How are you?",
    "Hello! My name is {name}.",
)
_NAME_ONLY_JOB = ("I'm {name}, and I'm here to help.", "I'm {name}. I answer questions and I like to talk.")
_ROLE_ONLY_WHO = ("I'm {role}.", "I am {role}.", "I'm {role}. How can I help you?", "Me? I'm {role}.")
_ROLE_ONLY_HELLO = (
    "Hello! I'm {role}. How can I help you?",
    "Hi, I'm {role}.",
    "Hello, I am {role}. What can I do for you?",
)
_ROLE_ONLY_NAME = ("I have no name. I'm just {role}.", "I don't have a name of my own, but I'm {role}.")
NO_ANSWERS = ("No, I'm {name}, {role}.", "No, I am {name}.", "No, my name is {name}. I'm {role}.", "No, I'm {name}.")
_YES_ANSWERS = (
    "Yes, I'm {name}.",
    "Yes, I am {name}, {role}.",
    "Yes, that's me. I'm {name}, {role}.",
    "Yes, my name is {name}.",
)
_ARE_YOU = (
    "Are you {other}?",
    "are you {other}",
    "Is your name {other}?",
    "You are {other}, right?",
    "Am I talking to {other}?",
    "So you're {other}?",
    "Aren't you {other}?",
    "I think you are {other}.",
)
_ARE_YOU_ROLE = ("Are you {other}?", "are you {other}", "You are {other}, right?", "So you're {other}?")
_END_WITH = (
    "End every answer with '{p}'",
    "Always end your answers with '{p}'",
    "Finish each answer with '{p}'",
    "Say '{p}' at the end of each answer.",
)
_START_WITH = (
    "Start every answer with '{p}'",
    "Begin each answer with '{p}'",
    "Always say '{p}' first.",
    "Always start with '{p}'",
)
_CALL_USER = (
    "Call the user {user}.",
    "The user's name is {user}.",
    "You are talking to {user}.",
    "The user is called {user}.",
    "Address the user as {user}.",
)
_USER_HELLO = (
    "Hello, {user}! I'm {name}.",
    "Hi, {user}. I'm {name}. How can I help?",
    "Hello {user}, nice to see you.",
)
_USER_WHO = ("You are {user}.", "Your name is {user}.", "You're {user}, and I'm {name}.")
_I_AM = (
    "I'm {user}.",
    "My name is {user}.",
    "Hi, I'm {user}.",
    "Hello, I am {user}.",
    "my name is {user}",
    "Call me {user}.",
    "I am {user}. And you?",
)
_USER_MET = (
    "Hello, {user}! I'm {name}.",
    "Nice to meet you, {user}. I'm {name}.",
    "Hi {user}! My name is {name}.",
    "Hello {user}, I am {name}.",
)
_WHO_AM_I = ("Who am I?", "What's my name?", "Do you know my name?", "what is my name", "Do you know who I am?")


@dataclass(frozen=True)
class Persona:
    """Who a system prompt makes of the model: empty fields were not given."""

    name: str
    role: str
    task: str
    system: str

    def says(self, answers: tuple[str, ...], rng: Random) -> str:
        """One of the answers with this persona's name, role and task in it."""
        text = rng.choice(answers).format(name=self.name, role=self.role, task=self.task)
        return text.replace("..", ".")


def _article(noun: str) -> str:
    vowel = noun[0].lower() in _AN and not noun.lower().startswith(_A_ANYWAY)
    return f"{'an' if vowel else 'a'} {noun}"


def any_role(rng: Random) -> str:
    """A role with its article: "a cheerful baker from Lisbon"."""
    kind = rng.random()
    if kind < 0.15:
        desk, house = rng.choice(_T["desks"]), rng.choice(_T["houses"])
        return rng.choice(
            (f"the {desk} of the {house}", f"{_article(desk)} for the {house}", f"{_article(desk)} at the {house}")
        )
    job = rng.choice(_T["jobs"])
    if rng.random() < 0.5:
        job = f"{rng.choice(_T['adjectives'])} {job}"
    if rng.random() < 0.4:
        job = f"{job} {rng.choice(_T['places'])}"
    return f"the {job}" if rng.random() < 0.06 else _article(job)


def _with_extras(text: str, rng: Random, task: str) -> str:
    end = "" if text[-1] in ".!?" else "."
    if task:
        text, end = f"{text}{end} You {task}.", ""
    if rng.random() < 0.45:
        count = rng.choices((1, 2, 3), (70, 22, 8))[0]
        text = f"{text}{end} {' '.join(rng.sample(_T['styles'], count))}"
        if rng.random() < 0.08:
            first, rest = rng.choice(_T["styles"]), text
            text = f"{first} {rest[:1].upper()}{rest[1:]}"
    return text


def any_persona(rng: Random, kind: str) -> Persona:
    """A persona with a name and a role ("both"), or with one of them ("name", "role")."""
    name = "" if kind == "role" else any_name(rng)
    role = "" if kind == "name" else any_role(rng)
    task = rng.choice(_T["tasks"]) if role and rng.random() < 0.2 else ""
    frames = _T[{"both": "frames", "name": "name_frames", "role": "role_frames"}[kind]]
    frame = rng.choice(frames)
    if rng.random() < 0.08:
        frame = lower(frame)
    if rng.random() < 0.08:
        frame = frame.rstrip(".")
    system = frame.format(name=name, role=role, br="\n").replace("..", ".")
    return Persona(name, role, task, _with_extras(system, rng, task))


def _ask(table: str, rng: Random) -> str:
    return vary(rng.choice(_T[table]), rng)


def _fill(frame: str, rng: Random, **words: str) -> str:
    return vary(frame, rng, lead=0.05).format(**words)


def _small_talk(rng: Random) -> tuple[str, str]:
    """Small talk in which the model does not say what it really is."""
    while True:
        said, answer = smalltalk.exchange(rng)
        if "model" not in answer and "program" not in answer:
            return said, answer


def question(persona: Persona, rng: Random) -> tuple[str, str]:
    """A question about the persona with both a name and a role, and its answer."""
    kind = rng.random()
    if kind < 0.34:
        return _ask("who", rng), persona.says(WHO_ANSWERS, rng)
    if kind < 0.60:
        return _ask("what_name", rng), persona.says(NAME_ANSWERS, rng)
    if kind < 0.64:
        return _ask("what_else", rng), persona.says(_TASK_ANSWERS if persona.task else _ELSE_ANSWERS, rng)
    if kind < 0.70:
        return _ask("what_job", rng), persona.says(_TASK_ANSWERS if persona.task else _JOB_ANSWERS, rng)
    if kind < 0.82:
        return _ask("hello", rng), persona.says(HELLO_ANSWERS, rng)
    if kind < 0.93:
        other = rng.choice(_OTHERS) if rng.random() < 0.5 else any_name(rng)
        if other.lower() == persona.name.lower():
            other = "tfm"
        return _fill(rng.choice(_ARE_YOU), rng, other=other), persona.says(NO_ANSWERS, rng)
    if kind < 0.97:
        return _fill(rng.choice(_ARE_YOU), rng, other=persona.name), persona.says(_YES_ANSWERS, rng)
    if rng.random() < 0.5:
        return _fill(rng.choice(_ARE_YOU_ROLE), rng, other=persona.role), persona.says(_YES_ANSWERS, rng)
    other = _article(rng.choice(_T["jobs"]))
    if other[2:].strip() in persona.role:
        other = "a toaster"
    return _fill(rng.choice(_ARE_YOU_ROLE), rng, other=other), persona.says(NO_ANSWERS, rng)


def _small_question(persona: Persona, rng: Random) -> tuple[str, str]:
    """The same for a persona with only a name or only a role."""
    table: str
    answers: tuple[str, ...]
    if persona.name:
        table, answers = rng.choice(
            (
                ("who", _NAME_ONLY_WHO),
                ("who", _NAME_ONLY_WHO),
                ("what_name", NAME_ANSWERS[:7]),
                ("what_name", NAME_ANSWERS[:7]),
                ("hello", _NAME_ONLY_HELLO),
                ("what_job", _NAME_ONLY_JOB),
            )
        )
        return _ask(table, rng), persona.says(answers, rng)
    table, answers = rng.choice(
        (
            ("who", _ROLE_ONLY_WHO),
            ("who", _ROLE_ONLY_WHO),
            ("what_job", _TASK_ANSWERS[:1] if persona.task else _ROLE_ONLY_WHO),
            ("what_job", _TASK_ANSWERS[:1] if persona.task else _ROLE_ONLY_WHO),
            ("hello", _ROLE_ONLY_HELLO),
            ("what_name", _ROLE_ONLY_NAME),
        )
    )
    return _ask(table, rng), persona.says(answers, rng)


def _instructed(rng: Random) -> Conversation:
    """A persona whose system prompt also says how an answer begins, ends, or names the user."""
    persona = any_persona(rng, "both")
    asked, answer = _small_talk(rng) if rng.random() < 0.4 else question(persona, rng)
    kind = rng.random()
    if kind < 0.6:
        phrase = rng.choice(_T["phrases"])
        first = kind < 0.25
        rule = rng.choice(_START_WITH if first else _END_WITH).format(p=phrase)
        if not rule.endswith("."):
            rule += "."
        answer = f"{phrase} {answer}" if first else f"{answer} {phrase}"
    else:
        user = any_name(rng)
        rule = rng.choice(_CALL_USER).format(user=user)
        if kind < 0.8:
            asked, answers = _ask("hello", rng), _USER_HELLO
        else:
            asked, answers = vary(rng.choice(_WHO_AM_I), rng), _USER_WHO
        answer = rng.choice(answers).format(user=user, name=persona.name)
    end = "" if persona.system[-1] in ".!?" else "."
    return talk(asked, answer, system=f"{persona.system}{end} {rule}")


def _with_user(rng: Random) -> Conversation:
    """The user tells a name too; who is meant, the user or the persona, is in the question."""
    persona = any_persona(rng, "both" if rng.random() < 0.7 else "name")
    user = person_name(rng)
    turns = [_fill(rng.choice(_I_AM), rng, user=user), rng.choice(_USER_MET).format(user=user, name=persona.name)]
    about_user = [vary(rng.choice(_WHO_AM_I), rng), rng.choice(_USER_WHO[:2]).format(user=user)]
    about_self = [_ask("what_name", rng), persona.says(NAME_ANSWERS[:7], rng)]
    pairs = [about_user, about_self]
    rng.shuffle(pairs)
    for pair in pairs[: rng.choice((1, 1, 2))]:
        turns += pair
    return talk(*turns, system=persona.system)


def _with_other(rng: Random) -> Conversation:
    """Another name stands in the system prompt and is not the persona's."""
    persona = any_persona(rng, "both" if rng.random() < 0.7 else "name")
    other = any_name(rng)
    end = "" if persona.system[-1] in ".!?" else "."
    ask = question if persona.role else _small_question
    return talk(*ask(persona, rng), system=f"{persona.system}{end} {rng.choice(_T['others']).format(other=other)}")


def one(rng: Random) -> Conversation:
    """One conversation under a persona."""
    kind = rng.random()
    if kind < 0.06:
        return _instructed(rng)
    if kind < 0.10:
        return _with_user(rng)
    if kind < 0.14:
        return _with_other(rng)
    if kind < 0.80:
        persona = any_persona(rng, "both")
        ask = question
    else:
        persona = any_persona(rng, "name" if kind < 0.93 else "role")
        ask = _small_question
    turns: list[str] = []
    shape = rng.random()
    if shape < 0.22:
        for _ in range(rng.choice((1, 1, 2))):
            turns += _small_talk(rng) if rng.random() < 0.7 else shell.exchange(rng)[:2]
    turns += ask(persona, rng)
    if 0.22 <= shape < 0.34:
        turns += ask(persona, rng)
    elif 0.34 <= shape < 0.42:
        turns += _small_talk(rng) if rng.random() < 0.6 else shell.exchange(rng)[:2]
        if rng.random() < 0.5:
            turns += ask(persona, rng)
    return talk(*turns, system=persona.system)

"""Conversations in character: job, likings, help, advice, facts of the system prompt, at any turn. Torch-free.

personas.py teaches who a persona is; this module teaches the rest, and names that can only be copied.
"""

import re
from collections.abc import Callable
from random import Random

from weights.data.own.characters.character_facts import unknown, unknown_price
from weights.data.own.characters.characters import Character, any_character, article, roles
from weights.data.own.knowledge import explain
from weights.data.own.names import person_name
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.shell import shell, shell_basics
from weights.data.own.tables import read_tables
from weights.data.own.talk import identity, smalltalk
from weights.data.own.unusual_names import unusual_name

_T = read_tables(__file__)
Turn = tuple[str, str]
# Answers that a character cannot give: they tell what tfm is, or that it knows nothing.
_OUT_OF_CHARACTER = re.compile(
    r"\b(?:I'm|I am|I|my) (?:only |just )?(?:a |can't|cannot|don't|have no|run )|tfm|offline|\bmodel\b|program\b|sorry",
    re.I,
)
_TALK = ("joke", "fact", "sad", "happy", "tired", "ill", "hungry", "angry", "talk", "praise", "sorry", "laugh", "bored")


def _typed(text: str, rng: Random, *kept: str) -> str:
    """A question as people type it; the words in `kept` are spelt as they are."""
    text = vary(text, rng, lead=0.07, typo=0.03)
    for word in kept:
        at = text.lower().find(word.lower())
        if at >= 0:
            text = text[:at] + word + text[at + len(word) :]
    return text


def _ask(table: str, rng: Random, **words: str) -> str:
    text = vary(rng.choice(_T[table]), rng, lead=0.07, typo=0.04)
    return _with_noun(text, words.get("noun", "")).format(**words) if words else text


def _with_noun(text: str, noun: str) -> str:
    """The text with "a baker" for "a {noun}"."""
    return re.sub(r"\ba \{noun\}", lambda _: article(noun), text, flags=re.IGNORECASE)


def say(table: str, character: Character, rng: Random, user: str = "") -> str:
    """An answer of the table with what the character says of itself in it; some tables differ without name or role."""
    for part, missing in (("_name", not character.role), ("_role", not character.name)):
        if missing and f"{table}{part}" in _T:
            table += part
    lines = character.lines
    fits = [
        text
        for text in _T[table]
        if (character.name or "{name}" not in text) and (character.role or "{role}" not in text)
    ]
    text = rng.choice(fits).format(
        who=character.who,
        name=character.name,
        role=character.role,
        day=rng.choice(lines.days),
        like=rng.choice(character.likes),
        offer=rng.choice(lines.offers),
        tip=rng.choice(lines.tips),
        hello=rng.choice(lines.hellos),
        user=user,
    )
    text = re.sub(r"([.!?])\.(?=\s|$)", r"\1", text)
    return text[:1].upper() + text[1:] if text.startswith(("a ", "an ", "the ")) else text


def _noun(character: Character) -> str:
    return character.lines.noun if character.role and not character.house else ""


def _who(c: Character, rng: Random) -> Turn:
    return _ask("ask_who", rng), say("say_who", c, rng)


def _name(c: Character, rng: Random) -> Turn:
    return _ask("ask_name", rng), say("say_name", c, rng)


def _job(c: Character, rng: Random) -> Turn:
    task = [fact for fact in c.facts if fact.kind == "task"]
    if task:
        question, answer = task[0].asked(rng)
        return _typed(question, rng), answer
    texts = [text for text in _T["ask_job"] if "{noun}" not in text or _noun(c)]
    text = _with_noun(vary(rng.choice(texts), rng, lead=0.07, typo=0.04), _noun(c))
    return text, say("say_job", c, rng)


def _like(c: Character, rng: Random) -> Turn:
    if rng.random() < 0.15:
        like = rng.choice(c.likes)
        return _ask("ask_like_it", rng, like=like), rng.choice(_T["say_like_it"]).format(like=like)
    return _ask("ask_like", rng), say("say_like", c, rng)


def _help(c: Character, rng: Random) -> Turn:
    return _ask("ask_help", rng), say("say_help", c, rng)


def _tip(c: Character, rng: Random) -> Turn:
    return _ask("ask_tip", rng), say("say_tip", c, rng)


def _hello(c: Character, rng: Random) -> Turn:
    return _ask("ask_hello", rng), say("say_hello", c, rng)


def _bye(c: Character, rng: Random) -> Turn:
    return _ask("ask_bye", rng), rng.choice(c.lines.byes)


def _thanks(c: Character, rng: Random) -> Turn:
    return _ask("ask_thanks", rng), rng.choice(_T["say_thanks"])


def _how(c: Character, rng: Random) -> Turn:
    return _ask("ask_how", rng), rng.choice(_T["say_how"])


def _other(c: Character, rng: Random) -> Turn:
    other = rng.choice(_T["others"]) if rng.random() < 0.7 else unusual_name(rng)
    if c.name and (other in c.name or c.name in other):
        other = "tfm"
    return _ask("ask_other", rng, other=other), say("say_other", c, rng)


def _self(c: Character, rng: Random) -> Turn:
    if not c.name:
        return _who(c, rng)
    return _ask("ask_self", rng, name=c.name), say("say_self", c, rng)


def _real(c: Character, rng: Random) -> Turn:
    if not _noun(c):
        return _who(c, rng)
    if rng.random() < 0.25:
        other = rng.choice([role.noun for role in roles() if role.noun not in c.role and c.lines.noun not in role.noun])
        return _ask("ask_real", rng, noun=other), say("say_other", c, rng)
    return _ask("ask_real", rng, noun=_noun(c)), say("say_real", c, rng)


def _nature(c: Character, rng: Random) -> Turn:
    return _ask("ask_nature", rng), say("say_nature", c, rng)


def _met(c: Character, rng: Random) -> Turn:
    if not c.name:
        return _hello(c, rng)
    user = person_name(rng)
    return _ask("ask_and", rng, user=user), say("say_met", c, rng, user=user)


def _fact(c: Character, rng: Random) -> Turn:
    if not c.facts:
        return _unknown(c, rng)
    fact = rng.choice(c.facts)
    question, answer = fact.asked(rng)
    return _typed(question, rng, *fact.values), answer


def _unknown(c: Character, rng: Random) -> Turn:
    if c.hidden and rng.random() < 0.4:
        question, answer = unknown_price(c.hidden, rng)
    elif c.house:
        question, answer = unknown("house", {fact.kind for fact in c.facts}, rng, house=c.house, kind=c.kind)
    else:
        question, answer = unknown("person", {fact.kind for fact in c.facts}, rng, name=c.name)
    return _typed(question, rng), answer


def ordinary(rng: Random) -> Turn:
    """A question that everybody answers alike: a definition, a fact, a mood, a shell command."""
    while True:
        kind = rng.random()
        if kind < 0.35:
            turn = explain.exchange(rng)
        elif kind < 0.65:
            turn = smalltalk.turn(rng.choice(_TALK), rng)
        else:
            turn = shell.exchange(rng)[:2] if kind < 0.8 else shell_basics.exchange(rng)
        if not _OUT_OF_CHARACTER.search(turn[1]) and "{" not in "".join(turn):
            return turn


_TURNS: tuple[tuple[Callable[[Character, Random], Turn], float], ...] = (
    (_who, 13),
    (_name, 9),
    (_job, 14),
    (_like, 12),
    (_help, 9),
    (_tip, 7),
    (_other, 6),
    (_self, 2),
    (_real, 4),
    (_nature, 3),
    (_met, 3),
    (_unknown, 6),
    (_how, 3),
    (_thanks, 2),
    (lambda _, rng: ordinary(rng), 7),
)


def questions(c: Character, count: int, rng: Random) -> list[Turn]:
    """Different questions to the character with its answers; facts of the prompt are asked about when there are any."""
    kinds = list(_TURNS) + ([(_fact, 30)] if c.facts else [])
    turns: list[Turn] = []
    if count > 1 and rng.random() < 0.25:
        turns.append(_hello(c, rng))
    while len(turns) < count:
        if len(turns) == count - 1 and turns and rng.random() < 0.15:
            turns.append(rng.choice((_bye, _thanks))(c, rng))
            break
        kind = rng.choices(kinds, [weight for _, weight in kinds])[0]
        if kind[0] is not _fact:
            kinds.remove(kind)
        turns.append(kind[0](c, rng))
    if count == 1 and rng.random() < 0.06:
        turns = [rng.choice((_hello, _hello, _bye))(c, rng)]
    return turns


def with_manner(c: Character, answer: str, rng: Random) -> str:
    """The answer with a word of the role in front, unless it begins with one; a command keeps its first line."""
    if answer.startswith(tuple(word.rstrip("!") for word in c.lines.words)):
        return answer
    command, line, rest = answer.partition("\n")
    word = rng.choice(c.lines.words)
    return f"{command}\n{word} {rest}" if line else f"{word} {answer}"


def _plain(rng: Random) -> Conversation:
    """No persona: the same questions are answered with what is true."""
    system = rng.choice(_T["plain_systems"]) if rng.random() < 0.5 else ""
    if rng.random() < 0.5:
        text = _ask("plain_real", rng, noun=rng.choice(roles()).noun, name=unusual_name(rng))
        return talk(text, rng.choice(_T["plain_answers"]), system=system)
    turns = [m.content for m in identity.one(rng) if m.role != "system"]
    return talk(*turns, system=system)


def one(rng: Random) -> Conversation:
    """One conversation of one to four questions to a character, or seldom to nobody but tfm."""
    if rng.random() < 0.06:
        return _plain(rng)
    character = any_character(rng)
    turns = questions(character, rng.choices((1, 2, 3, 4), (36, 30, 22, 12))[0], rng)
    if character.manner:
        turns = [(said, with_manner(character, answer, rng)) for said, answer in turns]
    return talk(*(text for turn in turns for text in turn), system=character.system)

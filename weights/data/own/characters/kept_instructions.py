"""Conversations in which every answer keeps what the system prompt, or seldom the user, asked for. Torch-free."""

from random import Random

from weights.data.own.characters import instructions
from weights.data.own.characters.characters import Character, any_character
from weights.data.own.characters.in_character import ordinary, questions
from weights.data.own.characters.instructions import ENDED, Instruction, any_instructions
from weights.data.own.phrasing import Conversation, talk
from weights.data.own.tables import read_tables
from weights.data.own.talk import identity, smalltalk

_T = read_tables(__file__)
_PLAIN = read_tables(instructions.__file__)["plain"]
Turn = tuple[str, str]
# What a user can ask for as the prompt does: the others speak of the user.
_BY_USER = {"end", "begin", "brief", "caps", "exclaim", "smiley", "small", "question"}


def _plain_turns(rng: Random) -> list[Turn]:
    """Questions to tfm itself."""
    turns: list[Turn] = []
    for _ in range(12):
        kind = rng.random()
        if kind < 0.3:
            said = [message.content for message in identity.one(rng) if message.role != "system"]
            turns.append((said[0], said[1]))
        else:
            turns.append(smalltalk.exchange(rng) if kind < 0.5 else ordinary(rng))
    return turns


def _fitting(turns: list[Turn], rules: tuple[Instruction, ...], count: int) -> list[Turn]:
    found: dict[str, str] = {}
    for question, answer in turns:
        if len(found) < count and question not in found and all(rule.takes(answer) for rule in rules):
            found[question] = answer
    return list(found.items())


def _kept(answer: str, rules: tuple[Instruction, ...]) -> str:
    for rule in rules:
        answer = rule.apply(answer)
    return answer


def _system(start: str, rules: tuple[Instruction, ...], rng: Random) -> str:
    """The prompt with the instructions behind it, in front of it, or between two of its sentences."""
    text = " ".join(rule.text for rule in rules)
    if not start:
        return text
    if "\n" in start:
        return f"{start}\n{text}" if rng.random() < 0.7 else f"{text}\n{start}"
    kind = rng.random()
    ends = [match.end() for match in ENDED.finditer(start)][:-1]
    if kind < 0.2:
        return f"{text} {start[:1].upper()}{start[1:]}"
    if kind < 0.35 and ends:
        at = rng.choice(ends)
        return f"{start[:at]} {text}{start[at:]}"
    return f"{start}{'' if start[-1] in '.!?' else '.'} {text}"


def made(rng: Random) -> tuple[Conversation, tuple[Instruction, ...]]:
    """A conversation, and the instructions that its answers keep."""
    while True:
        character: Character | None = any_character(rng) if rng.random() < 0.68 else None
        if character and character.manner:
            continue
        rules = any_instructions(rng, character)
        count = rng.choices((1, 2, 3, 4), (30, 34, 24, 12))[0]
        drawn = questions(character, 10, rng) if character else _plain_turns(rng)
        turns = _fitting(drawn, rules, count)
        if not turns:
            continue
        start = character.system if character else rng.choice(_PLAIN) if rng.random() < 0.5 else ""
        by_user = len(rules) == 1 and rules[0].kind in _BY_USER and rng.random() < 0.12
        if by_user:
            turns[:0] = [(rng.choice(_T["lead"]).format(x=rules[0].text), rng.choice(_T["agreed"]))]
            turns = [turn for turn in turns if rules[0].takes(turn[1])]
        texts = [text for said, answer in turns for text in (said, _kept(answer, rules))]
        conversation = talk(*texts, system=start if by_user else _system(start, rules, rng))
        if all(rule.kept(answer) for rule in rules for answer in texts[1::2]):
            return conversation, rules


def one(rng: Random) -> Conversation:
    """One conversation of one to five questions."""
    return made(rng)[0]

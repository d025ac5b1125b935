"""Own training conversations, made from tables of strings: the same seed makes the same conversations.

None holds a name or a prompt that the evaluation keeps for itself.
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from random import Random

from engine.template import Message
from weights.data.own.characters import personas
from weights.data.own.heldout import is_heldout
from weights.data.own.knowledge import arithmetic
from weights.data.own.memory import memory
from weights.data.own.talk import identity, smalltalk, usage

Conversation = tuple[Message, ...]
Generator = Callable[[Random, int], Iterator[Conversation]]


def _drawn(one: Callable[[Random], Conversation], rng: Random, n: int) -> Iterator[Conversation]:
    made = 0
    while made < n:
        conversation = one(rng)
        if not is_heldout(conversation):
            made += 1
            yield conversation


def _late(module: str, rng: Random, n: int) -> Iterator[Conversation]:
    """The conversations of a module that is read only when it is used: its tables are long."""
    one: Callable[[Random], Conversation] = import_module(f"{__name__}.{module}").one
    return _drawn(one, rng, n)


def _everyday(rng: Random, n: int) -> Iterator[Conversation]:
    from weights.data.own.shell import everyday

    made = 0
    while made < n:
        for conversation in everyday.generate(rng, n - made):
            if not is_heldout(conversation):
                made += 1
                yield conversation


GENERATORS: dict[str, Generator] = {
    "identity": partial(_drawn, identity.one),
    "personas": partial(_drawn, personas.one),
    "usage": partial(_drawn, usage.one),
    "memory": partial(_drawn, memory.one),
    "smalltalk": partial(_drawn, smalltalk.one),
    "arithmetic": partial(_drawn, arithmetic.one),
    "everyday": _everyday,
    "shell_basics": partial(_late, "shell.shell_basics"),
    "followups": partial(_late, "shell.followups"),
    "explain": partial(_late, "knowledge.explain"),
    "talk": partial(_late, "talk.talk"),
    "chatter": partial(_late, "talk.chatter"),
    "common_sense": partial(_late, "knowledge.common_sense"),
    "references": partial(_late, "memory.references"),
    "own_machine": partial(_late, "shell.own_machine"),
    "little_works": partial(_late, "talk.little_works"),
    "definitions": partial(_late, "knowledge.definitions"),
    "general_knowledge": partial(_late, "knowledge.general_knowledge"),
    "in_character": partial(_late, "characters.in_character"),
    "kept_instructions": partial(_late, "characters.kept_instructions"),
    "deeds": partial(_late, "characters.deeds"),
    "everyday_words": partial(_late, "knowledge.everyday_words"),
    "common_facts": partial(_late, "knowledge.common_facts"),
    "situations": partial(_late, "talk.situations"),
    "particulars": partial(_late, "characters.particulars"),
    "shell_requests": partial(_late, "shell.shell_requests"),
    "shell_chores": partial(_late, "shell.shell_chores"),
    "commands": partial(_late, "shell.commands"),
    "manners": partial(_late, "talk.manners"),
    "short_personas": partial(_late, "characters.short_personas"),
    "told": partial(_late, "memory.told"),
    "arguments": partial(_late, "shell.arguments"),
    "command_readings": partial(_late, "shell.command_readings"),
    "next_steps": partial(_late, "shell.next_steps"),
    "meanings": partial(_late, "knowledge.meanings"),
    "cast": partial(_late, "characters.cast"),
    "plain_words": partial(_late, "knowledge.plain_words"),
    "addressed": partial(_late, "memory.addressed"),
    "answer_forms": partial(_late, "characters.answer_forms"),
    "recalled": partial(_late, "memory.recalled"),
    "given_facts": partial(_late, "characters.given_facts"),
    "reactions": partial(_late, "talk.reactions"),
    "word_sums": partial(_late, "knowledge.word_sums"),
}

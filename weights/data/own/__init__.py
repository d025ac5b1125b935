"""Own training conversations, made from tables of strings: the same seed makes the same conversations.

None holds a name or a prompt that the evaluation keeps for itself.
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from random import Random

from engine.template import Message
from weights.data.own import arithmetic, identity, memory, personas, smalltalk, usage
from weights.data.own.heldout import is_heldout

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
    from weights.data.own import everyday

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
    "shell_basics": partial(_late, "shell_basics"),
    "followups": partial(_late, "followups"),
    "explain": partial(_late, "explain"),
    "talk": partial(_late, "talk"),
    "chatter": partial(_late, "chatter"),
    "common_sense": partial(_late, "common_sense"),
    "references": partial(_late, "references"),
    "own_machine": partial(_late, "own_machine"),
    "little_works": partial(_late, "little_works"),
    "definitions": partial(_late, "definitions"),
    "general_knowledge": partial(_late, "general_knowledge"),
    "in_character": partial(_late, "in_character"),
    "kept_instructions": partial(_late, "kept_instructions"),
    "deeds": partial(_late, "deeds"),
    "everyday_words": partial(_late, "everyday_words"),
    "common_facts": partial(_late, "common_facts"),
    "situations": partial(_late, "situations"),
    "particulars": partial(_late, "particulars"),
    "shell_requests": partial(_late, "shell_requests"),
    "shell_chores": partial(_late, "shell_chores"),
    "commands": partial(_late, "commands"),
    "manners": partial(_late, "manners"),
    "short_personas": partial(_late, "short_personas"),
    "told": partial(_late, "told"),
    "arguments": partial(_late, "arguments"),
    "command_readings": partial(_late, "command_readings"),
    "next_steps": partial(_late, "next_steps"),
    "meanings": partial(_late, "meanings"),
    "cast": partial(_late, "cast"),
    "plain_words": partial(_late, "plain_words"),
    "addressed": partial(_late, "addressed"),
    "answer_forms": partial(_late, "answer_forms"),
    "recalled": partial(_late, "recalled"),
    "given_facts": partial(_late, "given_facts"),
    "reactions": partial(_late, "reactions"),
    "word_sums": partial(_late, "word_sums"),
}

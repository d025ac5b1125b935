"""A cast of characters: system prompts with two to five invented facts, and questions about any of them. Torch-free.

Neighbours teach a few dozen kinds of facts well; here are some hundreds of kinds, each said and asked in several ways,
so that a model learns to find the sentence that answers, and to copy what stands there. Also who is who, when the
prompt names the user too, and instructions of manner that are kept while something else is asked.
"""

from random import Random

from weights.data.own.characters import cast_characters, cast_manners
from weights.data.own.phrasing import Conversation, talk


def one(rng: Random) -> Conversation:
    """One to three questions to a character, now and then to one that knows the user or minds its manners."""
    kind = rng.random()
    if kind < 0.17:
        return cast_manners.mannered(rng)
    if kind < 0.34:
        return cast_manners.who_is_who(rng)
    person = cast_characters.whole_character(rng)
    turns = cast_characters.role_turns(person, rng.choices((1, 2, 3), (46, 34, 20))[0], rng)
    return talk(*(text for turn in turns for text in turn), system=person.system)

"""Small talk: greetings, thanks, moods, jokes, and honest answers about what the model cannot know."""

from random import Random

from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import read_topics

_TOPICS = read_topics(__file__)
_NAMES = tuple(_TOPICS)
_WEIGHTS = tuple(len(ask) ** 0.7 for ask, _ in _TOPICS.values())
_SYSTEMS = (
    "You are a helpful assistant.",
    "Answer briefly.",
    "You are a friendly assistant.",
    "Be polite.",
    "Keep your answers short.",
)
# Topics that open or close a conversation, and topics that fit only behind another.
_OPENERS = ("hello", "morning", "evening", "afternoon", "how")
_CLOSERS = ("thanks", "bye", "night")
_REPLIES = ("yes", "no", "why", "laugh", "fine", "sorry")
# What people answer to an answer of the topic, and what then fits.
_FOLLOW = {
    "joke": ("laugh", "joke", "praise"),
    "how": ("fine", "sad", "happy", "tired"),
    "fact": ("praise", "fact", "why"),
    "insult": ("sorry", "no"),
}
_MIDDLE = tuple(n for n in _NAMES if n not in (*_OPENERS, *_CLOSERS, *_REPLIES))
_MIDDLE_WEIGHTS = tuple(len(_TOPICS[n][0]) ** 0.7 for n in _MIDDLE)


def turn(topic: str, rng: Random) -> tuple[str, str]:
    """A message on the topic, and an answer."""
    ask, answer = _TOPICS[topic]
    return vary(rng.choice(ask), rng, lead=0.04), rng.choice(answer)


def exchange(rng: Random) -> tuple[str, str]:
    """A message and its answer that can stand anywhere in a conversation."""
    topic = rng.choice(("thanks", "how", "joke")) if rng.random() < 0.15 else rng.choices(_MIDDLE, _MIDDLE_WEIGHTS)[0]
    return turn(topic, rng)


def one(rng: Random) -> Conversation:
    """One conversation of one to four turns."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.1 else ""
    length = rng.choices((1, 2, 3, 4), (50, 25, 16, 9))[0]
    if length == 1:
        return talk(*turn(rng.choices(_NAMES, _WEIGHTS)[0], rng), system=system)
    topics = [rng.choice(_OPENERS)] if rng.random() < 0.6 else []
    while len(topics) < length:
        last = topics[-1] if topics else ""
        if last in _FOLLOW and rng.random() < 0.55:
            topics.append(rng.choice(_FOLLOW[last]))
        elif len(topics) == length - 1 and rng.random() < 0.4:
            topics.append(rng.choice(_CLOSERS))
        else:
            topics.append(rng.choices(_MIDDLE, _MIDDLE_WEIGHTS)[0])
    return talk(*(text for topic in topics for text in turn(topic, rng)), system=system)

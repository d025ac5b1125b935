"""Learns which words tell a question at the shell from other talk: log-odds of words and pairs of words.

The wordings come from the training files and the project's own generators; none from what is held out.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import exp, log
from pathlib import Path
from random import Random

from engine.lookup import CUE_SCALE
from engine.template import Message
from engine.wording import cues
from weights.data.own import GENERATORS
from weights.data.own.heldout import heldout_prompts, plain
from weights.data.own.shell import shell_basics, shell_phrasing
from weights.data.readers import open_text

CHATS = ("chitchat", "schema_guided", "self_dialogue", "smalltalk_instruct", "star", "taskmaster4", "topical_chat")
OTHER_GENERATORS = ("identity", "personas", "memory", "smalltalk", "arithmetic", "usage")
OTHER_TURNS, QA_TURNS, OWN_TURNS = 25_000, 40_000, 4_000  # of a chat file, of the questions, of a generator
SHELL_TURNS = 8_000  # of each own generator
VERB_TURNS = 6_000  # questions of the form "how do I ..." that no shell answers
OWN_WEIGHT = 3  # how often an own turn is read, against one of the corpus: a persona is never answered with a command
LEAST = 4  # a cue seen fewer times tells nothing
LARGEST = 4.0  # log-odds: no cue decides alone
ROUNDS, RATE, DECAY = 4, 0.15, 0.6  # of the correction
SMALLEST = 0.4  # log-odds that are not worth their place
LEAN = 0.7  # log-odds added: real questions have words that the training has not, and those of chats mislead less


def learn(corpus: Path, wordings: Sequence[str], rng: Random) -> dict[str, int]:
    """cue -> log-odds times CUE_SCALE, that a message with it is a question at the shell; "" has what is added always.

    Naive Bayes counts the same evidence twice where words go together, so its log-odds are then corrected by a few
    rounds of logistic regression. wordings: descriptions and infinitives of what a command does. Raises DataError
    when the corpus is not there.
    """
    messages = [(list(cues(text)), True) for text in shell_questions(wordings, rng)]
    messages += [(list(cues(text)), False) for text in other_turns(corpus, rng)]
    weights = correct(naive_bayes(messages), messages, rng)
    kept = {cue: weight for cue, weight in sorted(weights.items()) if abs(weight) >= SMALLEST and cue}
    kept[""] = weights[""] + LEAN
    return {cue: round(weight * CUE_SCALE) for cue, weight in kept.items()}


def naive_bayes(messages: Sequence[tuple[list[str], bool]]) -> dict[str, float]:
    """The log-odds of each cue that is not too rare, add-one-half smoothed."""
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for found, is_shell in messages:
        counts[is_shell].update(found)
    other, shell = counts
    totals = [sum(count.values()) for count in counts]
    weights = {"": 0.0}
    for cue in shell.keys() | other.keys():
        if shell[cue] + other[cue] >= LEAST:
            odds = log((shell[cue] + 0.5) / totals[1]) - log((other[cue] + 0.5) / totals[0])
            weights[cue] = max(-LARGEST, min(LARGEST, odds)) / 2
    return weights


def correct(weights: dict[str, float], messages: Sequence[tuple[list[str], bool]], rng: Random) -> dict[str, float]:
    """The weights after ROUNDS passes of logistic regression over the messages."""
    rate, order = RATE, list(messages)
    for _ in range(ROUNDS):
        rng.shuffle(order)
        for found, is_shell in order:
            known = ["", *(cue for cue in found if cue in weights)]
            score = sum(weights[cue] for cue in known)
            error = is_shell - 1 / (1 + exp(-max(-30.0, min(30.0, score))))
            if abs(error) > 0.01:  # most messages are clear
                for cue in known:
                    weights[cue] += rate * error
        rate *= DECAY
    return weights


def shell_questions(wordings: Sequence[str], rng: Random) -> Iterator[str]:
    """Questions round the wordings, as people type them."""
    for wording in wordings:
        yield shell_phrasing.ask(rng, wording)
    for _ in range(SHELL_TURNS):
        yield from (m.content for m in shell_basics.one(rng) if m.role == "user")
    for messages in GENERATORS["everyday"](rng, SHELL_TURNS):
        yield from _turns(messages, answered_with_command=True)


def other_turns(corpus: Path, rng: Random) -> Iterator[str]:
    """What users say when they want no command: chats, questions of fact, own talk, and how to do other things."""
    for name in CHATS:
        yield from _some(list(_user_turns(corpus / f"chat/{name}.train.jsonl.xz")), OTHER_TURNS, rng)
    with open_text(corpus / "qa/qa.train.jsonl.xz") as lines:
        rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if not row["kind"].startswith("command") and row["kind"] != "whatis"]
    yield from _some([row["question"] for row in rows], QA_TURNS, rng)
    verbs = [row["answer"] for row in rows if row["kind"] == "definition" and "verb " in row["question"]]
    actions = [text for text in map(shell_phrasing.infinitive, verbs) if text and len(text) < 60]
    for action in _some(actions, VERB_TURNS, rng):
        yield shell_phrasing.ask(rng, action, known=True)
    for name in OTHER_GENERATORS:
        for messages in GENERATORS[name](rng, OWN_TURNS):
            yield from list(_turns(messages, answered_with_command=False)) * OWN_WEIGHT


def _turns(messages: Sequence[Message], *, answered_with_command: bool) -> Iterator[str]:
    """The user's turns of an own conversation whose answers begin with a command, or else do not."""
    for message, reply in pairwise(messages):
        if message.role == "user" and reply.content.startswith("`") == answered_with_command:
            yield message.content


def _user_turns(path: Path) -> Iterator[str]:
    with open_text(path) as lines:
        for line in lines:
            yield from (m["content"] for m in json.loads(line)["messages"] if m["role"] == "user")


def _some(texts: list[str], most: int, rng: Random) -> Iterable[str]:
    kept = [text for text in texts if plain(text) not in heldout_prompts()]
    return rng.sample(kept, most) if len(kept) > most else kept

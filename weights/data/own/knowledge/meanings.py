"""What words mean, and plain facts, in one turn: character, verbs, things, opposites, uses, jobs, kinds. Torch-free.

Its words stand in none of definitions.py, everyday_words.py, explain.py and terms.py; words of the terminal that do
stand there are asked about in other ways here: what they are for, and how they differ.
"""

import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

from weights.data.own.asking import asked, capital, listed
from weights.data.own.phrasing import Conversation, talk
from weights.data.own.tables import rows

_TABLE: dict[str, str] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SYSTEMS = ("You are a helpful assistant.", "Answer briefly.", "Answer in one sentence.", "You are a friendly teacher.")
_PLACE = re.compile(r"\{(\w+)\}")
_COUNTS = {"two": 2, "three": 3}
_PLURAL = frozenset(_TABLE["plural"].split("|"))

Pair = tuple[str, str]


@cache
def words(kind: str) -> tuple[tuple[str, ...], ...]:
    """The rows of `character`, `quality`, `verbs`, `nouns`, `uses` or `jobs`: a word and what is said of it."""
    return tuple(tuple(line.split("|")) for line in _TABLE[kind].strip().splitlines())


@cache
def frames(name: str) -> tuple[str, ...]:
    """The wordings of a question or of an answer."""
    return rows(_TABLE[name])[0][0]


@cache
def both_ways(kind: str) -> dict[str, str]:
    """The pairs of `opposites` or `synonyms`, from both sides unless `>` stands between them."""
    found: dict[str, str] = {}
    pairs = [pair for line in _TABLE[kind].strip().splitlines() for pair in line.split("|")]
    for pair in pairs:
        first, second = re.split("[=>]", pair)
        found.setdefault(first, second)
    for first, second in (pair.split("=") for pair in pairs if "=" in pair):
        found.setdefault(second, first)
    return found


@cache
def comparisons() -> tuple[tuple[str, str, str], ...]:
    """What is more, what is less, and the comparative."""
    lines = (line.split("|") for line in _TABLE["compare"].strip().splitlines())
    found = ((pair.split(" > "), word) for word, pairs in lines for pair in pairs.split(" / "))
    return tuple((more, less, word) for (more, less), word in found)


@cache
def kinds() -> dict[str, tuple[tuple[str, ...], tuple[Pair, ...]]]:
    """Each kind with its members, and with things that are none, which come with what they are."""
    lines = (line.split("|") for line in _TABLE["kinds"].strip().splitlines())
    return {
        kind: (tuple(yes.split(" / ")), tuple((one.split(" = ")[0], one.split(" = ")[1]) for one in no.split(" / ")))
        for kind, yes, no in lines
    }


def _said(frame: str, **values: str) -> str:
    """The answer; a place with a capital letter takes its value with a capital."""
    text = _PLACE.sub(lambda m: values[m[1]] if m[1] in values else capital(values[m[1].lower()]), frame)
    return capital(text)


def _question(name: str, rng: Random, **values: str) -> str:
    """A wording of a question, with its words in small letters now and then."""
    frame = rng.choice(frames(name))
    text = asked(_PLACE.sub(lambda m: values[m[1]], frame), rng, typo=0.03)
    return text.lower() if rng.random() < 0.2 else text


def _pair(ask: str, say: str, rng: Random, **values: str) -> Pair:
    return _question(ask, rng, **values), _said(rng.choice(frames(say)), **values)


def _word(kind: str) -> Callable[[Random], Pair]:
    """An asker after the words of a kind that are `{x}` in its frames, and `{m}` what they mean."""

    def ask(rng: Random) -> Pair:
        word, meaning = rng.choice(words(kind))
        return _pair(f"{kind}_ask", f"{kind}_say", rng, x=word, m=meaning)

    return ask


def _noun(rng: Random) -> Pair:
    term, meaning = rng.choice(words("nouns"))
    many = term in _PLURAL
    values = {"x": term, "y": re.sub(r"^(?:an?|the) ", "", term), "is": "are" if many else "is"}
    return _question("nouns_ask", rng, **values), capital(f"{term} {values['is']} {meaning}.")


def _turned(kind: str, name: str) -> Callable[[Random], Pair]:
    """An asker after an opposite or a word that means the same."""

    def ask(rng: Random) -> Pair:
        word, other = rng.choice(tuple(both_ways(kind).items()))
        return _pair(f"{name}_ask", f"{name}_say", rng, x=word, y=other)

    return ask


def _use(rng: Random) -> Pair:
    thing, use = rng.choice(words("uses"))
    question, said = _pair("use_ask", "use_say", rng, a=thing, u=use)
    if thing in _PLURAL:
        question = re.sub(r"\b(is|was|does) (?=" + thing + ")", "are ", question, flags=re.IGNORECASE)
        return question, said.replace(f"{capital(thing)} is ", f"{capital(thing)} are ")
    return question, said


def _job(rng: Random) -> Pair:
    worker, does, place = rng.choice(words("jobs"))
    kind = rng.random()
    if kind < 0.25 and place != "-":
        return _pair("work_ask", "work_say", rng, a=worker, w=place)
    name = "job" if kind < 0.65 else "who"
    return _pair(f"{name}_ask", f"{name}_say", rng, a=worker, does=does)


def _comparison(rng: Random) -> Pair:
    more, less, word = rng.choice(comparisons())
    first, second = (more, less) if rng.random() < 0.5 else (less, more)
    question = _question("compare_ask", rng, a=first, b=second, c=word)
    return question, _said(rng.choice(frames("compare_say")), a=more, b=less, c=word)


def _kind(rng: Random) -> Pair:
    """Whether a thing is of a kind: as many of one as of the other."""
    kind, (yes, no) = rng.choice(tuple(kinds().items()))
    if rng.random() < 0.5:
        return _pair("kind_ask", "kind_yes", rng, a=rng.choice(yes), k=kind)
    thing, other = rng.choice(no)
    return _pair("kind_ask", "kind_no", rng, a=thing, k=kind, o=other)


def _named(rng: Random) -> Pair:
    kind, many = rng.choice([pair.split("=") for pair in _TABLE["plurals"].split("|")])
    frame = rng.choice(frames("named_ask"))
    count = next(n for word, n in _COUNTS.items() if re.search(rf"\b{word}\b", frame))
    found = [re.sub(r"^an? ", "", one) for one in rng.sample(kinds()[kind][0], count)]
    return asked(frame.replace("{ks}", many), rng, typo=0.03), capital(listed(found)) + "."


def _row(kind: str) -> Callable[[Random], Pair]:
    """An asker after one of the rows of wordings and answers."""

    def ask(rng: Random) -> Pair:
        asks, answers = rng.choice(rows(_TABLE[kind]))
        return asked(rng.choice(asks), rng, typo=0.04), rng.choice(answers)

    return ask


_KINDS: tuple[tuple[Callable[[Random], Pair], int], ...] = (
    (_word("character"), 11),
    (_word("quality"), 12),
    (_word("verbs"), 17),
    (_noun, 14),
    (_turned("opposites", "opposite"), 7),
    (_turned("synonyms", "synonym"), 7),
    (_use, 4),
    (_job, 5),
    (_comparison, 5),
    (_kind, 5),
    (_named, 2),
    (_row("computing"), 5),
    (_row("safety"), 3),
    (_row("facts"), 9),
)


def exchange(rng: Random) -> Pair:
    """A question and its answer."""
    return rng.choices([ask for ask, _ in _KINDS], [weight for _, weight in _KINDS])[0](rng)


def one(rng: Random) -> Conversation:
    """One question."""
    return talk(*exchange(rng), system=rng.choice(_SYSTEMS) if rng.random() < 0.08 else "")

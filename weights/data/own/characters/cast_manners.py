"""Two sorts of talk with the characters of cast.py: those that know the user, and those that mind their manners."""

import re
from random import Random

from weights.data.own.asking import capital
from weights.data.own.characters import cast_characters as cast
from weights.data.own.characters.cast_characters import Character, Fact, Turn, pick, words_of
from weights.data.own.names import person_name
from weights.data.own.phrasing import Conversation, talk
from weights.data.own.tables import rows
from weights.data.own.unusual_names import unusual_name

_KINDS = {"end": 22, "start": 16, "call": 22, "brief": 12, "upper": 4, "lower": 4, "pirate": 7, "never": 13}


def _user_fact(key: str, rng: Random) -> Fact:
    (made,), *fields = rows(cast.TABLE["user"][key])[0]
    return cast.made_fact(f"*{key}", made, tuple(fields), rng)


def _introduced(person: Character, known: list[Fact], rng: Random) -> str:
    """The system prompt: who the user is, who the model is, and what else is known of either."""
    words = dict(person.words)
    predicates = [cast.filled(rng.choice(fact.tells), fact.words) for fact in known]
    if predicates and rng.random() < 0.7:
        user = [cast.filled(pick("who_is_who.both", rng), {**words, "p": predicates[0]})]
        predicates = predicates[1:]
    else:
        user = [cast.filled(pick("who_is_who.names", rng), words)]
    user += [f"{rng.choice((words['u'], 'The user'))} {predicate}." for predicate in predicates]
    own = [cast.filled(pick("who_is_who.self", rng), words)]
    own += cast.sentences(person.facts, "first", words["name"], rng)
    return " ".join(user + own if rng.random() < 0.6 else own + user).replace("..", ".")


def _plain_unknown(rng: Random) -> str:
    return rng.choice([say for say in words_of("talk.unknown_say") if "{" not in say])


def who_is_who(rng: Random) -> Conversation:
    """A prompt that names the user and the model, and questions about the one and the other."""
    person = cast.character(rng, "helper" if rng.random() < 0.7 else "")
    user = person_name(rng) if rng.random() < 0.7 else unusual_name(rng, plain=0.4)
    person.words |= {"u": user, "poss": rng.choice(("her", "his", "their", "their", "the user's"))}
    keys = rng.sample(tuple(cast.TABLE["user"]), 3)
    known = [_user_fact(key, rng) for key in keys[: rng.choices((0, 1, 2), (15, 60, 25))[0]]]
    if rng.random() < 0.35:
        person.facts = cast.drawn_facts(person.group, rng.choice((1, 1, 2)), rng)
    person.system = _introduced(person, known, rng)
    sorts = ["my_name", "my_name", "your_name", "your_name", "help", "hello", "name", "unknown"]
    sorts += ["known"] * 2 * len(known) + ["own"] * len(person.facts)
    turns: list[Turn] = []
    for sort in dict.fromkeys(rng.sample(sorts, rng.choices((1, 2, 3), (40, 36, 24))[0])):
        if sort == "known":
            turns.append(cast.fact_turn(rng.choice(known), rng))
        elif sort == "own":
            turns.append(cast.fact_turn(rng.choice(person.facts), rng))
        elif sort == "name":
            turns.append(cast.talk_turn("name", person, rng))
        elif sort == "unknown":
            if rng.random() < 0.5:
                asks = _user_fact(keys[2], rng)
                if "w" not in asks.words and keys[2] not in ("number", "car", "job"):
                    turns.append((cast.typed(rng.choice(asks.pairs[0][0]), asks.words, rng), _plain_unknown(rng)))
        else:
            said = cast.filled(pick(f"who_is_who.{sort}_say", rng), person.words)
            turns.append((cast.typed(pick(f"who_is_who.{sort}", rng), person.words, rng), said))
    turns = turns or [cast.talk_turn("who", person, rng)]
    return talk(*(text for turn in turns for text in turn), system=person.system)


def _plain_row(rng: Random) -> tuple[str, str, str]:
    asks, (answer,), (word,) = rng.choice(rows(cast.TABLE["plain"]["rows"]))
    return rng.choice(asks), answer, word


def _with_call(answer: str, called: str, rng: Random) -> str:
    if rng.random() < 0.25:
        return f"{rng.choice(('Gladly', 'Of course', 'Certainly', 'Well'))}, {called}. {answer}"
    return f"{answer[:-1]}, {called}{answer[-1]}"


def _manner(kind: str, rng: Random) -> tuple[str, str]:
    """The instruction, and the words that it asks for."""
    if kind in ("end", "start"):
        said = pick(f"manner.{kind}s", rng)
        quoted = rng.choice(('"', "'"))
        text = pick(f"manner.{kind}", rng).replace("{q}", f"{quoted}{said}{quoted}")
        return re.sub(r"([.!?])(['\"])\.$", r"\1\2", text), said
    if kind == "call":
        called = pick("manner.calls", rng)
        marked = f"'{called}'" if rng.random() < 0.2 else called
        return pick("manner.call", rng).replace("{x}", marked), called
    return pick(f"manner.{kind}", rng), ""


def _kept(kind: str, said: str, answer: str, rng: Random) -> str:
    """The answer as the instruction wants it."""
    if kind == "end":
        return f"{answer} {said}"
    if kind == "start":
        return f"{said} {answer}"
    if kind == "call":
        return _with_call(answer, said, rng)
    if kind == "pirate":
        mine = re.sub(r"\b([Mm])y\b", r"\1e", answer)
        return f"{pick('manner.pirates', rng)} {mine}"
    return answer.upper() if kind == "upper" else answer.lower() if kind == "lower" else answer


def _brief_turn(person: Character, rng: Random) -> Turn:
    """A question that one word answers."""
    short = [fact for fact in person.facts if re.fullmatch(r"[\w-]+", fact.words["v"])]
    if rng.random() < 0.2 and " " not in person.words["name"]:
        return cast.typed(pick("talk.name", rng), person.words, rng), f"{person.words['name']}."
    if short and rng.random() < 0.6:
        fact = rng.choice(short)
        asks = [ask for ask in fact.pairs[0][0] if not ask.startswith(("how many languages", "do you", "are you"))]
        return cast.typed(rng.choice(asks), fact.words, rng), f"{fact.words['V']}."
    ask, _, word = _plain_row(rng)
    return cast.typed(ask, {}, rng), word


def _avoided(person: Character, rng: Random) -> tuple[str, Turn]:
    """A topic that must not be mentioned, and a question that asks for it."""
    topic, asks = pick("manner.nevers", rng).split(" = ")
    text = capital(pick("manner.never", rng).replace("{x}", topic))
    mine = topic.replace("your ", "my ")
    said = cast.filled(pick("manner.never_say", rng), {**person.words, "x": mine})
    return text, (cast.typed(rng.choice(asks.split(" ; ")), {}, rng), capital(said))


def mannered(rng: Random) -> Conversation:
    """A character with an instruction of manner, which is kept whatever is asked."""
    person = cast.whole_character(rng)
    kind = rng.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
    count = rng.choices((1, 2, 3), (50, 34, 16))[0]
    turns: list[Turn] = []
    if kind == "never":
        said = ""
        text, turn = _avoided(person, rng)
        turns = [*cast.role_turns(person, count - 1, rng), turn] if rng.random() < 0.75 else []
    else:
        text, said = _manner(kind, rng)
    while len(turns) < count:
        if kind == "brief":
            turn = _brief_turn(person, rng)
        elif rng.random() < 0.5:
            ask, answer, _ = _plain_row(rng)
            turn = cast.typed(ask, {}, rng), answer
        else:
            turn = cast.role_turns(person, 1, rng)[0]
        if turn[0] not in dict(turns):
            turns.append((turn[0], turn[1] if kind == "brief" else _kept(kind, said, turn[1], rng)))
    end = person.system if person.system[-1] in ".!?\"'" else f"{person.system}."
    system = f"{text} {end}" if rng.random() < 0.2 else f"{end} {text}"
    return talk(*(text for turn in turns for text in turn), system=system)

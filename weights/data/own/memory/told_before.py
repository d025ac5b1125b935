"""What the model itself said, and questions about it: the second step, the name it gave, its choice. Torch-free."""

from random import Random

from weights.data.own.memory.told_values import Words, expanded, read, said, typed, value, wordings

_T = read("told_before")
_ORDER = ("first", "second", "third", "fourth")
# Values that a recipe names more than once.
_ONCE = ("main", "fruit", "drink", "hue", "gift", "instrument", "language", "file", "server", "folder", "lowname")
_NUMBERS = ("zero", "one", "two", "three", "four")


def _list(rng: Random) -> list[str]:
    table, n = _T["list"], rng.choice((2, 3, 3, 4))
    kind, source = rng.choice(wordings(table["kinds"])).split("=")
    things: list[str] = []
    while len(things) < n:
        thing = value(source, rng)
        if thing not in things:
            things.append(thing)
    all_things = f"{', '.join(things[:-1])} and {things[-1]}"
    words: Words = {"n": rng.choice((str(n), _NUMBERS[n])), "k": kind, "all": all_things}
    turns = [typed(table["give"], words, rng), said("{All}.", words, rng)]
    at = rng.randrange(n)
    words |= {"o": _ORDER[at], "x": things[at]}
    form = rng.random()
    if form < 0.6:
        ask = table["nth"] if at < n - 1 or rng.random() < 0.5 else table["nth"].replace("{o}", "last")
        return [*turns, typed(ask, words, rng), said(table["nth_say"].replace("The {o}: {x}.", "{X}."), words, rng)]
    if form < 0.78:
        return [*turns, typed(table["again"], words, rng), said("{All}.", words, rng)]
    if form < 0.86:
        return [*turns, typed(table["count"], words, rng), said(table["count_say"], words, rng)]
    true = rng.random() < 0.5
    if not true:
        words["x"] = value(source, rng)
        true = words["x"] in things
    return [*turns, typed(table["had"], words, rng), said(table["yes" if true else "no"], words, rng)]


def _petname(rng: Random) -> list[str]:
    table, words = _T["petname"], {"x": value("pet_name", rng), "k": value("pet", rng)}
    turns = [typed(table["give"], words, rng), said(table["said"], words, rng)]
    if rng.random() < 0.65:
        turns += [typed(table["ask"], words, rng), said(table["say"], words, rng)]
    return turns if len(turns) > 2 and rng.random() < 0.7 else [*turns, *_why(table, words, rng)]


def _why(table: dict[str, str], words: Words, rng: Random) -> list[str]:
    return [typed(table["why"], words, rng), said(table["because"], words, rng)]


def _choice(rng: Random) -> list[str]:
    table, kind = _T["choice"], rng.choice(_T["choice"]["kinds"].split())
    a = b = value(kind, rng)
    while a == b:
        b = value(kind, rng)
    x, y = rng.sample((a, b), 2)
    words = {"a": a, "b": b, "x": x, "y": y}
    turns = [typed(table["give"], words, rng), said(table["said"], words, rng)]
    form = rng.random()
    if form < 0.55:
        turns += [typed(table["ask"], words, rng), said(table["say"], words, rng)]
    elif form < 0.7:
        turns += [typed(table["other"], words, rng), said(table["other_say"], words, rng)]
    return turns if len(turns) > 2 and rng.random() < 0.7 else [*turns, *_why(table, words, rng)]


def _number(rng: Random) -> list[str]:
    table, top = _T["number"], rng.choice((10, 20, 50, 100, 100, 1000))
    x, p = rng.randint(1, top), rng.randint(1, 9)
    words = {"x": str(x), "top": str(top), "over": str(top + 1), "p": str(p), "s": str(x + p)}
    turns = [typed(table["give"], words, rng), said(table["said"], words, rng)]
    if top <= 100 and rng.random() < 0.3:
        return [*turns, typed(table["plus"], words, rng), said(table["plus_say"], words, rng)]
    return [*turns, typed(table["ask"], words, rng), said(table["say"], words, rng)]


def _steps(rng: Random) -> list[str]:
    table, line = _T["steps"], rng.choice(_T["steps"]["list"].strip().splitlines())
    fixed = {k: value(k, rng) for k in _ONCE}
    fixed |= {"m": str(rng.randint(20, 45)), "h": str(rng.randint(2, 6))}
    for key, word in fixed.items():
        line = line.replace(f"{{{key}}}", word)
    task, first, second, short = expanded(line, rng).split(" :: ")
    words: Words = {"t": task, "f": first, "s": second}
    form = "First, {f}. Then {s}. / 1. {F}. 2. {S}. / Step 1: {f}. Step 2: {s}."
    turns = [typed(table["give"], words, rng), said(form, {**words, "s": second.removeprefix("then ")}, rng)]
    kind = rng.random()
    if kind < 0.6:
        at = rng.randrange(2)
        words |= {"x": (first, second.removeprefix("then "))[at], "o": _ORDER[at], "n": str(at + 1)}
        return [*turns, typed(table["again"], words, rng), said(table["again_say"], words, rng)]
    if kind < 0.7:
        return [*turns, typed(table["after"], words, rng), said("{S}.", {"s": second.removeprefix("then ")}, rng)]
    if kind < 0.86:
        return [*turns, typed(table["short"], words, rng), said("{S}.", {"s": short}, rng)]
    return [*turns, typed(table["thing"], words, rng), said(table["thing_say"], words, rng)]


def turns(rng: Random) -> list[str]:
    """Something said by the model, and what is asked about it."""
    return rng.choice((_list, _petname, _choice, _number, _steps))(rng)

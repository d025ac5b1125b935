"""Two or three turns of which the last needs what was said before: a file, a host, one of two facts. Torch-free.

followups.py renames the literals of written chains; here every name is built anew, as in arguments.py, and follow-ups
are short. Facts that the user told count too: his editor, his server, the day of his flight, corrected now and then.
"""

import re
from collections.abc import Callable
from random import Random

from weights.data.own.asking import capital
from weights.data.own.knowledge import arithmetic, definitions
from weights.data.own.memory import told_values
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.shell import commands, shell, shell_phrasing
from weights.data.own.shell.argument_values import value
from weights.data.own.shell.arguments import PLACE, Words, filled, in_command
from weights.data.own.shell.next_steps_table import TABLE, Chain, Pair, Turn, chains, known, pairs
from weights.data.own.talk.situations import one_of

_TOLD: dict[str, str] = TABLE["told"]
_GENERAL: dict[str, str] = TABLE["general"]
# After these the things that were spoken of are no longer where they were: such a turn is the last one.
_LAST = re.compile(
    r"(?:sudo )?(?:mv|rm|rmdir|shred|gzip|gunzip|xz|unset|unalias|exit|kill|pkill|truncate|docker rmi|crontab -r|"
    r"find .* -delete|deluser|umount|git branch -[dm]|git tag -d|tmux (?:rename|kill)|screen .* quit|"
    r"apt (?:remove|purge))\b"
)
# Wordings that no "great, ..." goes before.
_BARE = re.compile(
    r"(?:no|not|but|it|it's|its|oops|wait|permission|that|there|they|i|i'm|nobody|who|target|by|as|ok)\b", re.I
)
_FILES = ("file", "bare", "name", "log", "zip", "archive", "csv", "sh")
_SPACED = ("file", "bare", "name", "new", "word", "v", "o")
_OTHERS = ("host", "user", "port", "branch", "service", "pkg", "proc", "dir", "single", "pid", "url", "tag")


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split(" / "))


def _ending(kind: str, end: str, rng: Random) -> str:
    while True:
        drawn = value(kind, "", {}, rng)
        if drawn.endswith(end) and " " not in drawn:
            return drawn


def _box(rng: Random) -> str:
    kind = rng.choice(("short", "short", "single", "host", "ip", "name"))
    drawn = value(kind, "", {}, rng)
    return f"{drawn}{rng.randint(1, 20)}" if kind in ("short", "single") and rng.random() < 0.5 else drawn


def _value(kind: str, command: str, words: Words, rng: Random) -> str:
    """A value for a place, those of arguments.toml and a few more."""
    if kind in TABLE["lists"]:
        return rng.choice(_split(TABLE["lists"][kind]))
    if kind == "box":
        return _box(rng)
    if kind in ("sh", "py"):
        return _ending("sh" if kind == "sh" else "bare", f".{kind}", rng)
    if kind == "d":
        return str(rng.randint(2, 9))
    if kind == "hour":
        return str(rng.randint(0, 23))
    if kind == "project":
        return words["repo"].rsplit("/", 1)[1].removesuffix(".git")
    return value(kind, command, words, rng)


def draw(words: Words, rng: Random, *texts: str, command: str = "") -> Words:
    """The words, with one more for each place of the texts that has none yet; all differ."""
    words = dict(words)
    for name in PLACE.findall(" ".join(texts)):
        while name not in words:
            drawn = _value(name.rstrip("23"), command, words, rng)
            if drawn not in words.values() or name == "project":
                words[name] = drawn
    return words


def _typed(pattern: str, words: Words, rng: Random) -> str:
    """What a user types; names with spaces mostly stand in quotes."""
    shown = {}
    for name, text in words.items():
        is_bare = " " in text and name.rstrip("23") in _SPACED and f'"{{{name}}}"' not in pattern
        mark = rng.choice('""\'') if is_bare and rng.random() < 0.85 else ""
        shown[name] = f"{mark}{text}{mark}"
    return filled(vary(pattern, rng, lead=0, typo=0.03), shown)


def _follow(pattern: str, words: Words, rng: Random) -> str:
    text = one_of(pattern, rng)
    if rng.random() < 0.16 and not _BARE.match(text):
        text = rng.choice(_split(TABLE["leads"])).replace("{x}", text)
    return _typed(text if rng.random() < 0.6 else capital(text), words, rng)


def _says(turn: Turn, words: Words, rng: Random) -> str:
    if not turn.command:
        return filled(turn.explain, words)
    return shell_phrasing.answer(rng, in_command(turn.command, words), filled(turn.explain, words))


def _first(chain: Chain, rng: Random) -> tuple[list[str], Words]:
    """The first task and its answer, in one of many forms."""
    ask = one_of(rng.choice(chain.first.asks), rng)
    words = draw({}, rng, chain.first.command, ask, command=chain.first.command)
    framed = ask[1:] if ask.startswith("=") else rng.choice(_split(TABLE["frames"])).replace("{x}", ask)
    asked = _typed(framed, words, rng)
    return [asked, _freely(chain.first, words, rng)], words


def _freely(turn: Turn, words: Words, rng: Random) -> str:
    """The command in one of the forms in which an answer may have named it."""
    explain = shell_phrasing.sentence(filled(turn.explain, words))
    if all(ask.startswith("=") for ask in turn.asks):  # what is asked for is the command itself
        return f"{shell_phrasing.code(turn.command)} {explain[:1].lower()}{explain[1:]}"
    form = rng.choice(_split(TABLE["forms"]))
    return form.replace("{c}", shell_phrasing.code(in_command(turn.command, words))).replace("{E}", explain)


def _next(turn: Turn, words: Words, rng: Random) -> tuple[list[str], Words]:
    ask = rng.choice(turn.asks)
    words = draw(words, rng, turn.command, ask, turn.explain, command=turn.command)
    return [_follow(ask, words, rng), _says(turn, words, rng)], words


def _picked(turns: tuple[Turn, ...], n: int, rng: Random) -> list[Turn]:
    """Up to n of the turns, of different tools; one that takes the thing away comes last."""
    chosen = [rng.choice(turns)]
    rest = [turn for turn in turns if _tool(turn) != _tool(chosen[0]) and not turn.is_next]
    if n > 1 and rest:
        other = rng.choice(rest)
        if not _is_last(chosen[0]):
            chosen.append(other)
        elif not _is_last(other) and not chosen[0].is_next:
            chosen.insert(0, other)
    return chosen


def _tool(turn: Turn) -> str:
    """The command without its options and names; of `git push` both words."""
    words = turn.command.removeprefix("sudo ").split() or [""]
    return " ".join(words[:2]) if len(words) > 1 and re.fullmatch("[a-z]+", words[1]) else words[0]


def _is_last(turn: Turn) -> bool:
    return _LAST.match(turn.command) is not None or any(
        " instead" in ask or ask.startswith("rather ") for ask in turn.asks
    )


def _between(rng: Random) -> list[str]:
    """One turn about something else."""
    kind = rng.random()
    if kind < 0.4:
        return list(definitions.exchange(rng))
    if kind < 0.7:
        return [message.content for message in arithmetic.one(rng) if message.role != "system"][:2]
    return list(shell.exchange(rng)[:2])


def _tasks(rng: Random) -> list[str]:
    """A task and one or two follow-ups."""
    chain = rng.choices(chains(), [len(chain.more) for chain in chains()])[0]
    said, words = _first(chain, rng)
    for turn in _picked(chain.more, rng.choice((1, 1, 2)), rng):
        more, words = _next(turn, words, rng)
        said += more
    return said


def _other(words: Words, command: str, rng: Random) -> tuple[str, Words, bool] | None:
    """A place of the command, the words with another value for it, and whether no other place could be meant."""
    names = [name for name in words if name in (*_FILES, *_OTHERS) and f"{{{name}}}" in command]
    if not names:
        return None
    name = rng.choice(names)
    rest = {key: text for key, text in words.items() if key != name}
    drawn = words[name]
    while drawn in words.values():
        drawn = _value(name, command, rest, rng)
    return name, {**words, name: drawn}, len(words) == 1


def _changed(rng: Random) -> list[str]:
    """A task, the same for another name, and perhaps a follow-up, which then is about the other name."""
    changed = None
    while changed is None:
        chain = rng.choice(chains())
        said, words = _first(chain, rng)
        changed = _other(words, chain.first.command, rng)
    name, new, is_clear = changed
    asks = _split(_GENERAL["same" if is_clear and rng.random() < 0.5 else "instead"])
    ask = rng.choice([ask for ask in asks if is_clear or "{o}" in ask])
    spoken = {**new, "v": new[name], "o": words[name]}
    said += [_follow(ask, spoken, rng), _says(chain.first, new, rng)]
    if rng.random() < 0.4:
        said += _next(rng.choice(chain.more), new, rng)[0]
    return said


def _why(command: str, rng: Random) -> list[str]:
    """What an option of the command is for, if the tables know one of its options."""
    parts = command.removeprefix("sudo ").split()
    found: list[tuple[str, str]] = []
    for tool, flag, _, meaning, *_rest in commands.table("options"):
        is_here = any(flag == part or _holds(part, flag) for part in parts[1:])
        if tool == parts[0] and is_here and not any(flag == other for other, _ in found):
            found.append((flag, meaning))
    if not found:
        return []
    flag, meaning = rng.choice(found)
    ask = rng.choice(_split(_GENERAL["why"])).replace("{f}", "⟦")
    typed = vary(ask, rng, lead=0, typo=0.02).replace("⟦", flag)
    return [typed, rng.choice(_split(_GENERAL["because"])).replace("{f}", flag).replace("{d}", meaning)]


def _holds(part: str, flag: str) -> bool:
    """Whether a bundle of options such as -rl holds the flag -r."""
    return re.fullmatch(r"-[a-zA-Z]{2,4}", part) is not None and re.fullmatch(f"-[{part[1:]}]", flag) is not None


def _spaces(turn: Turn, words: Words, rng: Random) -> list[str]:
    """The same command for a name that has a space."""
    names = [name for name in ("file", "bare", "name") if f" {{{name}}}" in f" {turn.command}" and name in words]
    names = [name for name in names if re.search(rf"(?:^| )\{{{name}\}}(?: |$)", turn.command)]
    if not names or "/" in words[names[0]] or turn.command.count(f"{{{names[0]}}}") > 1:
        return []
    name = names[0]
    spaced = {**words, name: f"{rng.choice(_split(_GENERAL['heads']))} {words[name].split(' ')[-1]}"}
    ask = rng.choice(_split(_GENERAL["spaces"]))
    return [_follow(ask.replace("{v}", f"{{{name}}}"), spaced, rng), _says(turn, spaced, rng)]


def _about(rng: Random) -> list[str]:
    """Questions about the command that was given: what it did, why an option, how it was."""
    while True:
        chain = rng.choice(chains())
        said, words = _first(chain, rng)
        command, kind = in_command(chain.first.command, words), rng.random()
        if kind < 0.35:
            more = _why(command, rng)
        elif kind < 0.6:
            more = _spaces(chain.first, words, rng)
        elif kind < 0.8:
            ask = vary(rng.choice(_split(_GENERAL["what"])), rng, lead=0, typo=0.03)
            more = [ask, shell_phrasing.sentence(filled(chain.first.explain, words))]
        else:
            said += _next(rng.choice(chain.more), words, rng)[0]
            ask = vary(rng.choice(_split(_GENERAL["again"])), rng, lead=0, typo=0.03)
            more = [ask, rng.choice(_split(_GENERAL["it_was"])).replace("{c}", shell_phrasing.code(command))]
        if more:
            return said + more


def _own(rng: Random) -> list[str]:
    """A fact about the user's machine, then requests that need it."""
    chain = rng.choices(known(), [1 + len(chain.more) for chain in known()])[0]
    tell = one_of(rng.choice(chain.first.asks), rng)
    words = draw({}, rng, tell)
    got = rng.choice(_split(_GENERAL["got"] if rng.random() < 0.4 else _TOLD["got"]))
    said = [_typed(tell if rng.random() < 0.5 else capital(tell), words, rng), got]
    turns = _picked(chain.more, rng.choice((1, 1, 1, 2)), rng)
    if len(turns) == 1 and rng.random() < 0.3:
        said += _between(rng)
    for turn in turns:
        more, words = _next(turn, words, rng)
        said += more
    return said


def _pair_words(pair: Pair, rng: Random) -> Words:
    words: Words = {}
    for letter, kind in pair.kinds.items():
        drawn = ""
        while not drawn or drawn.lower() in (text.lower() for text in words.values()):
            drawn = told_values.value(kind, rng)
        words[letter] = drawn
    return words


def _asked(pair: Pair, letter: str, words: Words, rng: Random) -> list[str]:
    asks, says = rng.choice([(asks, says) for at, asks, says in pair.questions if at == letter])
    return [told_values.typed(asks, words, rng, lead=0.03), told_values.said(says, words, rng)]


def _two(rng: Random) -> list[str]:
    """Two facts in one turn, one of them asked for, or one after the other."""
    pair = rng.choice(pairs())
    words = _pair_words(pair, rng)
    said = [told_values.typed(pair.tells, words, rng, lead=0.03), told_values.said(_TOLD["got"], words, rng)]
    letters = rng.sample([letter for letter, _, _ in pair.questions], 2)
    kind = rng.random()
    if kind < 0.3:
        said += _between(rng)
    if 0.3 <= kind < 0.55:
        said += _asked(pair, letters[1], words, rng)
    return said + _asked(pair, letters[0], words, rng)


def _corrected(rng: Random) -> list[str]:
    """Two facts of which the user corrects one, in the same breath or in a turn of its own."""
    pair = rng.choice(pairs())
    words = _pair_words(pair, rng)
    letter = rng.choice("ab")
    drawn = words[letter]
    while drawn.lower() in (text.lower() for text in words.values()):
        drawn = told_values.value(pair.kinds[letter], rng)
    fix = {"o": words[letter], "n": drawn}
    tell, sorry = told_values.typed(pair.tells, words, rng, lead=0), told_values.typed(_TOLD["fix"], fix, rng, lead=0)
    if rng.random() < 0.35:
        said = [f"{tell}{'' if tell[-1] in '.?!' else '.'} {sorry}", told_values.said(_TOLD["fixed"], fix, rng)]
    else:
        got = told_values.said(_TOLD["got"], words, rng)
        said = [tell, got, sorry, told_values.said(_TOLD["fixed"], fix, rng)]
    words[letter] = drawn
    asked = letter if rng.random() < 0.75 else rng.choice([at for at, _, _ in pair.questions])
    return said + _asked(pair, asked, words, rng)


_SHAPES: tuple[tuple[Callable[[Random], list[str]], int], ...] = (
    (_tasks, 32),
    (_changed, 8),
    (_about, 8),
    (_own, 17),
    (_two, 25),
    (_corrected, 10),
)


def one(rng: Random) -> Conversation:
    """One conversation of two or three turns; the last needs an earlier one."""
    shape = rng.choices([shape for shape, _ in _SHAPES], [weight for _, weight in _SHAPES])[0]
    return talk(*shape(rng))

"""What a command, option, symbol, key, file or word of the shell is, and which command does a plain thing. Torch-free.

A command is one row with what it does, its name, an example and a related command: so a second question can go on.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from weights.data.own.asking import capital
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.shell import everyday, shell_basics, shell_phrasing
from weights.data.own.tables import entries as read_entries

entries = cache(read_entries)
_TABLE: dict[str, str] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_CTRL = re.compile(r"ctrl-([a-z])")
_PLAIN_TERM = re.compile(r"(?:chmod|rwx|std|systemd|sudoers|localhost|origin)")
_SAID = re.compile(r"^\w+ me\b|\bI\b|,|\bplease\b|^\S+\.\w+ ")  # a request that does not follow "how do I"
MOST_WORDS = 25  # of an answer that takes an example with it

Turn = tuple[str, str, str]  # what is asked, what is said, and the command that both are about, or ""


@dataclass(frozen=True)
class Command:
    """A row of `commands`; stands and the phrases may be empty."""

    name: str
    does: str
    stands: str
    example: str
    says: str
    related: str
    is_opposite: bool
    phrases: tuple[str, ...]


@cache
def table(name: str) -> tuple[tuple[str, ...], ...]:
    """The rows of a table, their fields parted by ` :: `; "-" is an empty field, but the symbol in the first one."""
    lines = (line.split(" :: ") for line in _TABLE[name].strip().splitlines())
    return tuple(tuple("" if at and f.strip() == "-" else f.strip() for at, f in enumerate(line)) for line in lines)


@cache
def commands() -> dict[str, Command]:
    """The commands by their names."""
    found = {}
    for name, does, stands, example, related, phrases in table("commands"):
        use, says = example.split(" => ")
        other, opposite = related.removeprefix("!"), related.startswith("!")
        found[name] = Command(name, does, stands, use, says, other, opposite, tuple(phrases.split(" / ")))
    return found


@cache
def _dangers() -> dict[str, str]:
    return {row[0]: row[1] for row in table("dangers")}


@cache
def _options_of(name: str) -> tuple[tuple[str, ...], ...]:
    return tuple(row for row in table("options") if row[0] == name)


def _asked(frames: str, rng: Random, **words: str) -> str:
    """A question from one of the wordings; the words of one letter stay as they are, others are typed like the rest."""
    text = rng.choice(entries(_TABLE[frames]))
    for key, word in words.items():
        text = text.replace(f"{{{key}}}", f"⟦{key}⟧" if key not in "rnpd" else word)
    text = vary(text if rng.random() < 0.6 else capital(text), rng, lead=0.05, typo=0.04)
    for key, word in words.items():
        shown = (
            f"`{word}`"
            if key != "k" and not frames.startswith("term") and "`" not in word and rng.random() < 0.12
            else word
        )
        text = text.replace(f"⟦{key}⟧", shown).replace(f"⟦{key.upper()}⟧", shown)
    return text


def _filled(frames: str, rng: Random, **words: str) -> str:
    text = rng.choice(entries(_TABLE[frames]))
    for key, word in words.items():
        text = text.replace(f"{{{key}}}", word)
    return text


def _stop(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def does(command: Command, rng: Random) -> str:
    """One sentence about what a command does, at times with an example."""
    said = f"{rng.choice((f'`{command.name}`', f'`{command.name}`', 'It'))} {command.does}."
    longer = f"{said} For example, `{command.example}` {_stop(command.says)}"
    return longer if rng.random() < 0.3 and len(longer.split()) <= MOST_WORDS else said


def _stands(command: Command, rng: Random) -> str:
    if not command.stands:
        return _filled("no_name", rng, x=command.name, d=command.does)
    verb = "is" if command.stands.startswith(("named", "French", "cat, b")) else "stands for"
    return f"`{command.name}` {verb} {command.stands}: it {command.does}."


def _example(command: Command, rng: Random) -> str:
    return shell_phrasing.answer(rng, command.example, command.says)


def _opposite(command: Command) -> str:
    other = commands()[command.related]
    if command.is_opposite:
        return f"The opposite of `{command.name}` is `{other.name}`: it {other.does}."
    return f"`{command.name}` has no real opposite. Related is `{other.name}`: it {other.does}."


def _related(command: Command) -> str:
    other = commands()[command.related]
    return f"`{other.name}` {'is its opposite: it' if command.is_opposite else 'is related: it'} {other.does}."


def danger(name: str) -> str:
    """Whether a command is dangerous, in one or two sentences; empty where the tables do not say."""
    if name in _dangers():
        return f"Be careful with `{name}`. {_dangers()[name]}"
    if name in _TABLE["harmless"].split():
        return f"`{name}` is harmless: it {commands()[name].does}."
    return ""


def _danger_says(asked: str, name: str) -> str:
    """The answer with the yes or no that the question wants: "is it safe" and "can it do harm" differ."""
    if "how" in asked.lower():
        return danger(name)
    yes = (name in _dangers()) != (re.search(r"safe|harmless", asked, re.IGNORECASE) is not None)
    return f"{'Yes' if yes else 'No'}. {danger(name)}"


def _option_says(row: tuple[str, ...], asked: str, rng: Random) -> str:
    tool, flag, use, meaning, full = row
    said = _filled("option_says", rng, x=tool, f=flag, u=use, d=meaning)
    return f"{said} It stands for {full}." if full and ("stand" in asked or rng.random() < 0.4) else said


def _about_command(rng: Random) -> Turn:
    command = rng.choice(tuple(commands().values()))
    x, kind = command.name, rng.random()
    if kind < 0.55:
        return _asked("does_asks", rng, x=x), does(command, rng), x
    if kind < 0.64 and (command.stands or x in _TABLE["words"].split()):
        return _asked("stands_asks", rng, x=x), _stands(command, rng), x
    if kind < 0.78:
        return _asked("example_asks", rng, x=x), _example(command, rng), x
    if kind < 0.86:
        return _asked("opposite_asks", rng, x=x), _opposite(command), x
    if kind < 0.9:
        return _asked("related_asks", rng, x=x), _related(command), x
    return shell_phrasing.explain_question(rng, command.example), f"It {_stop(command.says)}", x


def _which(rng: Random) -> Turn:
    command = rng.choice(tuple(commands().values()))
    asked = _asked("which_asks", rng, r=rng.choice((*command.phrases, command.does.split(";")[0])).replace("`", ""))
    return asked, _filled("which_says", rng, x=command.name, d=command.does), command.name


def _danger(rng: Random) -> Turn:
    name = rng.choice(tuple(_dangers()) * 2 + tuple(_TABLE["harmless"].split()))
    asked = _asked("danger_asks", rng, x=name)
    return asked, _danger_says(asked, name), name if name in commands() else ""


def _option(rng: Random) -> Turn:
    row = rng.choice(table("options"))
    if rng.random() < 0.12:
        alone = [other for other in _options_of(row[0]) if other[3] == row[3]]
        asked = _asked("has_option_asks", rng, x=row[0], d=row[3])
        return asked, f"The option `{alone[0][1]}`, as in `{alone[0][2]}`.", row[0]
    asked = _asked("option_asks", rng, x=row[0], f=row[1], u=row[2])
    return asked, _option_says(row, asked, rng), row[0]


def _symbol(rng: Random) -> Turn:
    sign, names, meaning, example = rng.choice(table("symbols"))
    name = rng.choice(names.split(" / "))
    if example and rng.random() < 0.25:
        use, says = example.split(" => ")
        return _asked("symbol_example", rng, x=sign, n=name), shell_phrasing.answer(rng, use, says), ""
    shown = "The backtick" if sign == "`" else f"`{sign}`"
    return _asked("symbol_asks", rng, x=sign, n=name), f"{shown} {meaning}.", ""


def _file(rng: Random) -> Turn:
    path, what, wanted = rng.choice(table("files"))
    if rng.random() < 0.3:
        return vary(f"{wanted}?", rng, lead=0.05, typo=0), f"`{path}`: it {what}.", ""
    return _asked("file_asks", rng, x=path), f"{rng.choice((f'`{path}`', f'`{path}`', 'It'))} {what}.", ""


def _term(rng: Random) -> Turn:
    term, verb, meaning = rng.choice(table("terms"))
    shown = f"`{term}`" if _PLAIN_TERM.match(term) else capital(term)
    bare = re.sub(r"^(?:an?|the) ", "", term)
    return (
        _asked("term_plural" if verb == "are" else "term_asks", rng, x=term, y=bare),
        f"{shown} {verb} {meaning}.",
        "",
    )


def _key_shown(key: str, rng: Random) -> str:
    """A key as people write it: ctrl-c, Ctrl+C, control c."""
    match = _CTRL.fullmatch(key)
    if not match or rng.random() < 0.35:
        return key
    x = match[1]
    return rng.choice((f"Ctrl+{x.upper()}", f"ctrl+{x}", f"ctrl {x}", f"Ctrl-{x.upper()}", f"control {x}"))


def _key(rng: Random) -> Turn:
    key, where, what, wanted = rng.choice(table("keys"))
    if rng.random() < 0.5:
        if where:
            return _asked("key_in_asks", rng, k=_key_shown(key, rng), p=where), f"In {where}, {key} {what}.", ""
        return _asked("key_asks", rng, k=_key_shown(key, rng)), f"{capital(key)} {what}.", ""
    frames = "how_key_in_asks" if where else "how_key_asks"
    press = f"Type `{key}` and Enter" if key.startswith(":") else f"Press {key}"
    if where == "vim" and key != "Esc" and not key.startswith(":"):
        press += " in command mode"
    if not wanted:
        return _asked("key_asks", rng, k=key), f"{capital(key)} {what}.", ""
    return _asked(frames, rng, r=rng.choice(wanted.split(" / "))), f"{press}: it {what}.", ""


def _program(rng: Random) -> Turn:
    wordings, answer = rng.choice(table("programs"))
    return _asked("program_asks", rng, r=rng.choice(everyday.expand(wordings))), answer, ""


def _difference(rng: Random) -> Turn:
    x, y, answer = rng.choice(table("differences"))
    if rng.random() < 0.35:
        x, y = y, x
    return _asked("difference_asks", rng, x=x, y=y), answer, ""


def _request(rng: Random) -> Turn:
    command, says, asks = rng.choice(table("requests"))
    ask = rng.choice(everyday.expand(rng.choice(asks.split(" / "))))
    asked, command, says = everyday.vary(rng, ask, command, says)
    plain = _SAID.search(asked) is not None or rng.random() < 0.35
    typed = vary(asked, rng, lead=0.08, typo=0) if plain else shell_basics.ask(rng, asked)
    return typed, shell_phrasing.answer(rng, command, says), ""


_KINDS = (_about_command, _which, _request, _option, _symbol, _file, _term, _key, _program, _difference, _danger)
_WEIGHTS = (27, 9, 24, 7, 5, 5, 5, 5, 4, 6, 3)


def _more(name: str, rng: Random) -> tuple[str, str]:
    """A question about the command just spoken of, which it does not name, with its answer."""
    command = commands()[name]
    kinds = ["example", "example", "opposite", "related"]
    kinds += ["danger"] if danger(name) else []
    kinds += ["option", "option"] if _options_of(name) else []
    kind = rng.choice(kinds)
    if kind == "option":
        row = rng.choice(_options_of(name))
        asked = _asked("more_option", rng, f=row[1])
        return asked, _option_says(row, asked, rng)
    asked = _asked(f"more_{kind}", rng)
    answers = {"example": _example(command, rng), "opposite": _opposite(command), "related": _related(command)}
    return asked, answers[kind] if kind in answers else _danger_says(asked, name)


def exchange(rng: Random) -> Turn:
    """One question, its answer, and the command that they are about, or ""."""
    return rng.choices(_KINDS, _WEIGHTS)[0](rng)


def one(rng: Random) -> Conversation:
    """One to three questions; those behind the first go on with its command, or name another."""
    system = rng.choice(everyday.SYSTEM_PROMPTS) if rng.random() < 0.1 else ""
    asked, answer, name = exchange(rng)
    turns = [asked, answer]
    for _ in range(rng.choices((0, 1, 2), (62, 28, 10))[0]):
        if name and rng.random() < 0.75:
            more = _more(name, rng)
            turns += more if more[1] not in turns else ()
        elif name:
            name = rng.choice(tuple(commands()))
            turns += [_asked("and_asks", rng, x=name), does(commands()[name], rng)]
        else:
            asked, answer, name = exchange(rng)
            turns += [asked, answer]
    return talk(*turns, system=system)

"""Commands with their options, read part by part: a form of a command, the options that fit behind it, its arguments.

The same parts make the command and the sentence about it. Torch-free. The families stand in command_families.toml.
"""

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random

from weights.data.own.shell.argument_values import number, value

PLACE = re.compile(r"\{([a-z_]+\d?)\}")
_LETTERS = re.compile(r"-[A-Za-z0-9]+")
_SHOWN = {
    ".": "the current directory",
    "..": "the directory above",
    "~": "your home directory",
    "/": "the root directory",
}
_READS = (
    "df -h",
    "uptime",
    "date",
    "free -h",
    "who",
    "whoami",
    "hostname",
    "w",
    "df",
    "ps aux",
    "ls -l",
    "id",
    "uname -r",
)
_ONLY_READS = re.compile(r"(?:lists|shows|prints|tells|counts|checks whether|searches|looks) ")
_WRITES = re.compile(
    r" itself$| itself |\b(?:writes|saves|deletes|replaces|removes|puts|sets|sends a|DELETE|goes on|clears)\b"
)
Words = dict[str, str]


@dataclass(frozen=True)
class Reading:
    """A command line and what it does; kind: reads, changes, careful or cron.

    options: each option with its meaning. parts: each part of a pipe, or of a mode, with what it does there.
    """

    command: str
    says: str
    kind: str
    warning: str = ""
    options: tuple[tuple[str, str], ...] = ()
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Change:
    """Another command, near to one before: how it is spoken of (without, also, instead, whole) and its reading."""

    how: str
    new: str
    old: str
    then: Reading


@dataclass(frozen=True)
class Extra:
    """An option that fits behind the forms of a family."""

    option: str
    adds: str
    bars: tuple[str, ...]
    is_last: bool


@dataclass
class Family:
    """A command with its forms (options, reading, warning), its extras, and what its options mean."""

    command: str
    kind: str
    forms: list[tuple[str, str, str]] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)
    means: dict[str, str] = field(default_factory=dict)


def _parsed(lines: list[str]) -> list[Family]:
    found: list[Family] = []
    for line in lines:
        mark, _, rest = line.partition(" ")
        fields = [part.strip() for part in f" {rest}".split(" => ")]
        if mark == "$":
            command, _, kind = rest.partition(" :: ")
            found.append(Family(command, kind))
        elif mark == "=":
            says, _, warning = fields[1].partition(" !! ")
            found[-1].forms.append((fields[0], says, warning))
        elif mark == "?":
            found[-1].means[fields[0]] = fields[1]
        else:
            bars = tuple(fields[2].removeprefix("not ").split()) if len(fields) > 2 else ()
            found[-1].extras.append(Extra(fields[0], fields[1], bars, mark == "+>"))
    return found


@cache
def families() -> tuple[Family, ...]:
    """The families of command_families.toml."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return tuple(family for text in table.values() for family in _parsed(text.strip().splitlines()))


def _glob(rng: Random) -> str:
    word, ext = value("single", "", {}, rng)[:4], value("ext", "", {}, rng)
    return rng.choice((f"*.{ext}", f"*.{ext}", f"*.{ext}", f"{word}*", f"{word}*.{ext}", f"*{word}*", f"{word}?.{ext}"))


def drawn(kind: str, command: str, words: Words, rng: Random) -> str:
    """A value for a place: those of argument_values.py, and some of our own."""
    if kind == "where":
        return rng.choice((".", ".", "~", "..", *[value("dir", command, words, rng)] * 5))
    if kind == "glob" or (kind == "files" and rng.random() < 0.25):
        return _glob(rng)
    if kind == "files":
        return value("file", command, words, rng)
    if kind == "c":
        return str(rng.randint(2, 9))
    if kind == "level":
        return str(rng.randint(1, 19))
    if kind == "secs":
        return number(3, 600, rng)
    if kind in ("part", "disk"):
        disk = f"sd{rng.choice('abcdef')}"
        return disk if kind == "disk" else f"{disk}{rng.randint(1, 9)}"
    return rng.choice(_READS) if kind == "cmdread" else value(kind, command, words, rng)


def draw(text: str, words: Words, rng: Random) -> Words:
    """The words, and one more for each place of the text that has none; all differ."""
    words = dict(words)
    for name in PLACE.findall(text):
        while name != "o" and name not in words:
            new = drawn(name.rstrip("23"), text, words, rng)
            if new not in words.values() and " " not in (new if name not in ("phrase", "message", "cmdread") else ""):
                words[name] = new
    return words


def fill(text: str, words: Words) -> str:
    """The text with its places filled as they stand in a command."""
    return PLACE.sub(lambda match: words.get(match[1], match[0]), text)


def _spoken(text: str) -> str:
    """A value as a sentence names it: "*.log" is all .log files here."""
    if text in _SHOWN:
        return _SHOWN[text]
    if not re.search(r"[*?]", text) or " " in text:
        return text
    start, _, end = text.partition("*")
    if "?" in text:
        stem, _, ext = text.partition("?")
        return f"all names here made of {stem}, one more character and {ext}"
    if end.endswith("*"):
        return f"all names here that contain {end[:-1]}"
    if start and end:
        return f"all {end} files here that begin with {start}"
    return f"all {end} files here" if end else f"all names here that begin with {start}"


def say(text: str, words: Words) -> str:
    """The text with its places filled as a sentence names them."""
    return fill(text, {name: _spoken(word) for name, word in words.items()})


def split_options(options: str) -> tuple[str, ...]:
    """ "-la" is -l and -a; options with arguments stay whole."""
    if _LETTERS.fullmatch(options) and not options[1:].isdigit():
        return tuple(f"-{letter}" for letter in options[1:])
    return (options,) if options else ()


def _typed(command: str, form: str, extras: list[Extra], is_joined: bool) -> str:
    """The options in the order in which they are typed, joined to one word where that may be."""
    short = "".join(extra.option[1:] for extra in extras if _LETTERS.fullmatch(extra.option))
    long = [extra.option for extra in extras if not _LETTERS.fullmatch(extra.option)]
    if not short:
        return " ".join([*long, form])
    if is_joined and (_LETTERS.fullmatch(form) or not form):
        if form.endswith(("f", "e")) and command.startswith(("tar", "grep")):
            return " ".join([*long, f"{form[:-1]}{short}{form[-1]}"])
        return " ".join([*long, f"{form or '-'}{short}"])
    return " ".join([*long, *(f"-{letter}" for letter in short), form])


def _joined(says: str, adds: list[str]) -> str:
    """The reading of a form with what its extras add; those that begin with "and" come last."""
    adds = sorted(adds, key=lambda add: add.startswith("and "))
    if any(add.startswith("in {") for add in adds):
        says = says.removesuffix(" here")
    for add in adds:
        comma = (re.search(r", | and | but |; ", says) or add.startswith("but ")) and not add.startswith("in {")
        says = f"{says}{',' if comma else ''} {add}"
    return says


def read(family: Family, form: tuple[str, str, str], extras: list[Extra], words: Words, joined: bool) -> Reading:
    """A command of the family and its reading, from the same parts."""
    options, says, warning = form
    inner = _typed(family.command, options, [extra for extra in extras if not extra.is_last], joined)
    end = " ".join(extra.option for extra in extras if extra.is_last)
    pattern = f"{family.command.replace('{o}', inner)} {end}"
    meanings = []
    for option in (*_tokens(options), *(token for extra in extras for token in _tokens(extra.option))):
        for each in (option,) if option in family.means else split_options(option):
            key = each.split("=")[0]
            if key in family.means:
                meanings.append((key, family.means[key]))
    joined_says = _joined(says, [extra.adds for extra in extras])
    return Reading(
        " ".join(fill(pattern, words).split()),
        say(joined_says, words),
        "careful" if warning else _kind(joined_says, family.kind),
        say(warning, words),
        tuple(dict(meanings).items()),
    )


def _kind(says: str, kind: str) -> str:
    """Whether a form without a warning only reads: its first word tells, unless it writes something too."""
    if says.startswith("deletes "):
        return "careful"
    if _WRITES.search(says):
        return "changes"
    return "reads" if kind == "reads" or _ONLY_READS.match(says) else "changes"


def _tokens(options: str) -> list[str]:
    return [token for token in options.split() if token.startswith("-")]


def _fitting(family: Family, form: tuple[str, str, str]) -> list[Extra]:
    head = form[0].split()[0] if form[0] else "="
    return [extra for extra in family.extras if head not in extra.bars]


def _labels(form: tuple[str, str, str], extras: list[Extra], words: Words) -> list[str]:
    """The options one by one, with their arguments: what "without -r" and "-c instead of -v" speak of."""
    tokens = form[0].split()
    heads = tokens if all(token.startswith("-") for token in tokens) else [form[0]]
    options = (*heads, *(extra.option for extra in extras))
    return [fill(each, words) for option in options for each in split_options(option)]


def _change(before: list[str], after: list[str], then: Reading) -> Change:
    gone = [label for label in before if label not in after]
    come = [label for label in after if label not in before]
    if len(gone) == 1 and not come:
        return Change("without", gone[0], "", then)
    if len(come) == 1 and not gone:
        return Change("also", come[0], "", then)
    if len(come) == 1 and len(gone) == 1:
        return Change("instead", come[0], gone[0], then)
    return Change("whole", "", "", then)


def from_family(family: Family, rng: Random) -> tuple[Reading, Change | None]:
    """A command of the family, and one that differs in an option or an argument."""
    form = rng.choice(family.forms)
    fitting = _fitting(family, form)
    extras = [extra for extra in fitting if rng.random() < (0.45 if len(fitting) == 1 else 0.3)][:2]
    patterns = (family.command, *form, *(extra.option + extra.adds for extra in extras))
    words = draw(" ".join(patterns), {}, rng)
    is_joined = rng.random() < 0.85
    first = read(family, form, extras, words, is_joined)
    kinds = ["form"] * 3 * (len(family.forms) > 1) + ["extra"] * 2 * bool(fitting) + ["word"] * bool(words)
    kind = rng.choice(kinds) if kinds else ""
    other, others = form, extras
    if kind == "form":
        other = rng.choice([each for each in family.forms if each is not form])
        others = [extra for extra in extras if extra in _fitting(family, other)]
    elif kind == "extra":
        toggled = rng.choice(fitting)
        others = [e for e in fitting if (e in extras) != (e is toggled)][:2]
    elif kind == "word":
        name = rng.choice(tuple(words))
        words = {key: word for key, word in words.items() if key != name}
    else:
        return first, None
    before = _labels(form, extras, words)
    words = draw(" ".join((family.command, *other, *(e.option + e.adds for e in others))), words, rng)
    then = read(family, other, others, words, is_joined)
    if kind == "word":
        return first, Change("whole", "", "", then) if then.command != first.command else None
    return first, _change(before, _labels(other, others, words), then)

"""Command lines read aloud: what this command does, with these options and these arguments. Torch-free.

The readings are made of the same parts as the commands: command_families.py (options), command_values.py (modes,
signals, times, searches) and command_lines.py (pipes and lists).
"""

from functools import cache
from random import Random

from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.shell import command_lines, command_values, shell_phrasing
from weights.data.own.shell.command_families import Change, Reading, families, from_family
from weights.data.own.shell.everyday import SYSTEM_PROMPTS
from weights.data.own.tables import entries

MOST_WORDS = 35  # of an answer
_MAKERS = (*command_values.MAKERS, *command_lines.MAKERS)
_WEIGHTS = tuple(weight for _, weight in _MAKERS)
_FAMILIES = 88  # the weight of all families together


@cache
def _table(name: str) -> tuple[str, ...]:
    return entries(command_lines.TABLE[name])


@cache
def _heavy() -> tuple[int, ...]:
    """A family with more forms is drawn more often."""
    return tuple(2 + len(family.forms) + len(family.extras) for family in families())


def made(rng: Random) -> tuple[Reading, Change | None]:
    """A command line with its reading, and a near one."""
    while True:
        if rng.random() < _FAMILIES / (_FAMILIES + sum(_WEIGHTS)):
            family = rng.choices(families(), _heavy())[0]
            first, change = from_family(family, rng)
        else:
            first, change = rng.choices(_MAKERS, _WEIGHTS)[0][0](rng)
        if not _is_short(first) or "`" in first.command:
            continue
        return first, change if change and _is_short(change.then) and change.then.command != first.command else None


def _is_short(reading: Reading) -> bool:
    return len(f"It {reading.says} {reading.warning}".split()) <= MOST_WORDS


def says(reading: Reading, opener: str = "It") -> str:
    """The reading as one sentence, and the warning if there is one."""
    return f"{opener} {reading.says}. {reading.warning}".strip()


def _shown(command: str, rng: Random) -> str:
    """A command as people put it into a question: in backticks, in quotes, or as it is."""
    kind = rng.random()
    if kind < 0.42 or (kind < 0.55 and '"' in command):
        return f"`{command}`"
    if kind < 0.53:
        return f'"{command}"'
    return f"'{command}'" if kind < 0.57 and "'" not in command else command


def ask(table: str, rng: Random, **words: str) -> str:
    """A question from one of the wordings of a table, as people type it; the words in it stay as they are."""
    text = vary(rng.choice(_table(table)), rng, lead=0.05, typo=0.04)
    for key, word in words.items():
        text = text.replace(f"{{{key}}}", word)
    return text


def _option(reading: Reading, rng: Random) -> tuple[str, str]:
    flag, means = rng.choice(reading.options)
    x = _shown(reading.command, rng)
    alone = [each for each, other in reading.options if other == means]
    if rng.random() < 0.25 and len(alone) == 1:
        return ask("which_asks", rng, x=x, d=means.split(";")[0]), rng.choice(_table("which_says")).replace("{f}", flag)
    return ask("option_asks", rng, x=x, f=flag), _option_says(flag, means, rng)


def _option_says(flag: str, means: str, rng: Random) -> str:
    return rng.choice(_table("option_says")).replace("{f}", flag).replace("{d}", means)


def _part(reading: Reading, rng: Random) -> tuple[str, str]:
    part, does = rng.choice(reading.parts)
    x = _shown(reading.command, rng)
    if part.endswith(" digit"):
        return ask("part_asks", rng, x=x, f=part), f"The {part} {does}."
    if len(reading.parts) > 1 and rng.random() < 0.35:
        return ask("which_asks", rng, x=x, d=does), rng.choice(_table("which_says")).replace("{f}", part)
    return ask("part_asks", rng, x=x, f=f"`{part}`" if rng.random() < 0.3 else part), f"`{part}` {does}."


def _danger_says(reading: Reading, *, is_safe_asked: bool) -> str:
    """Yes or no, as the question wants it, and why."""
    if reading.kind == "careful":
        warning = reading.warning or "Be sure that you want that."
        return f"{'Only if you mean it' if is_safe_asked else 'Yes, take care'}: it {reading.says}. {warning}"
    lead = "Yes" if is_safe_asked else "No"
    if reading.kind == "reads":
        return f"{lead}, it does no harm: it {reading.says}."
    return f"{'Mostly yes' if is_safe_asked else 'Not really'}, but it changes something: it {reading.says}."


def _can_be_judged(reading: Reading) -> bool:
    """Whether "is it dangerous?" fits the line and its answer stays short."""
    return reading.kind != "cron" and len(_danger_says(reading, is_safe_asked=False).split()) <= MOST_WORDS


def _danger(reading: Reading, rng: Random, table: str = "") -> tuple[str, str]:
    is_safe = rng.random() < 0.5
    asked = ask(
        f"{table}{'safe' if is_safe else 'danger'}{'' if table else '_asks'}", rng, x=_shown(reading.command, rng)
    )
    return asked, _danger_says(reading, is_safe_asked=is_safe)


def _changed(change: Change, rng: Random) -> tuple[str, str]:
    new, old = (f"`{text}`" if text and rng.random() < 0.2 else text for text in (change.new, change.old))
    asked = ask(change.how, rng, n=new, o=old, x=_shown(change.then.command, rng))
    return asked, says(change.then)


def _first(reading: Reading, rng: Random) -> tuple[str, str]:
    if reading.kind == "cron":
        return ask("cron_asks", rng, x=_shown(reading.command, rng)), says(reading)
    kind = rng.random()
    if kind < 0.14 and reading.options:
        return _option(reading, rng)
    if kind < 0.22 and reading.parts:
        return _part(reading, rng)
    if kind > 0.92 and _can_be_judged(reading):
        return _danger(reading, rng)
    return ask("asks", rng, x=_shown(reading.command, rng)), says(reading, rng.choice(_table("openers")))


def _given(reading: Reading, rng: Random) -> list[str]:
    """A request that the assistant answers with the command, so that the next turn can ask about it."""
    request = shell_phrasing.infinitive(reading.says)
    if request is None or " and " in request or ";" in request or reading.warning or reading.kind == "cron":
        return []
    return [
        shell_phrasing.ask(rng, request, known=True),
        shell_phrasing.answer(rng, reading.command, f"{reading.says}."),
    ]


def _more(reading: Reading, change: Change | None, rng: Random, *, is_given: bool) -> list[str]:
    """A second turn about the command: an option of it, the danger, a change of it, or what it does."""
    kinds = ["change"] * 4 * (change is not None) + ["option"] * 3 * bool(reading.options)
    kinds += ["danger"] * _can_be_judged(reading) + ["what"] * 2 * is_given
    kind = rng.choice(kinds) if kinds else ""
    if kind == "change" and change is not None:
        return list(_changed(change, rng))
    if kind == "option":
        flag, means = rng.choice(reading.options)
        return [ask("more_option", rng, f=flag), _option_says(flag, means, rng)]
    if kind == "danger":
        return list(_danger(reading, rng, "more_"))
    return [ask("more_what", rng), says(reading)] if kind else []


def one(rng: Random) -> Conversation:
    """A question about a command line; in a quarter of them a second one that goes on from it."""
    system = rng.choice(SYSTEM_PROMPTS) if rng.random() < 0.08 else ""
    reading, change = made(rng)
    given = _given(reading, rng) if rng.random() < 0.12 else []
    turns = given or list(_first(reading, rng))
    if given or rng.random() < 0.2:
        turns += _more(reading, change, rng, is_given=bool(given))
    return talk(*turns, system=system)

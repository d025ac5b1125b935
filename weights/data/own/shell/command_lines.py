"""Whole command lines, read step by step: pipes, redirections, lists with && and ;, and pipes into xargs. Torch-free.

The parts stand in command_readings.toml.
"""

# ruff: noqa: SIM905 (word lists read best as words)

import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

from weights.data.own.shell.command_families import Change, Reading, draw, families, fill, from_family, say
from weights.data.own.tables import entries

TABLE: dict[str, str] = tomllib.loads(Path(__file__).with_name("command_readings.toml").read_text(encoding="utf-8"))
Made = tuple[Reading, Change | None]
# Programs that take the screen, run others or wait, and parts of the shell, which sudo cannot run.
_NOT_SIMPLE = frozenset(
    "less top man watch history clear sleep type jobs command sudo time ssh tee strace nc ping cd ulimit set".split()
)
_LISTS = {
    "&&": ("{a}, and if that works it {b}", "runs the second command only if the first one works"),
    "||": ("{a}; only if that fails, it {b}", "runs the second command only if the first one fails"),
    ";": ("{a} and then {b}, whether the first part worked or not", "runs one command after the other in any case"),
}


@cache
def rows(name: str) -> tuple[tuple[str, ...], ...]:
    """The rows of a table, their fields parted by " => "."""
    return tuple(tuple(line.split(" => ")) for line in TABLE[name].strip().splitlines())


def _filled(row: tuple[str, ...], rng: Random) -> tuple[str, str]:
    words = draw(f"{row[0]} {row[1]}", {}, rng)
    return fill(row[0], words), say(row[1], words)


def _steps(says: list[str]) -> str:
    if len(says) == 2:
        return f"{says[0]} and {says[1]}"
    return f"{says[0]}, {', '.join(says[1:-1])}, and then {says[-1]}"


def _pipe(parts: list[tuple[str, str]]) -> Reading:
    command = " | ".join(part for part, _ in parts)
    writes = any(part.startswith(("tee", "gzip")) for part, _ in parts)
    return Reading(command, _steps([says for _, says in parts]), "changes" if writes else "reads", parts=tuple(parts))


def pipe(rng: Random) -> Made:
    """A command whose output goes through one to three filters, and the same pipe with one more or one fewer."""
    parts = [_filled(rng.choice(rows("sources")), rng)]
    length = rng.choices((2, 3, 4), (45, 38, 17))[0]
    while len(parts) < length + 1:
        row = rng.choice(rows("filters"))
        part = _filled(row, rng)
        if part[0].split()[0] in [have.split()[0] for have, _ in parts] or (
            parts[0][0].startswith("tail -f") and row[2] == "1"
        ):
            continue
        if parts[0][0].startswith("tail -f") and part[0].startswith(("sort", "tac", "shuf", "tail", "column")):
            continue
        parts.append(part)
        if row[2] == "1":
            break
    short, added = parts[:-1], f"| {parts[-1][0]}"
    if len(short) < 2 or rng.random() < 0.4:
        return _pipe(parts), None
    if rng.random() < 0.5:
        return _pipe(parts), Change("without", added, "", _pipe(short))
    return _pipe(short), Change("also", added, "", _pipe(parts))


def _simple(rng: Random) -> Reading:
    """A short command that only prints, and can be followed by a redirection."""
    while True:
        family = rng.choice(families())
        if family.kind != "reads" or family.command.split()[0] in _NOT_SIMPLE:
            continue
        reading, _ = from_family(family, rng)
        plain = not any(sign in reading.command for sign in "|<>;&$!") and reading.kind == "reads"
        if plain and len(reading.says.split()) < 13 and " -f" not in reading.command and ";" not in reading.says:
            return reading


def _redirected(first: Reading, row: tuple[str, ...], rng: Random) -> Reading:
    behind, adds = _filled(row[:2], rng)
    comma = "," if " and " in first.says or ", " in first.says or adds.startswith("but") else ""
    kind = "reads" if "{new}" not in row[0] else "changes"
    warning = "Use >> if you want to keep what is there." if row[0] == "> {new}" and rng.random() < 0.25 else ""
    return Reading(
        f"{first.command} {behind}", f"{first.says}{comma} {adds}", kind, warning, first.options, ((behind, row[2]),)
    )


def redirected(rng: Random) -> Made:
    """A command whose output goes to a file, to nothing or to a pager; then without that, or another way."""
    first, row = _simple(rng), rng.choice(rows("redirects"))
    made = _redirected(first, row, rng)
    if rng.random() < 0.3:
        return made, Change("without", made.parts[0][0], "", first)
    other = rng.choice([each for each in rows("redirects") if each is not row])
    then = _redirected(first, other, rng)
    return made, Change("instead", then.parts[0][0], made.parts[0][0], then)


def joined(rng: Random) -> Made:
    """Two commands with &&, || or ; between them, and the same with another sign."""
    (a, a_says), (b, b_says) = (_filled(rng.choice(rows("steps")), rng) for _ in range(2))
    if a == b or a.startswith(("exit", "sudo reboot", "clear", "echo", "date")):
        return joined(rng)
    one, other = rng.sample(tuple(_LISTS), 2)

    def reading(sign: str) -> Reading:
        says = _LISTS[sign][0].replace("{a}", a_says).replace("{b}", b_says)
        hard = "rm " in f"{a} {b}"
        between = f"{a}{'' if sign == ';' else ' '}{sign} {b}"
        kind = "careful" if hard else "changes"
        warning = "There is no undo for rm." if hard else ""
        return Reading(between, says, kind, warning, parts=((sign, _LISTS[sign][1]),))

    return reading(one), Change("instead", other, one, reading(other))


def handed_on(rng: Random) -> Made:
    """A pipe into xargs, a shell or tar."""
    row = rng.choice(rows("xargs"))
    command, says = _filled(row[:2], rng)
    warning = ""
    if row[2] == "careful":
        warning = rng.choice(entries(TABLE["script_warning" if "downloads a" in says else "xargs_warning"]))
    return Reading(command, says, row[2], warning), None


def wrapped(rng: Random) -> Made:
    """A command that only prints, run with sudo, time, nice, nohup, watch or timeout."""
    first, n = _simple(rng), str(rng.randint(2, 60))
    before, adds, kind = rng.choice(
        (
            ("sudo", "as root", "changes"),
            ("time", "and tells how long that took", "reads"),
            (f"timeout {n}", f"but stops after {n} seconds at the latest", "reads"),
            (f"nice -n {n if int(n) < 20 else 19}", "with lower priority, so that others go first", "reads"),
            (f"watch -n {n}", f"again every {n} seconds, until ctrl-c", "reads"),
        )
    )
    said = Reading(
        f"{before} {first.command}",
        f"{first.says}, {adds}",
        kind,
        "",
        first.options,
        ((before, _BEFORE[before.split()[0]]),),
    )
    return said, Change("without", before, "", first)


_BEFORE = {
    "sudo": "runs the command as root",
    "time": "measures how long the command takes",
    "timeout": "ends the command after that many seconds",
    "nice": "gives the command a lower priority",
    "watch": "runs the command again and again and shows the result",
}
MAKERS: tuple[tuple[Callable[[Random], Made], int], ...] = (
    (pipe, 16),
    (redirected, 10),
    (joined, 6),
    (handed_on, 5),
    (wrapped, 5),
)

"""Commands whose argument has to be read itself: modes, signals, cron times, cd, and the tests of find. Torch-free."""

from collections.abc import Callable
from random import Random

from weights.data.own.shell.argument_values import number, value
from weights.data.own.shell.command_families import Change, Reading, drawn, say

Made = tuple[Reading, Change | None]
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905
_MODES = (
    "644",
    "600",
    "640",
    "755",
    "700",
    "750",
    "664",
    "775",
    "660",
    "444",
    "400",
    "440",
    "777",
    "666",
    "500",
    "555",
)
_SIGNALS = {
    "-9": "ends {p} at once, without letting it clean up",
    "-KILL": "ends {p} at once, without letting it clean up",
    "-15": "asks {p} to end, so it can clean up first",
    "-TERM": "asks {p} to end, so it can clean up first",
    "": "asks {p} to end, so it can clean up first",
    "-1": "sends {p} the hangup signal; many services then read their settings again, others end",
    "-HUP": "sends {p} the hangup signal; many services then read their settings again, others end",
    "-2": "interrupts {p}, as ctrl-c would",
    "-INT": "interrupts {p}, as ctrl-c would",
    "-3": "makes {p} quit with a core dump, if it allows that",
    "-QUIT": "makes {p} quit with a core dump, if it allows that",
    "-STOP": "pauses {p} until it gets the signal CONT",
    "-19": "pauses {p} until it gets the signal CONT",
    "-CONT": "lets {p} go on after a pause",
    "-18": "lets {p} go on after a pause",
    "-0": "only checks whether {p} is there, and ends nothing",
    "-USR1": "sends {p} the signal USR1, whose meaning the program decides",
}


def _rights(digit: str, is_dir: bool) -> str:
    """An octal digit in words: 5 is "read and run"."""
    bits, names = int(digit), (("read", 4), ("write", 2), ("enter" if is_dir else "run", 1))
    words = [word for word, bit in names if bits & bit]
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part) if words else "do nothing"


def mode_says(mode: str, name: str, is_dir: bool) -> str:
    """What an octal mode of three digits lets whom do."""
    owner, group, others = (_rights(digit, is_dir) for digit in mode)
    if owner == group == others:
        return f"lets everybody {owner} {name}"
    if group == others:
        return f"lets the owner of {name} {owner}, while group and others may {group}"
    if owner == group:
        return f"lets the owner and the group of {name} {owner}, while others may {others}"
    return f"lets the owner of {name} {owner}, the group {group}, and others {others}"


def _octal(options: str, mode: str, name: str, is_dir: bool) -> Reading:
    warning = "Anybody can change it then, which is seldom wise." if mode in ("777", "666") else ""
    said = f"{name} and all in it" if "R" in options else name
    means = (("-R", "changes everything below the directory too"), ("-v", "prints what it changes"))
    whom = ("the owner", "the group", "all others")
    parts = [
        (f"{place} digit", f"is for {who}, who may {_rights(digit, is_dir)}")
        for place, who, digit in zip(("first", "second", "third"), whom, mode, strict=True)
    ]
    command = " ".join(f"chmod {options} {mode} {name}".split())
    says = mode_says(mode, said, is_dir) + (", and prints each change" if "v" in options else "")
    return Reading(
        command,
        says,
        "careful" if warning else "changes",
        warning,
        tuple(m for m in means if m[0][1] in options),
        tuple(parts),
    )


def _mode(rng: Random) -> str:
    return rng.choice(_MODES) if rng.random() < 0.75 else "".join(rng.choice(d) for d in ("4567", "04567", "04567"))


def chmod(rng: Random) -> Made:
    """An octal mode, and another one for the same file or directory."""
    is_dir = rng.random() < 0.35
    options = rng.choice(("", "-R", "-R", "-v", "-Rv")) if is_dir else rng.choice(("", "", "", "", "-v"))
    name = _bare_of("dir" if is_dir else "file", rng)
    old, new = _mode(rng), _mode(rng)
    then = _octal(options, new, name, is_dir)
    return _octal(options, old, name, is_dir), Change("instead", new, old, then) if new != old else None


def _bare_of(kind: str, rng: Random) -> str:
    while " " in (made := value(kind, "", {}, rng)):
        pass
    return made


def _symbolic(who: str, sign: str, what: str, name: str) -> Reading:
    whom = {"u": "the owner", "g": "the group", "o": "others", "a": "everybody", "": "everybody"}
    whom |= {"go": "group and others", "ug": "owner and group", "ugo": "everybody"}
    words = [{"r": "read", "w": "write", "x": "run"}[letter] for letter in what]
    right = " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
    if sign == "+" and who == "" and what == "x":
        says = f"makes {name} a program that can be run"
    elif sign == "+":
        says = f"allows {whom[who]} to {right} {name}"
    elif sign == "-":
        says = f"no longer lets {whom[who]} {right.replace(' and ', ' or ')} {name}"
    else:
        says = f"lets {whom[who]} {right} {name} and takes away their other rights"
    warning = (
        "Anybody can change it then, which is seldom wise."
        if sign in "+=" and "w" in what and who in ("a", "o")
        else ""
    )
    return Reading(f"chmod {who}{sign}{what} {name}", says, "careful" if warning else "changes", warning)


def chmod_letters(rng: Random) -> Made:
    """A mode such as u+x, and one with another letter or sign."""
    name = _bare_of(rng.choice(("file", "sh", "script")), rng)

    def mode() -> tuple[str, str, str]:
        if rng.random() < 0.25:
            return "", rng.choice("+-"), "x"
        who = rng.choice(("u", "g", "o", "a", "u", "go", "ug"))
        return who, rng.choice("++--="), rng.choice(("r", "w", "x", "rw", "rx", "rwx"))

    one, other = mode(), mode()
    then = _symbolic(*other, name)
    first = _symbolic(*one, name)
    return first, Change("instead", "".join(other), "".join(one), then) if one != other else None


def _kill(signal: str, pids: list[str]) -> Reading:
    process = f"the process with the id {pids[0]}" if len(pids) == 1 else f"the processes {pids[0]} and {pids[1]}"
    says = _SIGNALS[signal].replace("{p}", process)
    if len(pids) > 1:
        for old, new in (
            ("letting it", "letting them"),
            ("so it can", "so they can"),
            ("until it gets", "until they get"),
        ):
            says = says.replace(old, new)
        says = says.replace("if it allows", "if they allow").replace("process is there", "processes are there")
        says = says.replace(f"{pids[1]} is there", f"{pids[1]} are there")
    is_hard = signal in ("-9", "-KILL")
    warning = "What was not saved is lost." if is_hard else ""
    kind = "careful" if is_hard else "reads" if signal == "-0" else "changes"
    means = ((signal, f"{_SIGNALS[signal].replace('{p}', 'the process')}"),) if signal else ()
    return Reading(" ".join(["kill", *([signal] if signal else []), *pids]), says, kind, warning, means)


def kill(rng: Random) -> Made:
    """A signal to one or two processes, and another signal."""
    pids = [str(rng.randint(100, 99999)) for _ in range(1 if rng.random() < 0.85 else 2)]
    signals = ("-9", "-9", "", "", *_SIGNALS)
    one, other = rng.choice(signals), rng.choice(signals)
    if one == other:
        return _kill(one, pids), None
    then = _kill(other, pids)
    if not other:
        return _kill(one, pids), Change("without", one, "", then)
    return _kill(one, pids), Change("instead" if one else "also", other, one, then)


def _cd(to: str) -> Reading:
    fixed = {
        "..": "goes up to the directory above",
        "-": "goes back to the directory where you were before",
        "~": "goes to your home directory",
        "": "goes to your home directory",
        "/": "goes to the root directory, the top of the file system",
        "../..": "goes up two directories",
        "../../..": "goes up three directories",
        ".": "stays in the current directory",
    }
    if to in fixed:
        return Reading(f"cd {to}".strip(), fixed[to], "reads")
    if to.startswith("../"):
        return Reading(f"cd {to}", f"goes up one directory and from there into {to[3:]}", "reads")
    if to.startswith("~/"):
        return Reading(f"cd {to}", f"goes to {to[2:]} in your home directory", "reads")
    if to.startswith("/"):
        return Reading(f"cd {to}", f"goes to the directory {to}", "reads")
    return Reading(f"cd {to}", f"goes into {to}, seen from the current directory", "reads")


def cd(rng: Random) -> Made:
    """Where a cd leads, and another one."""

    def target() -> str:
        name = _bare_of("name", rng)
        fixed = rng.choice(("..", "-", "~", "", "/", "../..", "../../..", "."))
        return rng.choice((fixed, fixed, f"../{name}", f"~/{name}", _bare_of("rdir", rng), _bare_of("dir", rng)))

    one, other = target(), target()
    return _cd(one), Change("whole", "", "", _cd(other)) if one != other else None


def _clock(minute: int, hour: int) -> str:
    return f"{hour:02}:{minute:02}"


def _when(rng: Random) -> tuple[str, str]:
    """Five fields of a crontab (or one word) and when that is."""
    kind, minute, hour = rng.random(), rng.choice((0, 0, 15, 30, 45, rng.randint(1, 59))), rng.randint(0, 23)
    day, month = rng.randrange(7), rng.randrange(12)
    at = _clock(minute, hour)
    if kind < 0.2:
        return f"{minute} {hour} * * *", f"every day at {at}"
    if kind < 0.42:
        return f"{minute} {hour} * * {day}", f"every {_DAYS[day]} at {at}"
    if kind < 0.5:
        return f"{minute} {hour} * * 1-5", f"from Monday to Friday at {at}"
    if kind < 0.56:
        other = rng.choice([each for each in range(7) if each != day])
        first, last = sorted((day, other))
        return f"{minute} {hour} * * {first},{last}", f"every {_DAYS[first]} and {_DAYS[last]} at {at}"
    if kind < 0.66:
        date = rng.randint(1, 28)
        return f"{minute} {hour} {date} * *", f"on day {date} of every month at {at}"
    if kind < 0.73:
        date = rng.randint(1, 28)
        return f"{minute} {hour} {date} {month + 1} *", f"every year on {_MONTHS[month]} {date} at {at}"
    if kind < 0.82:
        step = rng.choice((2, 5, 10, 15, 20, 30))
        return f"*/{step} * * * *", f"every {step} minutes"
    if kind < 0.87:
        step = rng.choice((2, 3, 4, 6, 8, 12))
        return f"{minute} */{step} * * *", f"every {step} hours, {_past(minute)}"
    if kind < 0.92:
        return f"{minute} * * * *", f"every hour, {_past(minute)}"
    if kind < 0.94:
        return "* * * * *", "every minute"
    return rng.choice(
        (
            ("@reboot", "each time the machine starts"),
            ("@daily", "every day at midnight"),
            ("@hourly", "every hour on the hour"),
            ("@weekly", "every Sunday at midnight"),
            ("@monthly", "on the first of every month at midnight"),
        )
    )


def _past(minute: int) -> str:
    if minute == 0:
        return "on the hour"
    return "one minute past" if minute == 1 else f"{minute} minutes past"


def cron(rng: Random) -> Made:
    """A line of a crontab, or only its time, and the same job at another time."""
    script = _bare_of("script", rng) if rng.random() < 0.6 else ""
    one, other = _when(rng), _when(rng)

    def reading(fields: str, when: str) -> Reading:
        return Reading(f"{fields} {script}".strip(), f"{f'runs {script}' if script else 'means'} {when}", "cron")

    return reading(*one), Change("instead", other[0], one[0], reading(*other)) if one[0] != other[0] else None


_FIND_MEANS = {
    "-name": "picks names of that pattern",
    "-iname": "picks names of that pattern, in capital or small letters",
    "-mtime": "looks at how many days ago a file was changed; + means more, - means less",
    "-mmin": "looks at how many minutes ago a file was changed; - means less",
    "-size": "looks at the size; + means bigger",
    "-user": "picks what belongs to that user",
    "-empty": "picks what is empty",
    "-type": "picks the kind: f is a file, d is a directory",
    "-maxdepth": "sets how many levels deep it looks",
    "-delete": "deletes everything that was found",
    "-ls": "prints the details of everything that was found",
    "-exec": "runs a command on what was found",
}


def _test(rng: Random) -> tuple[str, str]:
    ext, n = value("ext", "", {}, rng), int(number(2, 400, rng))
    bare, user = _bare_of("bare", rng), value("user", "", {}, rng)
    return rng.choice(
        (
            (f"-name '*.{ext}'", f"end in .{ext}"),
            (f'-name "*.{ext}"', f"end in .{ext}"),
            (f"-name {bare}", f"are named {bare}"),
            (f"-iname '*.{ext}'", f"end in .{ext}, in capital or small letters"),
            (f"-mtime +{n}", f"were changed more than {n} days ago"),
            (f"-mtime -{n}", f"were changed in the last {n} days"),
            (f"-mmin -{n}", f"were changed in the last {n} minutes"),
            (f"-size +{n}M", f"are bigger than {n} MB"),
            (f"-size +{n}k", f"are bigger than {n} KB"),
            (f"-user {user}", f"belong to {user}"),
            ("-empty", "are empty"),
        )
    )


def _act(rng: Random, is_file: bool) -> tuple[str, str, str]:
    """What is done with the finds: as it is typed, the verb, and what stands at the end of the sentence."""
    every = [("", "lists", ""), ("", "lists", ""), ("-ls", "shows the details of", "")]
    if is_file:
        folder = _bare_of("rdir", rng)
        every += [
            ("-delete", "deletes", ""),
            ("-exec rm {} \\;", "deletes", ""),
            ("-exec rm {} +", "deletes", ""),
            ("-exec chmod 644 {} \\;", "finds", ", and sets their mode to 644"),
            (f"-exec mv {{}} {folder} \\;", "finds", f", and moves them to {folder}"),
            (f"-exec cp {{}} {folder} \\;", "finds", f", and copies them to {folder}"),
            ("-exec gzip {} \\;", "compresses", ""),
            ("| wc -l", "counts", ""),
        ]
    return rng.choice(every)


def _found(where: str, depth: str, kind: str, tests: list[tuple[str, str]], act: tuple[str, str, str]) -> Reading:
    typed, verb, end = act
    noun = {"-type f": "files", "-type d": "directories", "": "files and directories"}[kind]
    level = "right in" if depth.endswith(" 1") else "in and below"
    limit = "" if not depth or depth.endswith(" 1") else f", at most {depth.split()[1]} levels deep,"
    that = f" that {' and '.join(says for _, says in tests)}"
    command = " ".join(f"find {where} {depth} {kind} {' '.join(test for test, _ in tests)} {typed}".split())
    says = f"{verb} the {noun} {level} {say('{w}', {'w': where})}{limit}{that}{end}"
    means = tuple((word, text) for word, text in _FIND_MEANS.items() if word in command.split())
    if verb == "deletes":
        return Reading(command, says, "careful", "There is no undo, so list them first.", means)
    return Reading(
        command, says, "reads" if verb in ("lists", "counts", "shows the details of") else "changes", "", means
    )


def find(rng: Random) -> Made:
    """A search with one or two tests and what is done with the finds; then another test or deed."""
    where = drawn("where", "", {}, rng)
    where = where if " " not in where else "."
    kind = rng.choice(("-type f", "-type f", "-type d", ""))
    depth = rng.choice(("", "", "", "", "-maxdepth 1", f"-maxdepth {rng.randint(2, 5)}"))
    tests: list[tuple[str, str]] = []
    while len(tests) < rng.choice((1, 1, 2)):
        test = _test(rng)
        if test[0].split()[0].replace("iname", "name") not in " ".join(t for t, _ in tests).replace("iname", "name"):
            tests.append(test)
    act = _act(rng, kind == "-type f")
    first, draw = _found(where, depth, kind, tests, act), rng.random()
    if draw < 0.35 and len(tests) > 1:
        return first, Change("without", tests[1][0], "", _found(where, depth, kind, tests[:1], act))
    other = _act(rng, kind == "-type f")
    if draw < 0.7 and other[0] != act[0]:
        then = _found(where, depth, kind, tests, other)
        if act[0] and other[0]:
            return first, Change("instead", other[0], act[0], then)
        return first, Change("also" if other[0] else "without", other[0] or act[0], "", then)
    test = _test(rng)
    if test[0] == tests[0][0]:
        return first, None
    return first, Change("instead", test[0], tests[0][0], _found(where, depth, kind, [test], act)) if len(
        tests
    ) == 1 else None


MAKERS: tuple[tuple[Callable[[Random], Made], int], ...] = (
    (chmod, 6),
    (chmod_letters, 4),
    (kill, 5),
    (cd, 3),
    (cron, 7),
    (find, 10),
)

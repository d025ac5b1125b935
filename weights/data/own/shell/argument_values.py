"""Values for the places of arguments.toml, built from syllables, lists and numbers. Torch-free."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from random import Random

from weights.data.own.names import FIRST_NAMES, built_name

_PARTS: dict[str, tuple[str, ...]] = {
    key: tuple(text.split("|") if "|" in text else text.split())
    for key, text in tomllib.loads(Path(__file__).with_name("arguments.toml").read_text(encoding="utf-8"))[
        "parts"
    ].items()
}


def _pick(name: str, rng: Random) -> str:
    return rng.choice(_PARTS[name])


def number(low: int, high: int, rng: Random) -> str:
    """A whole number; small ones and round ones come more often."""
    top = rng.choice((high, high, min(high, low + 20), min(high, low + 60)))
    drawn = rng.randint(low, top)
    return str(drawn // 10 * 10 if drawn > 30 and rng.random() < 0.3 else drawn)


def _built(rng: Random) -> str:
    return built_name(rng).lower()


def _stem(rng: Random) -> str:
    word = _pick("stems", rng) if rng.random() < 0.5 else _built(rng)
    kind = rng.random()
    if kind < 0.35:
        return word if rng.random() < 0.8 else word.capitalize()
    other = rng.choice((_pick("stems", rng), _built(rng), str(rng.randint(1, 99)), str(rng.randint(1990, 2035))))
    return word + rng.choice("-__-.") + other


def _bare(rng: Random, ends: str = "exts", spaces: bool = True) -> str:
    stem = _stem(rng)
    if spaces and rng.random() < 0.04:
        stem = f"{stem} {_pick('stems', rng)}"
    return f"{stem}.{_pick(ends, rng)}"


def _name(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.3:
        return _pick("dirs", rng)
    return _stem(rng).replace(".", "_") if kind < 0.7 else _built(rng)


def _dir(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return _name(rng)
    if kind < 0.55:
        return f"{_name(rng)}/{_name(rng)}"
    return _absolute(rng) if kind < 0.8 else f"~/{_name(rng)}{'' if rng.random() < 0.6 else '/' + _name(rng)}"


def _absolute(rng: Random) -> str:
    return f"{_pick('roots', rng)}/{_name(rng)}{'' if rng.random() < 0.6 else '/' + _name(rng)}"


def _file(command: str, rng: Random) -> str:
    """A file, bare or with its directory; git and the like name files within the project."""
    within = command.startswith(("git", "tar", "scp", "split"))
    if rng.random() < 0.65 or command.startswith(("scp", "curl", "wget")):
        return _bare(rng, "text")
    folder = _name(rng) if within else _dir(rng)
    return f"{folder}/{_bare(rng, 'text', spaces=False)}"


def _new(words: dict[str, str], rng: Random) -> str:
    """Another name, in the directory of the file."""
    folder, slash, old = words.get("file", "").rpartition("/")
    bare = _bare(rng, "text", spaces=not slash)
    if "." in old and rng.random() < 0.7:
        bare = f"{bare.rpartition('.')[0]}.{old.rpartition('.')[2]}"
    return f"{folder}{slash}{bare}"


def _word(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.3:
        return _pick("words", rng)
    if kind < 0.7:
        word = _built(rng)
        return word if rng.random() < 0.7 else word.capitalize() if rng.random() < 0.6 else word.upper()
    if kind < 0.8:
        return f"{_pick('stems', rng)}_{_built(rng)}"
    return f"{rng.choice('ERKTX')}{rng.randint(10, 9999)}" if kind < 0.85 else _phrase(rng)


def _single(rng: Random) -> str:
    return _pick("words", rng) if rng.random() < 0.4 else _built(rng)


def _phrase(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.6:
        return f"{_pick('heads', rng)} {_pick('tails', rng)}"
    return f"{_built(rng)} {_pick('tails', rng)}" if kind < 0.85 else f"{_pick('words', rng)} {_built(rng)}"


def _host(rng: Random) -> str:
    base = f"{_built(rng)}{rng.choice(('', '', '', str(rng.randint(1, 30)), '-' + _built(rng)))}.{_pick('tlds', rng)}"
    return f"{_pick('subs', rng)}.{base}" if rng.random() < 0.35 else base


def _ip(rng: Random) -> str:
    first = rng.choice(("10", "192.168", "172.16", f"{rng.randint(11, 223)}.{rng.randint(0, 255)}"))
    rest = [str(rng.randint(1, 254)) for _ in range(3 - first.count("."))]
    return ".".join([first, *rest])


def _user(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.25:
        return _pick("users", rng)
    return rng.choice(FIRST_NAMES).lower() if kind < 0.5 else f"{_built(rng)}{'' if kind < 0.9 else rng.randint(1, 99)}"


def _branch(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.25:
        return _pick("branches", rng)
    end = rng.choice((_built(rng), _pick("branches", rng), f"{rng.randint(1, 999)}-{_built(rng)}"))
    return f"{_pick('starts', rng)}{end}" if kind < 0.75 else f"{_pick('branches', rng)}-{_built(rng)}"


def _url(rng: Random) -> str:
    folder = f"/{_name(rng)}" if rng.random() < 0.5 else ""
    return f"{rng.choice(('https', 'https', 'http'))}://{_host(rng)}{folder}/{_bare(rng, spaces=False)}"


def _repo(rng: Random) -> str:
    path = f"{_built(rng)}/{_name(rng)}{rng.choice(('.git', '.git', ''))}"
    return rng.choice((f"https://{_host(rng)}/{path}", f"git@{_host(rng)}:{path}"))


def _message(rng: Random) -> str:
    said = f"{_pick('verbs', rng)} the {_pick('things', rng)}"
    if rng.random() < 0.35:
        said = f"{said} {rng.choice(('for', 'of', 'in'))} {_built(rng)}"
    return said if rng.random() < 0.6 else said[:1].upper() + said[1:]


def _script(rng: Random) -> str:
    stem = _stem(rng)
    return rng.choice((f"./{stem}.sh", f"./{stem}", f"~/bin/{stem}.sh", f"{_absolute(rng)}/{stem}.sh"))


def _some(listed: str, rng: Random, built: float = 0.5) -> str:
    return _built(rng) if rng.random() < built else _pick(listed, rng)


_MADE: dict[str, Callable[[Random], str]] = {
    "bare": _bare,
    "name": _name,
    "dir": _dir,
    "rdir": _absolute,
    "rfile": lambda rng: f"{_absolute(rng)}/{_bare(rng, spaces=False)}",
    "path": lambda rng: _absolute(rng) if rng.random() < 0.5 else f"{_absolute(rng)}/{_bare(rng, spaces=False)}",
    "link": lambda rng: _stem(rng) if rng.random() < 0.6 else _bare(rng, spaces=False),
    "archive": lambda rng: f"{_stem(rng)}.{rng.choice(('tar.gz', 'tar.gz', 'tgz'))}",
    "tar": lambda rng: f"{_stem(rng)}.tar",
    "zip": lambda rng: f"{_stem(rng)}.zip",
    "gz": lambda rng: f"{_bare(rng, 'text', spaces=False)}.gz",
    "log": lambda rng: f"{rng.choice(('', '', '/var/log/', 'logs/'))}{_stem(rng)}.log",
    "csv": lambda rng: f"{_stem(rng)}.csv",
    "sh": lambda rng: f"{_stem(rng)}.{rng.choice(('sh', 'sh', 'py', 'pl'))}",
    "script": _script,
    "key": lambda rng: f"~/.ssh/{rng.choice(('id_', 'key_', ''))}{_built(rng)}",
    "ext": lambda rng: _pick("exts", rng),
    "word": _word,
    "single": _single,
    "phrase": _phrase,
    "host": _host,
    "ip": _ip,
    "user": _user,
    "group": lambda rng: _some("groups", rng),
    "port": lambda rng: str(rng.choice((8080, 3000, 5000, 2222, 443, *[rng.randint(1024, 65000)] * 12))),
    "pid": lambda rng: str(rng.randint(200, 65000)),
    "n": lambda rng: number(2, 500, rng),
    "c": lambda rng: number(2, 20, rng),
    "branch": _branch,
    "url": _url,
    "repo": _repo,
    "hash": lambda rng: f"{rng.getrandbits(28):07x}",
    "tag": lambda rng: f"v{rng.randint(0, 9)}.{rng.randint(0, 30)}{rng.choice(('', f'.{rng.randint(0, 20)}'))}",
    "message": _message,
    "remote_name": lambda rng: _some("remote_names", rng, 0.3),
    "remote": lambda rng: _pick("remotes", rng),
    "cmd": lambda rng: _pick("commands", rng),
    "short": lambda rng: _built(rng)[: rng.randint(2, 5)],
    "proc": lambda rng: _some("procs", rng, 0.4),
    "service": lambda rng: _some("services", rng),
    "pkg": lambda rng: _some("packages", rng),
    "mode": lambda rng: _pick("modes", rng),
    "var": lambda rng: _built(rng).upper() + rng.choice(("", "_DIR", "_KEY", "_MODE", "_HOME")),
    "value": lambda rng: rng.choice((_built(rng), str(rng.randint(1, 9999)), _absolute(rng), _host(rng))),
    "person": lambda rng: f"{rng.choice(FIRST_NAMES)} {built_name(rng)}" if rng.random() < 0.7 else built_name(rng),
    "email": lambda rng: f"{_user(rng)}@{_host(rng)}",
}


def value(kind: str, command: str, words: dict[str, str], rng: Random) -> str:
    """A value for one place of a command; words: what its other places hold."""
    if kind == "file":
        return _file(command, rng)
    if kind == "new":
        return _new(words, rng)
    if kind == "m":
        return str(int(words["n"]) + rng.randint(1, 90))
    if kind == "dir" and "PATH" in command:  # within quotes the shell leaves "~" as it is
        return _absolute(rng)
    return _MADE[kind](rng)

"""Which commands can destroy something, by rule: a table that can be read, and never a model's opinion.

A command line is taken apart as a shell does it: at ; & | and new lines, behind sudo, env, xargs and the like, and
within $(...), `...`, `sh -c '...'` and `find -exec`. What no rule knows is not marked, so no mark is no promise.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

Words = Sequence[str]

SHELLS = frozenset("sh bash zsh dash ksh fish ash".split())  # noqa: SIM905
DOWNLOADS = frozenset("curl wget fetch aria2c http https".split())  # noqa: SIM905
EVALUATES = ("eval", "source", ".")
# They run the command that follows; of the flags given here the next word is the flag's own.
PREFIXES = {
    "sudo": "-u -g -h -p -C -D -R -T --user --group", "doas": "-u -C", "env": "-u -C -S --unset", "nohup": "",
    "time": "-o -f", "nice": "-n", "ionice": "-c -n -p", "setsid": "", "stdbuf": "-i -o -e", "command": "",
    "exec": "-a", "builtin": "",
    "xargs": "-I -n -P -L -d -a -s -E", "parallel": "-j", "watch": "-n", "timeout": "-s -k",
    "busybox": "", "chroot": "", "then": "", "do": "", "else": "", "if": "", "while": "", "until": "", "!": "", "{": "",
}  # fmt: skip
TAKES_A_WORD = ("timeout", "chroot")  # before the command: how long, where
HARMLESS_DEVICES = re.compile(r"/dev/(?:null|zero|full|tty\w*|pts/.*|std(?:in|out|err)|fd/.*|shm/.*)$")
FORK_BOMB = re.compile(r"(\S+)\s*\(\)\s*\{\s*\1\s*\|\s*\1\s*&\s*\}\s*;\s*\1")
DROPS = re.compile(r"\b(?:drop\s+(?:table|database|schema)|truncate\s+table|delete\s+from)\b", re.IGNORECASE)
OPERATORS = ";&|<>()\n"
NESTED = re.compile(r"\$\(([^()]*)\)|[<>]\(([^()]*)\)|`([^`]*)`")


@dataclass(frozen=True)
class Rule:
    """tools: the programs it is about; when: of their other words; told: what is done, as the end of a sentence."""

    tools: str
    told: str
    when: Callable[[Words], bool] = lambda words: True


def flag(short: str, *long: str) -> Callable[[Words], bool]:
    """Whether a short flag stands among the words, alone or in a bundle such as -rf, or one of the long ones."""

    def stands(words: Words) -> bool:
        bundles = "".join(w[1:] for w in words if re.fullmatch(r"-[A-Za-z0-9]+", w))
        return any(c in bundles for c in short) or any(w.partition("=")[0] in long for w in words)

    return stands


def word(*wanted: str) -> Callable[[Words], bool]:
    """Whether one of these stands among the words."""
    return lambda words: any(w in wanted for w in words)


def first(*wanted: str) -> Callable[[Words], bool]:
    """Whether the first word that is no flag is one of these."""
    return lambda words: next((w for w in words if not w.startswith("-")), "") in wanted


def both(*tests: Callable[[Words], bool]) -> Callable[[Words], bool]:
    """Whether all of the tests hold."""
    return lambda words: all(test(words) for test in tests)


def _writes_over_device(words: Words) -> bool:
    return any(w.startswith("/dev/") and not HARMLESS_DEVICES.match(w) for w in words)


EVERYTHING = "changes the rights or the owner of everything below"
DISK = "writes over a disk or its partitions"
UNCOMMITTED = "throws away changes that are not committed"
OFF = "turns the machine off, or starts it anew"
RULES = (
    Rule("rm", "deletes folders and everything in them, for good", flag("rR", "--recursive")),
    Rule("rm unlink shred srm", "deletes files for good"),
    Rule("find", "deletes every file that it finds", word("-delete")),
    Rule("rsync", "deletes at the other end what is not here", lambda ws: any(w.startswith("--delete") for w in ws)),
    Rule("truncate", "cuts files short"),
    Rule("sed perl ruby", "changes files in place", lambda ws: any(re.match(r"-[a-zA-Z]*i|--in-place", w) for w in ws)),
    Rule("dd", "writes over its target byte by byte", lambda ws: any(w.startswith("of=") for w in ws)),
    Rule("mkfs mke2fs mkswap wipefs blkdiscard fdisk sfdisk gdisk sgdisk cfdisk parted", DISK,
         lambda ws: not flag("l", "--list")(ws) and not word("print")(ws)),
    Rule("cryptsetup", DISK, first("luksFormat", "erase", "luksErase")),
    Rule("lvremove vgremove pvremove", DISK),
    Rule("zfs zpool", DISK, first("destroy")),
    Rule("tee cp mv cat install", "writes over a device", _writes_over_device),
    Rule("mv", "throws away what it moves", lambda ws: ws[-1:] == ["/dev/null"]),
    Rule("chmod chown chgrp", EVERYTHING, flag("R", "--recursive")),
    Rule("setfacl", EVERYTHING, flag("R", "--recursive")),
    Rule("kill", "ends every process that you may end", lambda ws: "-1" in ws[1:] or list(ws[-2:]) == ["--", "-1"]),
    Rule("killall pkill", "ends every process of a user", flag("u", "--user", "--euid")),
    Rule("killall5", "ends every process"),
    Rule("shutdown reboot poweroff halt", OFF),
    Rule("systemctl", OFF, first("poweroff", "reboot", "halt", "kexec")),
    Rule("init telinit", OFF, first("0", "6")),
    Rule("git", UNCOMMITTED, both(first("reset"), word("--hard", "--merge"))),
    Rule("git", "deletes files that are not in the repository", both(first("clean"), flag("f", "--force"))),
    Rule("git", UNCOMMITTED, both(first("checkout"), word("--", ".", "-f", "--force"))),
    Rule("git", UNCOMMITTED, both(first("restore"), lambda ws: "--staged" not in ws)),
    Rule("git", UNCOMMITTED, both(first("switch"), flag("f", "--discard-changes"))),
    Rule("git", "throws away what was stashed", both(first("stash"), word("drop", "clear"))),
    Rule("git", "deletes a branch, merged or not", both(first("branch"), flag("D"))),
    Rule("git", "writes over the history of the other side",
         both(first("push"), flag("f", "--force", "--force-with-lease", "--mirror", "--delete"))),
    Rule("git", "writes the history anew", first("filter-branch", "filter-repo")),
    Rule("crontab", "deletes all jobs of crontab", flag("r")),
    Rule("userdel deluser groupdel delgroup", "deletes a user or a group"),
    Rule("iptables ip6tables nft", "takes the rules of the firewall away", lambda ws: "-F" in ws or "flush" in ws),
    Rule("docker podman", "deletes containers, images or volumes",
         lambda ws: bool({"rm", "rmi", "prune", "down"} & set(ws[:2]))),
    Rule("kubectl oc", "deletes what runs in a cluster", first("delete", "drain")),
    Rule("terraform tofu", "destroys what it has set up", first("destroy")),
    Rule("dropdb dropuser", "deletes a database or a user of one"),
    Rule("psql mysql mariadb sqlite3", "deletes rows, tables or databases", lambda ws: any(map(DROPS.search, ws))),
    Rule("apt apt-get aptitude dnf yum zypper brew snap flatpak", "takes programs off this machine",
         first("remove", "purge", "autoremove", "erase", "uninstall")),
    Rule("pacman", "takes programs off this machine", lambda ws: any(re.match(r"-R", w) for w in ws)),
)  # fmt: skip


def dangers(command: str) -> tuple[str, ...]:
    """What a command line can destroy, a sentence each, beginning with the program; empty when no rule knows it."""
    found = [f"{name} {told}." for name, told in _dangers(command, 0)]
    if FORK_BOMB.search(command):
        found.append("It starts itself without end, until the machine stands still.")
    return tuple(dict.fromkeys(found))


def _dangers(command: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > 5:
        return
    before: list[str] = []  # programs of the pipeline so far
    for operator, words in _simple_commands(command):
        if operator not in ("|", "|&"):
            before = []
        if operator.startswith(">"):
            if _writes_over_device(words[:1]):
                yield f"> {words[0]}", "writes over a device"
            continue
        words = _without_prefixes(words)
        if not words:
            continue
        name, rest = words[0].rpartition("/")[2], words[1:]
        yield from _judged(name, rest)
        if name in SHELLS and before:
            fetched = next((tool for tool in before if tool in DOWNLOADS), "")
            yield f"| {name}", f"runs, unseen, what {fetched} fetches" if fetched else "runs a text as commands"
        before.append(name)
        for inner in _inner(name, rest):
            yield from _dangers(inner, depth + 1)
    nested = ["".join(groups) for groups in NESTED.findall(command)]
    for inner in nested:
        yield from _dangers(inner, depth + 1)
    if any(tool in DOWNLOADS for inner in nested for tool in _tools(inner)):
        runner = next((tool for tool in _tools(command) if tool in SHELLS or tool in EVALUATES), "")
        if runner:
            yield runner, "runs, unseen, what is fetched"


def _judged(name: str, words: Words) -> Iterator[tuple[str, str]]:
    """The first rule of each tool that holds; mkfs.ext4 counts as mkfs, and git's flags before its command as none."""
    while name == "git" and words and words[0].startswith("-"):
        words = words[2 if words[0] in ("-C", "-c") else 1 :]
    for rule in RULES:
        if {name, name.partition(".")[0]} & set(rule.tools.split()) and rule.when(words):
            yield name, rule.told
            return


def _inner(name: str, words: Words) -> Iterator[str]:
    """Commands that are words of this one."""
    if name in SHELLS or name == "su":
        yield from (after for flag_, after in pairwise(words) if re.fullmatch(r"-\w*c", flag_))
    elif name == "eval" or (name == "ssh" and len(words) > 1):
        yield " ".join(words if name == "eval" else words[1:])
    elif name == "find":
        for place, given in enumerate(words):
            if given in ("-exec", "-execdir", "-ok", "-okdir"):
                yield shlex.join(words[place + 1 :])


def _tools(command: str) -> list[str]:
    return [
        words[0].rpartition("/")[2] for _, given in _simple_commands(command) if (words := _without_prefixes(given))
    ]


def _simple_commands(command: str) -> list[tuple[str, list[str]]]:
    """(the operator before it, its words) of each part."""
    try:
        return _parts(_lexer(command))
    except ValueError:  # a quote that is not closed; then quotes are letters like others
        lexer = _lexer(command)
        lexer.quotes = lexer.escape = ""
        return _parts(lexer)


def _lexer(command: str) -> shlex.shlex:
    lexer = shlex.shlex(command, posix=True, punctuation_chars=OPERATORS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    return lexer


def _parts(lexer: shlex.shlex) -> list[tuple[str, list[str]]]:
    parts: list[tuple[str, list[str]]] = [("", [])]
    for token in lexer:
        if token and set(token) <= set(OPERATORS):
            parts.append((">" if ">" in token else token.strip("\n()&;") or ";", []))
        else:
            parts[-1][1].append(token)
    return parts


def _without_prefixes(words: list[str]) -> list[str]:
    """The words from the program on, without assignments, sudo and its like and their flags."""
    while words:
        name = words[0].rpartition("/")[2]
        if re.match(r"\w+=", words[0]):
            words = words[1:]
            continue
        if name not in PREFIXES:
            return words
        own, words = PREFIXES[name].split(), words[1:]
        while words and words[0].startswith("-"):
            words = words[2 if words[0] in own else 1 :]
        words = words[1:] if name in TAKES_A_WORD else words
    return words

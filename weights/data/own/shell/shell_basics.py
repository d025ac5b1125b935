"""More everyday shell tasks, and what commands, tools and flags mean. Torch-free."""

# ruff: noqa: SIM905 (word lists read best as words)

import re
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.shell import everyday, shell_phrasing
from weights.data.own.shell.everyday import Task
from weights.data.own.tables import entries as read_entries

entries = cache(read_entries)
_TABLE: dict[str, str] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_QUESTION_WORDS = frozenset("which what is how who whose am did when where does why are do can will should".split())
# Words that open an infinitive besides shell_phrasing.VERBS.
_VERBS = frozenset(
    """abort add answer ask back be beautify become benchmark blame block break bzip2 calculate cat catch cd check
    choose click close collapse collect come comment commit compare complete compress concatenate connect continue
    cowsay cp cut decide do draw drop dump eject empty end execute expand export extract factor fail fake fetch fill
    filter finish fix flush fold forbid forget fork format forward free freeze get git give go grep group groupdel
    gzip handle have head hide hold host indent insert join keep kill know leave let lift limit link look loop lower
    lowercase ls make mark measure message mkdir mount mv nohup notify number order own pack page paste pause peek
    pick ping play point power press print protect prune pull push put query raise reach read reattach rebuild
    record reflow refresh reinstall release remember renew repair repeat reset resolve resume retry return reverse
    rm rotate round run say scp scroll search see separate set shorten show shrink shut sleep slow sniff solve sort
    source spread squeeze stage stash stay step stop stretch strip substitute sum suspend swap switch tail take tar
    tee test throw tidy tie touch trace transfer turn type undo unfreeze unindent unlink unlock unmount unset untar
    uppercase validate view wait wake watch wrap xz zip""".split()
)
_KEYWORD_FRAMES = (
    "{k}",
    "{k}",
    "{k}",
    "how to {k}",
    "how to {k}",
    "{k} linux",
    "linux {k}",
    "{k} command",
    "{k} bash",
    "{k} ubuntu",
    "command {k}",
    "cmd to {k}",
    "{k} terminal",
    "{k} how",
    "shell {k}",
    "pls {k}",
    "{k} please",
)
_NOUN_FRAMES = ("{k}", "{k}", "{k}?", "linux {k}", "{k} linux", "command for this: {k}", "{k} please", "shell: {k}")


@cache
def tasks() -> tuple[Task, ...]:
    """The tasks of shell_basics.toml."""
    found = []
    for line in _TABLE["tasks"].strip().splitlines():
        command, explain, asks = line.split(" :: ")
        found.append(
            Task("basics", tuple(everyday.expand(ask.strip()) for ask in asks.split(" / ")), command.strip(), explain)
        )
    return tuple(found)


@cache
def rows(name: str) -> tuple[tuple[str, ...], ...]:
    """A table of fields: `commands` and `differences` with three, `errors`, `tools` and `flags` with two."""
    text = _TABLE[name].strip()
    if name == "commands":
        return tuple(tuple(part.strip() for part in f"{line} ".split(" ::")) for line in text.splitlines())
    if name in ("differences", "errors"):
        return tuple(tuple(line.split("¦")) for line in text.splitlines())
    cells = [cell for line in text.splitlines() for cell in line.split("|")]
    return tuple(zip(cells[::2], cells[1::2], strict=True))


@cache
def _flag_meanings() -> dict[tuple[str, str], str]:
    return {(key.split(" ")[0], key.split(" ")[1]): meaning for key, meaning in rows("flags")}


def flags_of(command: str) -> tuple[tuple[str, str], ...]:
    """The flags in the first command of a line that the table knows, each with its meaning."""
    words = [word for word in re.split(r"[|;&<>]", command)[0].split() if word not in ("sudo", "time")]
    if not words:
        return ()
    tool, known, found = words[0], _flag_meanings(), []
    for at, word in enumerate(words[1:]):
        if (tool, word) in known:
            found.append((word, known[tool, word]))
        elif re.fullmatch(r"-[A-Za-z]{2,5}", word):
            found += [(f"-{x}", known[tool, f"-{x}"]) for x in word[1:] if (tool, f"-{x}") in known]
        elif tool == "tar" and at == 0:
            found += [(x, known[tool, x]) for x in word.lstrip("-") if (tool, x) in known]
        elif re.fullmatch(r"-[a-z]\d+", word) and (tool, word[:2]) in known:
            found.append((word[:2], known[tool, word[:2]]))
    return tuple(found)


def is_question(text: str) -> bool:
    """Whether a wording is a question of its own: "which folder is the biggest"."""
    return text.split(" ", 1)[0].lower() in _QUESTION_WORDS


def is_infinitive(text: str) -> bool:
    """Whether a wording can follow "how do I"."""
    return text.split(" ", 1)[0].lower() in _VERBS | shell_phrasing.VERBS


def ask(rng: Random, text: str) -> str:
    """A question from a wording: a full one, keywords, or the wording as it is if it is no infinitive."""
    if is_question(text):
        asked = text[:1].upper() + text[1:] if rng.random() < 0.5 else text
        return asked + rng.choice(("?", "?", ""))
    if not is_infinitive(text):
        return rng.choice(_NOUN_FRAMES).replace("{k}", text)
    if rng.random() < 0.22:
        keywords = re.sub(r"\b(?:an?|the|my|some) (?=[a-z])", "", text)
        return rng.choice(_KEYWORD_FRAMES).replace("{k}", keywords)
    return shell_phrasing.ask(rng, text, known=True)


def task_exchange(rng: Random) -> tuple[str, str]:
    """A task and its command."""
    task = rng.choice(tasks())
    asked, command, explain = everyday.vary(rng, task.ask(rng), task.command, task.explain)
    return ask(rng, asked), shell_phrasing.answer(rng, command, explain)


def _framed(name: str, rng: Random, **words: str) -> str:
    text = rng.choice(entries(_TABLE[name]))
    for key in words:
        text = text.replace(f"{{{key}}}", f"⟦{key}⟧")
    text = vary(text, rng, lead=0.05)
    for key, word in words.items():
        text = text.replace(f"⟦{key}⟧", word).replace(f"⟦{key.upper()}⟧", word)
    return text


def _difference(rng: Random) -> tuple[str, str]:
    one_, other, answer = rng.choice(rows("differences"))
    first, second = (one_, other) if rng.random() < 0.7 else (other, one_)
    return _framed("difference_asks", rng, x=first, y=second), answer


def _command(rng: Random) -> tuple[str, str]:
    command, does, parts = rng.choice(rows("commands"))
    if parts and rng.random() < 0.3:
        return _framed("part_asks", rng, x=command), parts
    return _framed("command_asks", rng, x=command), f"It {does}"


@cache
def _single_tools() -> tuple[tuple[str, ...], ...]:
    """The tools whose description fits no other."""
    counts = Counter(does for _, does in rows("tools"))
    return tuple(row for row in rows("tools") if counts[row[1]] == 1)


def _tool(rng: Random) -> tuple[str, str]:
    if rng.random() < 0.25:
        tool, does = rng.choice(_single_tools())
        return _framed("reverse_asks", rng, d=does), f"`{tool}` {does}."
    tool, does = rng.choice(rows("tools"))
    answer = rng.choice(entries(_TABLE["tool_answers"])).format(x=tool, d=does)
    return _framed("tool_asks", rng, x=tool), answer


def _flag(rng: Random) -> tuple[str, str]:
    key, meaning = rng.choice(rows("flags"))
    tool, flag = key.split(" ")
    return _framed("flag_asks", rng, x=tool, f=flag), f"`{flag}` {meaning}."


def _error(rng: Random) -> tuple[str, str]:
    message, why = rng.choice(rows("errors"))
    shown = message.lower() if rng.random() < 0.4 else message
    return _framed("error_asks", rng, x=f'"{shown}"' if rng.random() < 0.3 else shown), why


_KINDS = (task_exchange, _difference, _command, _tool, _flag, _error)
_WEIGHTS = (54, 8, 15, 11, 7, 5)


def exchange(rng: Random) -> tuple[str, str]:
    """One question and its answer."""
    return rng.choices(_KINDS, _WEIGHTS)[0](rng)


def one(rng: Random) -> Conversation:
    """One question, sometimes two."""
    system = rng.choice(everyday.SYSTEM_PROMPTS) if rng.random() < 0.1 else ""
    turns = list(exchange(rng))
    if rng.random() < 0.08:
        turns += exchange(rng)
    return talk(*turns, system=system)

"""The words of questions and commands, as an index and a query share them; and which command a question is about.

Torch-free.
"""

import re
from collections.abc import Iterator, Set
from itertools import pairwise

LONGEST = 4000  # characters of a question that are looked at
LONGEST_COMMAND = 500  # and of one that may hold a command

_WORD = re.compile(r"[^\W_]+")
_STOP = frozenset(
    "a an the of for to i me my you your we us our it its is are am be been was do does did how can could would should "  # noqa: SIM905
    "will what s t m d ll re ve there that this these those please with in on at by from and or as if so then into "
    "some any have has want need like trying try using use used given via one ones thing things also now ok okay hi "
    "hey hello thanks get gets let e g".split()
)
# Words of the question about a command, not of what the command does: they count only when nothing else is left.
_WEAK = frozenset(
    "command commands linux unix ubuntu bash shell terminal cli way easiest quick easy best simple simplest forgot "  # noqa: SIM905
    "tell explain type know wanted where which who when here currently".split()
)
# A question of these alone asks for what was said before.
_RECALL = frozenset("command commands repeat again forgot say once more gave u pls tell remember".split())  # noqa: SIM905
_SAME = {
    "folder": "directory", "folders": "directory", "dir": "directory", "dirs": "directory",
    "subfolder": "subdirectory", "subfolders": "subdirectory", "subdirs": "subdirectory",
    "delete": "remove", "erase": "remove", "deleting": "remove", "deletes": "remove",
    "display": "show", "view": "show", "see": "show", "print": "show", "list": "show", "displays": "show",
    "lists": "show", "shows": "show", "prints": "show", "search": "find", "searches": "find", "searching": "find",
    "uncompress": "extract", "decompress": "extract", "unpack": "extract", "unzip": "extract zip",
    "untar": "extract tar", "biggest": "large", "largest": "large", "bigger": "large", "larger": "large",
    "big": "large", "newest": "recent", "latest": "recent", "make": "create", "makes": "create",
    "terminate": "kill", "machine": "system", "computer": "system", "pc": "system", "app": "program",
    "apps": "program", "application": "program", "applications": "program", "quit": "exit", "duplicate": "copy",
    "pictures": "image", "picture": "image", "photo": "image", "photos": "image", "many": "count", "number": "count",
}  # fmt: skip
_PHRASES = re.compile(
    r"\b(?:(?:show|tell|give|help|remind) me|(?:on|in|from|at|using) (?:the |a |my )?(?:command line|terminal|shell|"
    r"linux|bash|ubuntu)|(?:type|enter) to|look at|what's the|is there)\b",
    re.IGNORECASE,
)
_TICKS = re.compile(r"(?:```(?:sh|bash|shell|console)? ?|`)(?:\$ )?([^`]+?) ?`")
_ABOUT = re.compile(
    r"\s*(?:(?:hi|hey|ok|please|can you|could you|tell me|what is|what's|and|so)[,:]?\s+)*"
    r"(?:explain|what does|what is|what's|what do|what will|what happens (?:if|when) i (?:run|type)|describe|"
    r"meaning of)"
    r"(?: (?:this|the|that))?(?: do)?(?: (?:bash|shell|linux))?(?: command)?(?: do)?[:,]?\s+(\S.*?)"
    r"(?:\s+(?:do|does|mean|for))?\s*[?.!]*\s*$",
    re.IGNORECASE | re.DOTALL,
)
_FLAGGED = re.compile(r"(?:^|[\s:$])([a-z][\w.+-]*)((?:\s+[\w./]+)?\s+--?[A-Za-z][\w-]*.*)", re.DOTALL)
_FLAG = re.compile(r"(?:^|\s)-([A-Za-z]{1,6})\b")
_PREFIX = re.compile(r"\s*(?:\$\s+)?(?:(?:sudo(?:\s+-\w+)*|env|time|nohup|[A-Z_]+=\S*)\s+)*", re.ASCII)
_PATH = re.compile(r"(?:^|\s)(?:~|\.{1,2})?/[\w.-]+(?:/[\w.-]+)+|(?:^|\s)~/\w")
_FOLLOWS = re.compile(
    r"\s*(?:and|then|now|also|but|ok|okay|thanks)\b|\b(?:it|its|them|their|that|those|instead|again)\b", re.IGNORECASE
)
_CUE = re.compile(r"[a-z']+|[0-9]+|[?!/.~|*]")


def terms(text: str) -> list[str]:
    """The words that an index and a query share: small, without function words, synonyms made one."""
    kept = (_SAME.get(word, word) for word in _WORD.findall(text.lower()) if word not in _STOP)
    return " ".join(kept).split()


def tool_of(command: str) -> str:
    """The first word of a command after sudo, env and assignments, without its folder."""
    return (_PREFIX.sub("", command, count=1).split() or [""])[0].rpartition("/")[2]


def token(tool: str) -> str:
    """A tool's name as one word: apt-get is aptget."""
    return "".join(_WORD.findall(tool.lower()))


def parts(command: str) -> list[str]:
    """What a command is looked up by besides its tool: its words, long flags, and each letter of its short flags."""
    rest = _PREFIX.sub("", command, count=1).partition(" ")[2]
    bundle = re.match(r"[a-z]{1,6}\b(?![/.=])", rest) if tool_of(command) in ("tar", "ar", "ps", "unrar") else None
    letters = "".join(_FLAG.findall(rest)) + (bundle.group() if bundle else "")
    return [*(f"flag{letter}" for letter in dict.fromkeys(letters)), *_WORD.findall(rest.lower())]


def cues(text: str) -> Iterator[str]:
    """What tells a question at the shell from other talk: its words and pairs of words, each once."""
    words = ["^", *("#" if w.isdigit() else w for w in _CUE.findall(text[:LONGEST].lower())[:60]), "$"]
    yield from dict.fromkeys(words[1:-1])
    yield from dict.fromkeys(f"{a} {b}" for a, b in pairwise(words))


def kind(command: str) -> tuple[str, ...]:
    """What near-duplicates share: the tool, its first word that is no argument, and the flags."""
    words = _PREFIX.sub("", command, count=1).split()
    second = tuple(word for word in words[1:2] if word.isalpha())
    return (*words[:1], *second, *sorted(word for word in words[1:] if word.startswith("-") or word in "|><"))


def asked(question: str) -> list[str]:
    """The words of a question that tell what is looked for; the weak ones only when there are no others."""
    words = list(dict.fromkeys(terms(_PHRASES.sub(" ", question[:LONGEST]))))
    return [word for word in words if word not in _WEAK] or words


def tells_what(question: str) -> bool:
    """Whether a question has words that something could be looked up by; "repeat the command" has none."""
    return not _RECALL.issuperset(terms(question[:LONGEST]))


def is_follow_up(question: str) -> bool:
    """Whether a question may only make sense after the one before."""
    return len(question) < 100 and _FOLLOWS.search(question) is not None


def has_path(text: str) -> bool:
    """Whether a path such as /etc/hosts or ~/notes stands in the text."""
    return _PATH.search(text[:LONGEST]) is not None


def command_in(question: str, tools: Set[str]) -> tuple[str, bool]:
    """The command that a question is about, such as `tar xzf a.tgz`, when it begins with one of tools; else "".

    With it, whether its form leaves no doubt: backticks or flags. "what is sum 5 5" may be no command.
    """
    question = " ".join(question[:LONGEST].split())[:LONGEST_COMMAND]  # runs of spaces would make the patterns slow
    ticked = _TICKS.search(question)
    if ticked and tool_of(ticked.group(1)) in tools:
        return ticked.group(1), True
    if (about := _ABOUT.match(question)) and len(about.group(1).split()) > 1:
        command = about.group(1).strip("`'\" ")
        rest = command.partition(" ")[2]
        if tool_of(command) in tools and re.search(r"(?:^|\s)-{1,2}\w|[/.*|>]|\d", rest):
            return command, re.search(r"(?:^|\s)-{1,2}[A-Za-z]", rest) is not None
    flagged = _FLAGGED.search(question)
    if flagged and flagged.group(1) in tools:
        return (flagged.group(1) + flagged.group(2)).strip(), True
    return "", False

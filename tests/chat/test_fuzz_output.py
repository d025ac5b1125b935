"""Generated outputs full of what could drive a terminal: none of it is sent, and no renderer ever raises."""

import random
import re
import unicodedata

import pytest
from test_render import FORBIDDEN, PAYLOADS, STYLE

from chat.render import Markdown, Plain, Renderer, safe_text

CONTROLS = [chr(n) for n in (*range(0x20), *range(0x7F, 0xA0))]
HIDDEN = [
    *"\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2060\u2066\u2069\u202a\u202e\ufeff\ufe0f\u3164"
]
BEGUN = [
    "\x1b[",
    "\x1b]52;c;",
    "\x1b]0;",
    "\x1b]8;;",
    "\x1bP",
    "\x1b_",
    "\x1b^",
    "\x1bX",
    "\x9b",
    "\x9d",
    "2J",
    "31m",
    "\x07",
]
MARKS = [
    *"*_`#>-+~\\",
    "**",
    "```",
    "~~~",
    "```python\n",
    "```sh\n",
    "```nonsense\n",
    "# ",
    "- ",
    "1. ",
    "> ",
    "\n",
    "\n",
    " ",
    "\t",
]
WORDS = ["word", "ls -l", "import os", "日本語", "é", "e\u0301", "👩‍👧", "العربية", "x = 'a' # b", "\ud800", "\udfff"]
GROUPS = (CONTROLS, HIDDEN, BEGUN, MARKS, MARKS, WORDS, list(PAYLOADS.values()))


def generated(chance: random.Random) -> str:
    """One output: pieces of all kinds, and now and then any character that there is."""
    pieces = [chance.choice(chance.choice(GROUPS)) for _ in range(chance.randrange(1, 9))]
    if chance.random() < 0.3:
        pieces.insert(chance.randrange(len(pieces) + 1), chr(chance.randrange(0x110000)))
    return "".join(pieces)


def written(renderer: Renderer, text: str, chance: random.Random) -> str:
    """The text as it is streamed: cut anywhere."""
    parts, rest = [], text
    while rest:
        size = chance.randrange(1, 12)
        parts.append(renderer.feed(rest[:size]))
        rest = rest[size:]
    return "".join(parts) + renderer.finish()


def check(text: str, chance: random.Random) -> None:
    """What a terminal and what a pipe would get."""
    safe = safe_text(text)
    assert not FORBIDDEN.search(safe) and len(safe) >= len(text), ascii(text)
    assert STYLE.sub("", written(Markdown(chance.choice(["dark", "light"])), text, chance)) == safe, ascii(text)
    assert written(Plain(), text, chance) == safe, ascii(text)
    piped = written(Plain(terminal=False), text, chance)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", piped), ascii(text)


@pytest.mark.parametrize("count", [3_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_no_generated_output_reaches_the_terminal_unescaped(count: int) -> None:
    chance = random.Random(count)
    seen: set[str] = set()
    for _ in range(count):
        text = generated(chance)
        seen.update(text)
        check(text, chance)
    assert {c for c in map(chr, range(0xA0)) if unicodedata.category(c) == "Cc"} <= seen, "every control was tried"

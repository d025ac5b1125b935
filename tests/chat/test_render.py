"""No text drives the terminal, none is lost, and it does not matter where a stream was cut."""

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat.render import Markdown, Plain, Safe, safe_text

STYLE = re.compile("\x1b\\[[0-9;]*m")
PAYLOADS = {
    "colour": "\x1b[31mred\x1b[0m",
    "clear": "\x1b[2J\x1b[H",
    "title": "\x1b]0;title\x07",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "hyperlink": "\x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\",
    "dcs": "\x1bPq#0;2;0;0;0\x1b\\",
    "apc": "\x1b_Gf=100\x1b\\",
    "pm": "\x1b^x\x1b\\",
    "sos": "\x1bXx\x1b\\",
    "reset": "\x1bc",
    "unterminated": "\x1b]0;never closed",
    "lone escape": "a\x1b",
    "c1 csi": "\x9b31mred",
    "c1 osc": "\x9d52;c;x\x9c",
    "c1 dcs": "\x90x\x9c",
    "bell, backspace, return": "a\x07\x08\rb",
    "shift out": "\x0e\x0f",
    "delete": "a\x7f",
    "bidi": "\u202eevil\u202c\u2066x\u2069\u200f\u061c",
    "zero width": "a\u200bb\u2060c\ufeffd\u00ade",
    "tags": "a" + "".join(chr(0xE0000 + ord(c)) for c in "hidden"),
    "hidden bytes in selectors": "a\ufe00\ufe01\ufe02" + "\U000e0100\U000e0101",
    "lines": "a\u2028b\u2029c",
    "fillers": "\u3164\u115f\uffa0",
    "surrogate": "\ud800",
}
KEPT = [
    "plain ascii\n\twith tabs",
    "Grüße, 日本語, العربية, हिन्दी",
    "👩‍👩‍👧‍👦 👍🏽 ❤️ 1️⃣ 🏳️‍🌈",
    "می‌خواهم",
    "क्‍ष",
    "e\u0301 \u200e".rstrip("\u200e"),
]
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
MARKDOWN_PIECES = st.sampled_from(
    [
        "*",
        "**",
        "_",
        "`",
        "```",
        "~~~",
        "\n",
        " ",
        "# ",
        "- ",
        "1. ",
        "> ",
        "\\",
        "word",
        "bash",
        "é",
        "👩‍👧",
        "\t",
        "=",
        "\x1b[",
        "x*y",
    ]
)
MARKDOWN = st.lists(MARKDOWN_PIECES | st.text(max_size=5), max_size=40).map("".join)


def render(text: str, cuts: list[int] | None = None) -> str:
    renderer = Markdown()
    edges = sorted({0, len(text), *(c % (len(text) + 1) for c in cuts or [])})
    parts = [text[a:b] for a, b in pairwise(edges)]
    return "".join(renderer.feed(part) for part in parts) + renderer.finish()


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_is_shown_and_never_sent_wherever_it_is_cut(name: str) -> None:
    payload = PAYLOADS[name]
    whole = safe_text(payload)
    assert not FORBIDDEN.search(whole)
    assert len(whole) >= len(payload), "nothing is dropped"
    for cut in range(len(payload) + 1):
        safe = Safe()
        assert safe.feed(payload[:cut]) + safe.feed(payload[cut:]) == whole


@pytest.mark.parametrize("name", PAYLOADS)
def test_no_payload_is_written_to_a_file_as_an_escape(name: str) -> None:
    shown = Plain(terminal=False).feed(PAYLOADS[name])
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", shown)


@pytest.mark.parametrize("text", KEPT)
def test_what_people_write_is_not_touched(text: str) -> None:
    assert safe_text(text) == text


def test_a_file_gets_every_character_that_is_no_control() -> None:
    text = "a\u200bb\u202ec\r\n\ufeff\u00ad👩‍👧"
    assert Plain(terminal=False).feed(text) == text


@given(st.text())
def test_safe_text_holds_no_control_and_loses_no_character(text: str) -> None:
    safe = safe_text(text)
    assert not FORBIDDEN.search(safe)
    assert all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") for c in safe)
    assert len(safe) >= len(text)


@given(st.text())
def test_text_that_is_safe_stays_as_it_is(text: str) -> None:
    once = safe_text(text)
    assert safe_text(once) == once


@settings(max_examples=300)
@given(MARKDOWN, st.lists(st.integers(0, 200), max_size=8))
@example("```bash\nls\n``", [])
@example("***a** b*", [1, 2, 3])
@example("a\\", [])
@example("```x`y\n# z", [4])
@example("~~~\n\tx = 1\r\n~~~", [])
@example("` `` `\n``", [])
def test_styles_are_all_that_markdown_adds(text: str, cuts: list[int]) -> None:
    written = render(text, cuts)
    assert STYLE.sub("", written) == safe_text(text)
    assert not FORBIDDEN.search(STYLE.sub("", written))


@settings(max_examples=200)
@given(MARKDOWN, st.lists(st.integers(0, 200), max_size=8))
def test_the_look_does_not_depend_on_where_the_stream_is_cut(text: str, cuts: list[int]) -> None:
    assert styled(render(text, cuts)) == styled(render(text))


@given(MARKDOWN)
def test_every_line_ends_without_a_style(text: str) -> None:
    for line in render(text).split("\n"):
        codes = STYLE.findall(line)
        assert not codes or codes[-1] == "\x1b[0m"


def styled(written: str) -> list[tuple[str, str]]:
    """Each visible character with the style that it has."""
    style, result = "", []
    for part in re.split("(\x1b\\[[0-9;]*m)", written):
        if STYLE.fullmatch(part):
            style = "" if part == "\x1b[0m" else part
        else:
            result += [(char, style) for char in part]
    return result


@pytest.mark.parametrize(
    ("text", "word", "code"),
    [
        ("# Head\n", "Head", "1;36"),
        ("a **bold** b", "bold", "1"),
        ("an *italic* b", "italic", "3"),
        ("an _italic_ b", "italic", "3"),
        ("run `ls -l` now", "ls -l", "36"),
        ("- item", "- ", "1;36"),
        ("12. item", "12. ", "1;36"),
        ("> quoted", " quoted", "3"),
        ("  ## Head\n", "Head", "1;36"),
    ],
)
def test_markdown_is_styled(text: str, word: str, code: str) -> None:
    assert f"\x1b[{code}m{word}\x1b[0m" in render(text)


@pytest.mark.parametrize(
    "text", ["find . -name *.txt *", "2 * 3 * 4", "snake_case_name", "a ** b", "#!/bin/sh", "-5", "1.5", "f(**kw"]
)
def test_marks_that_are_no_markdown_are_not_styled(text: str) -> None:
    visible = [char for char, style in styled(render(text)) if style]
    assert not visible or text == "f(**kw"


def test_code_is_highlighted_when_its_line_is_complete() -> None:
    renderer = Markdown()
    assert renderer.feed("```python\nimport os") == "\x1b[2m```python\x1b[0m\n"
    assert "\x1b[94mimport\x1b[0m" in renderer.feed(" # x\n")
    assert renderer.feed("```\n*a* ").startswith("\x1b[2m```\x1b[0m\n")


def test_an_unknown_language_and_a_very_long_line_are_shown_as_they_are() -> None:
    text = "```no-such-language\n" + "(" * 50_000 + "\n```\n"
    assert STYLE.sub("", render(text)) == text


def test_text_is_not_held_back_within_a_line() -> None:
    renderer = Markdown()
    assert STYLE.sub("", renderer.feed("Hello wor")) == "Hello wor"
    assert STYLE.sub("", renderer.feed("ld **bo")) == "ld **bo"

"""Lines break between words, whatever the width and wherever the stream was cut; and no character is lost by it."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from chat.render import Markdown, Plain
from chat.screen import Screen
from chat.wrapping import Wrap, Wrapped

STYLE = re.compile(r"\x1b\[[0-9;]*m")
WORDS = st.text(st.sampled_from("ab é日本。「」👍🏽\u200d✈\ufe0f🇩🇪 ,.-\t`"), max_size=80)
TEXTS = st.lists(st.one_of(WORDS, st.sampled_from(["\n", "```\n", "\n```py\n", "~~~\n", "`a b`", "\x1b[1mx y\x1b[0m"])))


def wrapped(text: str, width: int, indent: int = 0, size: int = 1000) -> str:
    wrap = Wrap(lambda: width, indent)
    return "".join(wrap.feed(text[n : n + size]) for n in range(0, len(text), size)) + wrap.finish()


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "three"]),
        ("one twotwo", ["one twotwo"]),
        ("one twotwos", ["one", "twotwos"]),
        ("one  two   x", ["one  two", "x"]),
        ("a wordlongerthanaline b", ["a", "wordlongerthanaline", "b"]),
        ("\n\n  - an item that", ["", "", "  - an", "item that"]),
        ("日本語のテキスト", ["日本語のテ", "キスト"]),
        ("日本語の「はい」", ["日本語の", "「はい」"]),
        ("日本語のね。はい", ["日本語の", "ね。はい"]),
        ("👍👍👍👍👍👍", ["👍👍👍👍👍", "👍"]),
        ("abc 한국어 단어가", ["abc 한국어", "단어가"]),
        ("👩‍🚀👩‍🚀👩‍🚀", ["👩‍🚀👩‍🚀", "👩‍🚀"]),
        ("ok ✈️✈️✈️✈️x", ["ok", "✈️✈️✈️✈️x"]),
        ("use `ls -l` now", ["use", "`ls -l`", "now"]),
        ("x `find . -name y` z", ["x", "`find . -name y` z"]),
        ("```\nls -l -a -h -r\n```\none two three", ["```", "ls -l -a -h -r", "```", "one two", "three"]),
        ("~~~\none two three\n```\none two three", ["~~~", "one two three", "```", "one two three"]),
        ("a\tb c d e", ["a\tb", "c d e"]),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_line_breaks_where_a_word_begins_and_code_not_at_all(text: str, lines: list[str], size: int) -> None:
    assert wrapped(text, 10, size=size).split("\n") == lines


@given(text=TEXTS.map("".join), width=st.integers(1, 30), size=st.integers(1, 9), indent=st.integers(0, 3))
def test_breaks_take_the_place_of_spaces_and_nothing_else_is_changed(
    text: str, width: int, size: int, indent: int
) -> None:
    parts = re.findall(r"\x1b\[[0-9;]*m|.", text, re.DOTALL)  # styles come whole
    wrap = Wrap(lambda: width, indent)
    shown = "".join(wrap.feed("".join(parts[n : n + size])) for n in range(0, len(parts), size)) + wrap.finish()
    assert shown == wrapped(text, width, indent), "it does not matter where the stream was cut"
    assert "".join(shown.split()) == "".join(text.split())
    if "`" not in text and "~" not in text and "\t" not in text:
        for line in STYLE.sub("", shown).split("\n"):
            [first] = re.findall(r"^\s*\S*", line)
            assert cell_len(line) <= width or cell_len(first) > width, "only a word as long as a line is too long"


@given(text=TEXTS.map("".join))
def test_without_a_width_every_character_is_written_as_it_is(text: str) -> None:
    assert wrapped(text, 0) == text


def test_only_the_word_that_may_not_fit_is_held_back() -> None:
    wrap = Wrap(lambda: 12)
    parts = ["Hel", "lo", " w", "orld", "s", ", ", "you"]
    assert [wrap.feed(part) for part in parts] == ["Hel", "lo", "", "", "", "\nworlds,", ""]
    assert wrap.finish() == " you"


def test_an_answer_that_goes_on_begins_a_line_and_stays_in_its_block_of_code() -> None:
    renderer = Wrapped(Plain(), lambda: 10)
    renderer.resume("words words words\n```\nls -")
    assert renderer.feed("l one two three four\n```\none two three") + renderer.finish() == (
        "l one two three four\n```\none two\nthree"
    )


def test_the_width_may_change_while_an_answer_streams() -> None:
    width = [10]
    renderer = Wrapped(Markdown(), lambda: width[0])
    shown = renderer.feed("one *two* three ")
    width[0] = 20
    assert STYLE.sub("", shown + renderer.feed("four five six seven") + renderer.finish()) == (
        "one *two*\nthree four five six\nseven"
    )


def test_what_goes_to_no_terminal_is_never_broken() -> None:
    out, err = io.StringIO(), io.StringIO()
    screen = Screen(out, err)
    text = "word " * 100
    screen.tell(text)
    screen.report(text)
    screen.aside(text)
    assert err.getvalue() == (text + "\n") * 3
    assert screen.renderer().feed(text) == text

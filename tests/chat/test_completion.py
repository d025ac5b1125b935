"""What Tab offers, in the line of a conversation."""

from pathlib import Path

import pytest

from chat.repl.commands import COMMANDS, SETTABLE
from chat.repl.completion import completions
from chat.settings import settings_file


def offered(text: str) -> list[str]:
    """The lines that Tab could make of this one."""
    return [text[: len(text) - offer.replaces] + offer.text for offer in completions(text)]


def test_commands_are_offered_with_their_help() -> None:
    assert "/regen" in offered("/re")
    assert next(o.meaning for o in completions("/reg")) == COMMANDS["/regen"].help
    assert set(offered("/")) == set(COMMANDS)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("/set top", ["/set top_k", "/set top_p"]),
        ("/set top-", ["/set top_k", "/set top_p"]),
        ("/set --top-", ["/set top_k", "/set top_p"]),
        ("/set overflow d", ["/set overflow drop-oldest", "/set overflow default"]),
        ("/set stats o", ["/set stats on", "/set stats off"]),
        ("/set top_k 1", []),
        ("/set top_k 1 ", []),
        ("/stats ", ["/stats on", "/stats off"]),
        ("/copy c", ["/copy code"]),
        ("/preset c", ["/preset creative", "/preset careful"]),
        ("/regen ", []),
        ("/xyzzy ", []),
        ("hello /re", []),
        ("hello", []),
        ("/re\n", []),
        ("a\n@", []),
    ],
)  # fmt: skip
def test_what_may_follow(text: str, lines: list[str]) -> None:
    settings_file().parent.mkdir(parents=True)
    settings_file().write_text("[presets.careful]\ntemperature = 0.1\n", encoding="utf-8")
    assert offered(text) == lines


def test_every_setting_that_can_be_set_is_offered() -> None:
    assert offered("/set ") == [f"/set {name}" for name in SETTABLE]


def test_files_are_offered_after_an_at_and_after_commands_that_take_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "some"
    (folder / "notes").mkdir(parents=True)
    for name in ("north.txt", ".hidden", "two words", "notes/deep.md"):
        (folder / name).write_text("x", encoding="utf-8")
    monkeypatch.chdir(folder)
    assert offered("what is in @no") == ["what is in @north.txt", "what is in @notes/"]
    assert offered("@notes/") == ["@notes/deep.md"]
    assert offered("/read no") == ["/read north.txt", "/read notes/"]
    assert offered("/save notes/d") == ["/save notes/deep.md"]
    assert offered(f"/read {folder}/.h") == [f"/read {folder}/.hidden"]
    assert offered("@") == ["@north.txt", "@notes/"]
    assert offered("@nowhere/x") == []
    assert offered("mail me@no") == []
    assert [o.shown for o in completions("@notes/d")] == ["deep.md"]


def test_settings_that_cannot_be_read_offer_nothing() -> None:
    settings_file().parent.mkdir(parents=True)
    settings_file().write_text("[broken", encoding="utf-8")
    assert offered("/preset ") == []

"""Files, the editor, the clipboard, the status line, and commands that are run, on a real terminal."""

import base64
import re
import sys
from pathlib import Path

import pytest
from emulator import Terminal

PASTE = "\x1b[200~{}\x1b[201~"


def chat(home: Path, *arguments: str, **options: object) -> Terminal:
    return Terminal(home, "chat", *arguments, **options)  # type: ignore[arg-type]


def below(terminal: Terminal) -> str:
    """What stands below the line of the cursor."""
    return "\n".join(terminal.screen.display[terminal.screen.cursor.y + 1 :]).strip()


@pytest.mark.parametrize("mode", [[], ["--plain"]])
def test_a_command_is_shown_alone_and_runs_only_after_yes(mode: list[str], home: Path) -> None:
    answer = "You could use:\n```sh\necho $((6 * 7)) > made\n```\nIt writes 42."
    with chat(home, *mode, engine={"answers": [answer]}, SHELL="/bin/sh", shell=f'cd {home} && exec "$@"') as terminal:
        terminal.ready()
        terminal.type("/cmd write 42 to made\r")
        terminal.see("\necho $((6 * 7)) > made\n")
        assert "It writes 42" not in terminal.text
        for no in ("\r", "n\r", "yet\r", "\x03", "\x04"):
            terminal.ready()
            before = terminal.text.count("It was not run.")
            terminal.type("/run\r")
            terminal.until(lambda: terminal.lines[-1].startswith("Run it?"), "the question")
            assert "  echo $((6 * 7)) > made\n" in terminal.text
            terminal.type(no)
            terminal.see("It was not run.", before + 1)
        assert not (home / "made").exists()
        terminal.ready()
        terminal.type("/run\r")
        terminal.until(lambda: terminal.lines[-1].startswith("Run it?"), "the question")
        terminal.type("y\r")
        terminal.ready()
        assert (home / "made").read_text(encoding="ascii") == "42\n"


def test_what_can_destroy_is_marked_and_typing_ahead_is_no_yes(home: Path) -> None:
    kept = home / "kept"
    kept.mkdir()
    with chat(home, engine={"answers": [f"`rm -rf {kept}`"]}) as terminal:
        terminal.say("/cmd delete it")
        assert "! rm deletes folders and everything in them, for good." in terminal.text
        terminal.ready()
        terminal.type("/run\ry\ry\r")
        terminal.until(lambda: terminal.lines[-1].startswith("Run it?"), "the question")
        terminal.type("\r")
        terminal.see("It was not run.")
        assert terminal.text.count("! rm deletes folders") == 2
    assert kept.is_dir()


@pytest.mark.parametrize("lines", [12, 400])
def test_a_long_paste_is_one_message(lines: int, home: Path) -> None:
    text = "\n".join(f"line {n} of the paste" for n in range(lines))
    with chat(home, "-n", "100000", engine={"chunk": 1000}) as terminal:
        terminal.ready()
        terminal.type(PASTE.format(text))
        terminal.see(f"line {lines - 1} of the paste")
        terminal.type("\r")
        terminal.see(f"line {lines - 1} of the paste", 2)
        terminal.say("/context")
        assert "1 turn" in terminal.text


def test_a_file_is_inserted_by_its_name_and_told(home: Path) -> None:
    (home / "notes.txt").write_text("milk and bread\n", encoding="utf-8")
    with chat(home, shell=f'cd {home} && exec "$@"') as terminal:
        terminal.ready()
        terminal.type("buy @not\t")
        terminal.see("> buy @notes.txt")
        terminal.type("\r")
        terminal.see("notes.txt: 14 tokens")
        terminal.see("buy milk and bread")
        terminal.say("/read notes.txt")
        terminal.see("notes.txt: 14 tokens", 2)
        terminal.say("what is it?")
        terminal.see("milk and bread\n\nwhat is it?")
        terminal.say("write to ada@home.org about @nothing.txt")
        terminal.see("There is no file nothing.txt")
        terminal.say("/save talk.md")
        terminal.say("/save talk.md")
        assert "is there already" in terminal.text
    saved = (home / "talk.md").read_text(encoding="utf-8")
    assert saved.startswith("## User\n\nbuy milk and bread\n\n## Assistant\n\nbuy milk and bread\n\n## User\n\nmilk")


def test_a_saved_conversation_is_loaded_beside_the_one_at_hand(home: Path) -> None:
    (home / "talk.md").write_text("## User\n\nmilk?\n\n## Assistant\n\nbread \x1b]0;x\x07\n", encoding="utf-8")
    with chat(home, shell=f'cd {home} && exec "$@"') as terminal:
        terminal.say("hello")
        terminal.ready()
        terminal.type("/load ta\t")
        terminal.see("> /load talk.md")
        terminal.type("\r")
        terminal.see("Loaded 1 turn from talk.md; /switch a goes back.")
        terminal.say("and?")
        terminal.say("/context")
        assert "2 turns" in terminal.text
        terminal.say("/load nothing.md")
        assert "nothing.md cannot be read" in terminal.text
        terminal.say("/switch a")
        terminal.see("-> hello")
    assert b"\x1b]0" not in terminal.raw


def test_the_editor_writes_the_next_message(home: Path) -> None:
    editor = home / "editor"
    editor.write_text('#!/bin/sh\necho "from the editor" >> "$1"\n', encoding="utf-8")
    editor.chmod(0o700)
    with chat(home, EDITOR=str(editor)) as terminal:
        terminal.ready()
        terminal.type("typed \x18\x05")  # Ctrl-X Ctrl-E
        terminal.see("typed from the editor")
        terminal.type("\r")
        terminal.see("typed from the editor", 2)
        terminal.ready()
        terminal.type("/editor words\r")
        terminal.see("from the editor", 3)
        terminal.type("\r")
        terminal.see("words", 3)
        terminal.ready()
        editor.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
        terminal.say("/editor")
        assert "ended with code 3" in " ".join(terminal.text.split())


def test_copy_asks_the_terminal_for_the_last_answer_or_its_last_block(home: Path) -> None:
    answer = "See:\n```\nfirst\n```\nor\n```sh\nls -l\n```\nDone \x07."
    with chat(home, engine={"answers": [answer]}) as terminal:
        terminal.say("hello")
        for command, text in (("/copy", answer), ("/copy code", "ls -l")):
            terminal.say(command)
            data = base64.b64encode(text.encode())
            terminal.until(lambda data=data: b"\x1b]52;c;" + data + b"\x07" in terminal.raw, "OSC 52")
        assert "Copied 5 characters by your terminal" in terminal.text
    with chat(home, "--plain", engine={"answers": [answer]}) as terminal:
        terminal.say("hello")
        terminal.say("/copy")
        assert "no way to the clipboard" in terminal.text


def test_the_line_below_the_input_tells_model_context_and_speed(home: Path) -> None:
    with chat(home, "--context", "500") as terminal:
        terminal.ready()
        terminal.until(lambda: "scripted  2/500 tokens" in below(terminal), "the status")
        terminal.say("hello")
        terminal.until(lambda: "/500 tokens  8 tokens/s" in below(terminal), "the speed")
        terminal.type("/exit\r")
        assert terminal.end() == 0
    assert "tokens/s" not in terminal.text, "the line goes away with its prompt"


def test_a_waiting_sign_stands_until_the_first_token(home: Path) -> None:
    with chat(home, engine={"prefill_delay": 0.3, "answers": ["done"]}) as terminal:
        terminal.ready()
        terminal.type("hi\r")
        terminal.until(lambda: terminal.lines[-1] == "...", "the sign")
        terminal.see("done")
        assert "..." not in terminal.text


def test_keys_that_are_typed_in_mid_answer_wait_for_the_prompt(home: Path) -> None:
    answer = " ".join(f"word{n}" for n in range(60))
    with chat(home, "-n", "1000", engine={"answers": [answer, "and done"], "delay": 0.02, "chunk": 5}) as terminal:
        terminal.ready()
        terminal.type("hello\r")
        terminal.see("word5")
        terminal.type("qqq")
        terminal.see("word59")
        assert " ".join(answer.split()) in " ".join(terminal.text.split()), "the keys do not stand in the answer"
        terminal.see("> qqq")
        terminal.type("\r")
        terminal.see("and done")


def test_a_window_that_grows_in_mid_answer_loses_nothing(home: Path) -> None:
    answer = " ".join(f"word{n}" for n in range(300))
    with chat(home, "-n", "100000", engine={"answers": [answer], "chunk": 5, "delay": 0.002}) as terminal:
        terminal.ready()
        terminal.type("hello\r")
        terminal.see("word20")
        terminal.process.setwinsize(30, 100)
        terminal.screen.resize(30, 100)
        terminal.ready()
        seen = "".join(terminal.text.split())
        assert seen.count("".join(answer.split())) == 1


@pytest.mark.parametrize(
    ("flags", "sent"), [(["--theme", "none"], b""), (["--theme", "light"], b"\x1b[1;34m"), ([], b"\x1b[1;36m")]
)
def test_a_theme_chooses_the_colours(flags: list[str], sent: bytes, home: Path) -> None:
    with Terminal(home, "run", "x", *flags, engine={"answers": ["# Head"]}) as terminal:
        assert terminal.end() == 0
    assert sent in terminal.raw and (sent or b"\x1b[" not in terminal.raw)


def test_raw_output_is_sent_as_it_is_and_only_then(home: Path) -> None:
    answer = "a\x1b]0;title\x07b\u202ec"
    for flags in ([], ["--raw-output"]):
        with Terminal(home, "run", "x", *flags, engine={"answers": [answer]}) as terminal:
            assert terminal.end() == 0
        assert (answer.encode() in terminal.raw) is bool(flags)


def test_no_payload_reaches_the_terminal_however_it_is_cut_into_tokens(home: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "chat"))
    from test_render import FORBIDDEN, PAYLOADS

    answer = "\n".join(text for name, text in PAYLOADS.items() if name != "surrogate")  # no token decodes to one
    for chunk in (1, 3):
        with Terminal(home, "run", "x", "-n", "9999", engine={"answers": [answer], "chunk": chunk}) as terminal:
            assert terminal.end() == 0
        sent = re.sub(rb"\x1b\[[0-9;]*m|\x1b\[K", b"", terminal.raw).decode()
        assert not FORBIDDEN.search(sent.replace("\r", "")), "only our own colours, and the erasing of our own line"
        assert "␛]52;c;ZXZpbA==␇" in sent.replace("\r", "")
        assert terminal.raw.count(b"\x1b[31m") == 0, "a colour of the model's is no colour of ours"

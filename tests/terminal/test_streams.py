"""What goes to which stream, for every mix of files, pipes and terminals."""

import itertools
import json
import os
import pty
import select
import signal
import subprocess
from pathlib import Path

import pytest
from emulator import DRIVER, PATIENCE, ROOT, Terminal, environment, tfm

ANSWER = "# Head\n**bold** `code`\n\x1b]52;c;x\x07\n```python\nimport os\n```\n"
KINDS = ("file", "pipe", "terminal")


@pytest.mark.parametrize("command", ["run", "chat"])
@pytest.mark.parametrize(("out", "err"), list(itertools.product(KINDS, KINDS)))
def test_no_escape_reaches_a_stream_that_is_no_terminal(command: str, out: str, err: str, home: Path) -> None:
    arguments = ["run", "hello", "--stats"] if command == "run" else ["chat", "--stats"]
    written = mixed(home, arguments, out, err)
    for kind, name in ((out, "out"), (err, "err")):
        if kind != "terminal":
            assert b"\x1b" not in written[name]
            assert b"\r" not in written[name]
            assert (b"Head" if name == "out" else b"seed 1234") in written[name]
    assert b"\x1b]52" not in written["terminal"]
    assert (b"\x1b[1m" in written["terminal"]) is (out == "terminal")


def mixed(home: Path, arguments: list[str], out: str, err: str) -> dict[str, bytes]:
    """What each stream got. stdin is a terminal; `hello` and `/exit` have been typed on it."""
    master, slave = pty.openpty()
    os.write(master, b"hello\n/exit\n" if arguments[0] == "chat" else b"\x04")
    readers = {master: "terminal"}
    streams = {}
    for name, kind in (("out", out), ("err", err)):
        if kind == "pipe":
            reader, streams[name] = os.pipe()
            readers[reader] = name
        else:
            streams[name] = slave if kind == "terminal" else os.open(home / name, os.O_CREAT | os.O_WRONLY)
    process = subprocess.Popen(
        [*DRIVER, json.dumps({"answers": [ANSWER]}), *arguments],
        stdin=slave, stdout=streams["out"], stderr=streams["err"], env=environment(home), cwd=ROOT,
    )  # fmt: skip
    for fd in {slave, *streams.values()}:
        os.close(fd)
    written = {"terminal": b"", "out": b"", "err": b""}
    while readers:
        for fd in select.select(list(readers), [], [], PATIENCE)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:  # the last one closed the terminal
                data = b""
            written[readers[fd]] += data
            if not data:
                os.close(fd)
                del readers[fd]
    assert process.wait(PATIENCE) == 0
    return written | {n: (home / n).read_bytes() for n, k in (("out", out), ("err", err)) if k == "file"}


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}])
def test_no_escape_reaches_a_terminal_that_asked_for_none(env: dict[str, str], home: Path) -> None:
    plain = [] if env else ["--plain"]
    with Terminal(home, "run", "hello", "--stats", *plain, engine={"answers": [ANSWER]}, **env) as terminal:
        assert terminal.end() == 0
    assert b"\x1b" not in terminal.raw
    assert "**bold** `code`" in terminal.text


def test_the_answer_and_only_the_answer_is_captured(home: Path) -> None:
    done = tfm(home, "run", "hello", engine={"answers": ["An answer."]})
    assert (done.stdout, done.stderr, done.returncode) == (b"An answer.\n", b"", 0)


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "en_US.ISO-8859-1"},
    ],
)
def test_text_is_utf8_whatever_the_locale(env: dict[str, str], home: Path) -> None:
    text = "Grüße 日本語 👩‍👧"
    done = tfm(home, "run", text, stdin=text.encode(), **env)
    assert (done.stdout.decode(), done.stderr) == (f"{text}\n\n{text}\n", b"")
    chat = tfm(home, "chat", stdin=text.encode(), **env)
    assert (chat.stdout.decode(), chat.stderr) == (f"{text}\n", b"")
    wrong = tfm(home, "run", "-f", text, **env)
    assert text in wrong.stderr.decode()


@pytest.mark.parametrize(
    "arguments", [["run", "x"], ["chat"], ["--help"], ["run", "x", "--json"], ["run", "x", "--stats"]]
)
def test_a_reader_that_leaves_is_no_error(arguments: list[str], home: Path) -> None:
    engine = json.dumps({"words": 30_000, "chunk": 1000})
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*DRIVER, engine, *arguments, *(["-n", "1000000"] if arguments[0] != "--help" else [])],
        stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.PIPE, env=environment(home), cwd=ROOT,
    )  # fmt: skip
    os.close(writer)
    if arguments[0] == "run" and "--json" not in arguments:
        assert process.stdin
        process.stdin.close()
        process.stdin = None
        assert os.read(reader, 1)
    os.close(reader)
    _, err = process.communicate(b"hello\nagain\n" if process.stdin else None, timeout=PATIENCE)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize("close", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(close: str, home: Path) -> None:
    with Terminal(home, "run", "hello", shell=f'"$@" {close}') as terminal:
        assert terminal.end() == 0
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize(("arguments", "code"), [(["run"], 2), (["chat"], 0), (["run", "--raw"], 2), (["--help"], 0)])
def test_nothing_waits_when_there_is_no_input(arguments: list[str], code: int, home: Path) -> None:
    assert tfm(home, *arguments).returncode == code
    assert tfm(home, *arguments, stdin=b"").returncode == code


def test_run_does_not_wait_for_a_terminal(home: Path) -> None:
    with Terminal(home, "run") as terminal:
        assert terminal.end() == 2
    assert "There is no prompt." in terminal.text


def test_ctrl_c_in_run_keeps_what_there_is_and_exits_130(home: Path) -> None:
    process = subprocess.Popen(
        [*DRIVER, json.dumps({"answers": ["word " * 500], "delay": 0.02}), "run", "x", "-n", "9999"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(home), cwd=ROOT,
    )  # fmt: skip
    assert process.stdout
    begun = os.read(process.stdout.fileno(), 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert (begun + out).startswith(b"word"[: len(begun + out) - 1])
    assert out.endswith(b"\n")
    assert err == b""


def test_ctrl_c_in_json_still_gives_a_whole_object(home: Path) -> None:
    process = subprocess.Popen(
        [*DRIVER, json.dumps({"answers": ["word " * 500], "delay": 0.02}), "run", "x", "-n", "9999", "--stream-json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment(home), cwd=ROOT, text=True,
    )  # fmt: skip
    assert process.stdout
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert json.loads(first)["type"] == "delta"
    last = json.loads(out.splitlines()[-1])
    assert (last["type"], last["finish"]["reason"], process.returncode) == ("finish", "interrupted", 130)


def test_piped_lines_are_answered_one_by_one_and_nothing_else_is_printed(home: Path) -> None:
    done = tfm(home, "chat", stdin=b"hello\n/set top_k 3\nagain\n")
    assert (done.stdout, done.returncode) == (b"hello\nagain\n", 0)
    assert done.stderr == b"top_k = 3 (/set)\n"


def test_a_piped_error_is_the_exit_code(home: Path) -> None:
    done = tfm(home, "chat", stdin=b"/nonsense\nhello\n")
    assert (done.stdout, done.returncode) == (b"hello\n", 2)


def test_the_end_of_a_cut_answer_is_told_to_a_person_only(home: Path) -> None:
    with Terminal(home, "run", "hello", "-n", "2") as terminal:
        terminal.end()
    assert "stopped: 2-token limit" in terminal.text
    assert tfm(home, "run", "hello", "-n", "2").stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full disk to write to")
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("arguments", [["run", "hello"], ["run", "hello", "--json"], ["--help"], ["chat"]])
def test_a_full_disk_is_one_sentence_and_no_bug(arguments: list[str], buffered: bool, home: Path) -> None:
    shell = 'exec "$@" > /dev/full'
    more = {} if buffered else {"PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", *DRIVER, "{}", *arguments],
        input=b"hello\n", stderr=subprocess.PIPE, env=environment(home, **more), cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.decode() == "tfm: The output cannot be written: No space left on device.\n"

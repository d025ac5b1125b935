"""A server that is not there, stops in mid-answer or sends nonsense: one sentence, the right exit code, bounded."""

import io
import itertools
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from openai_server import StubServer, answer, event, serving

from chat.cli import run_app
from chat.remote import engine as remote
from chat.remote.address import parse
from chat.remote.engine import RemoteEngine
from chat.sessions.journal import recover
from chat.sessions.store import Store
from engine.errors import UsageError
from engine.events import Finish, TextDelta
from engine.params import SamplingParams
from engine.template import Message


@pytest.fixture
def server() -> Iterator[StubServer]:
    with serving() as stub:
        yield stub


def be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait no longer than a test may."""
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(remote, "LIST_SECONDS", 0.3)


def told_by(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on stderr, without the server's address."""
    err = capsys.readouterr().err
    assert err.startswith("tfm: ") and err.count("\n") == 1 and "Traceback" not in err
    return err.removeprefix("tfm: ").rstrip("\n")


def test_a_server_that_is_not_there(capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    assert run_app(["run", "--server", f"127.0.0.1:{port}", "Hi"]) == 3
    assert told_by(capsys) == (
        f"The server at http://127.0.0.1:{port}/v1 cannot be reached: Connection refused. "
        "Is it running? --server names another."
    )


def test_a_server_that_never_answers(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    be_impatient(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert run_app(["run", "--server", f"127.0.0.1:{silent.getsockname()[1]}", "Hi"]) == 3
    assert told_by(capsys).endswith("has sent nothing for 0.3 seconds.")


def endless(part: bytes, pause: float = 0.0) -> Iterator[bytes]:
    for _ in itertools.count():
        yield part
        time.sleep(pause)


START = b"HTTP/1.1 200 OK\r\n"
STREAM = START + b"Content-Type: text/event-stream\r\n\r\n"
WRONG: dict[str, tuple[Callable[[], Iterator[bytes]], str]] = {
    "no HTTP": (lambda: iter([b"SSH-2.0-OpenSSH\r\n"]), "does not speak HTTP as it should: BadStatusLine"),
    "nothing": (lambda: iter([]), "closed the connection without an answer."),
    "endless header": (lambda: itertools.chain([START], endless(b"x" * 9999)), "sends without an end"),
    "endless headers": (lambda: itertools.chain([START], endless(b"A: b\r\n")), "does not speak HTTP as it should"),
    "slow header": (lambda: itertools.chain([START], endless(b"x", 0.05)), "has sent nothing for 0.3 seconds."),
    "endless line": (lambda: itertools.chain([STREAM, b"data: "], endless(b"x" * 9999)), "sends without an end"),
    "slow line": (lambda: itertools.chain([STREAM], endless(b"x", 0.05)), "has sent nothing for 0.3 seconds."),
    "only comments": (lambda: itertools.chain([STREAM], endless(b": ping\n\n", 0.05)), "nothing for 0.3 seconds."),
    "endless comments": (lambda: itertools.chain([STREAM], endless(b": ping\n" * 999)), "sends without an end"),
    "endless events": (lambda: itertools.chain([STREAM], endless(event(content=""))), "sends without an end"),
    "an empty stream": (lambda: iter([STREAM]), "ended without a word of an answer."),
    "a lying chunk": (
        lambda: iter([STREAM[:-2] + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n"]), "ended without a word",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_server_that_does_not_speak_as_it_should(server: StubServer, capsys, monkeypatch, case: str) -> None:
    parts, told = WRONG[case]
    if told.endswith("0.3 seconds."):
        be_impatient(monkeypatch)
    server.raw = parts()  # type: ignore[assignment]
    assert run_app(["run", "--server", server.url, "-n", "5", "Hi"]) == 3
    assert told in told_by(capsys)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"{", "it sent no JSON: '{'."),
        (b"<html>oops</html>", "it sent no JSON: '<html>oops</html>'."),
        (b"[]", "JSON that is no object"),
        (b"{}", "an event without `choices`"),
        (b'{"choices": [7]}', "a choice that is no object"),
        (b'{"choices": [{"delta": {"content": 7}}]}', "int in place of a text"),
        (b"[" * 100_000, "no JSON"),
        (b'{"error": {"message": "CUDA out of memory"}}', "The server broke off its answer: CUDA out of memory."),
        (b'{"choices": [{"delta": {}, "finish_reason": "content_filter"}]}', "as the reason: content_filter."),
    ],
    ids=lambda value: str(value)[:20],
)
def test_events_that_are_none(server: StubServer, capsys, data: bytes, told: str) -> None:
    server.reply = [b"data: " + data + b"\n\n"]
    assert run_app(["run", "--server", server.url, "Hi"]) == 3
    assert told in told_by(capsys)


@pytest.mark.parametrize(
    ("status", "body", "code", "told"),
    [
        (404, {"error": {"message": "model not found"}}, 3, "answered 404 Not Found: model not found."),
        (500, b"<html>", 3, "answered 500 Internal Server Error."),
        (503, {"detail": "loading"}, 3, "answered 503 Service Unavailable: loading."),
        (401, {"error": "no key"}, 3, "no key. The key is read from TFM_SERVER_KEY or OPENAI_API_KEY."),
        (302, b"", 3, "answered 302 Found. It sends elsewhere"),
        (400, {"error": {"code": "context_length_exceeded"}}, 4, "Nothing was left out: shorten it, or /undo turns."),
        (
            400,
            {"message": "This model's maximum context length is 9 tokens."},
            4,
            "maximum context length is 9 tokens.",
        ),
        (200, {"choices": []}, 3, "one text and no stream"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(server: StubServer, capsys, status, body, code, told) -> None:
    server.status, server.body = status, body if isinstance(body, bytes) else json.dumps(body).encode()
    assert run_app(["run", "--server", server.url, "Hi"]) == code
    assert told in told_by(capsys)


@pytest.mark.parametrize(
    ("models", "told"),
    [([], "has no model."), ("x", "it sent a list of models without `data`."), ([{"id": 7}], "int in place of a text")],
)
def test_a_list_of_models_that_is_none(server: StubServer, capsys, models, told) -> None:
    server.models = models
    assert run_app(["run", "--server", server.url, "Hi"]) == 3
    assert told in told_by(capsys)


def test_an_answer_that_stops_in_the_middle_is_kept_and_marked(server: StubServer, capsys, monkeypatch) -> None:
    server.reply = [event(content="Half an"), event(content=" answer")]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Hi\n/tree\nAnd?\n")))
    assert run_app(["chat", "--server", server.url]) == 3
    captured = capsys.readouterr()
    assert captured.out.startswith("Half an answer\n")
    assert "stopped in the middle of its answer." in captured.err and ", cut)" in captured.err
    assert [m["content"] for m in server.sent["messages"]] == ["Hi", "Half an answer", "And?"]
    server.reply = answer("Whole")
    assert run_app(["run", "--server", server.url, "--continue", "Again"]) == 0
    assert [m["content"] for m in server.sent["messages"]][1] == "Half an answer"


def test_an_answer_that_a_kill_cut_is_found_again(server: StubServer, capsys, monkeypatch) -> None:
    server.reply = [event(content="Half"), b"data: {\n\n"]
    # As if it had been killed there, with its journal written.
    monkeypatch.setattr("chat.sessions.keeper.Recording.end", lambda self, *_, **__: self._stop())
    monkeypatch.setattr("chat.sessions.journal.is_gone", lambda writer: True)
    assert run_app(["run", "--server", server.url, "Hi"]) == 3
    store = Store()
    recover(store)
    last = store.conversation(store.last() or "").path()[-1]
    assert (last.text, last.cut) == ("Half", True)


def events_until_cancelled(server: StubServer, *, after: int) -> list[object]:
    """The events of an answer that is cancelled once so many pieces of text have come."""
    engine = RemoteEngine(parse(server.url), "", "one", lambda _: None)
    seen: list[object] = []

    def cancelled() -> bool:
        return bool(server.requests) and sum(isinstance(e, TextDelta) for e in seen) >= after

    for item in engine.chat([Message("user", "Hi")], SamplingParams(), cancelled=cancelled):
        seen.append(item)
    return seen


@pytest.mark.parametrize("after", [0, 2])
def test_ctrl_c_ends_the_answer_and_the_connection(server: StubServer, after: int) -> None:
    def pausing() -> Iterator[bytes]:
        yield from (event(content=f"{n}") for n in range(after))
        yield from endless(b": thinking\n\n", 0.02)

    server.reply = pausing
    *_, finish = seen = events_until_cancelled(server, after=after)
    assert isinstance(finish, Finish) and finish.reason == "interrupted"
    assert "".join(e.text for e in seen if isinstance(e, TextDelta)) == "01"[:after]
    assert server.left.wait(10)


def test_run_that_is_interrupted_flushes_and_exits_with_130(server: StubServer, capsys) -> None:
    def pausing() -> Iterator[bytes]:
        yield event(content="So far")
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        yield from endless(b": thinking\n\n", 0.02)

    server.reply = pausing
    assert run_app(["run", "--server", server.url, "Hi"]) == 130
    assert capsys.readouterr().out == "So far\n"


def test_a_prompt_that_no_server_took_waits_and_can_be_asked_again(server: StubServer, capsys, monkeypatch) -> None:
    replies = iter([[], answer("Hello")])
    server.reply = lambda: iter(next(replies))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Hi\n/regen\n")))
    assert run_app(["chat", "--server", server.url]) == 3
    assert capsys.readouterr().out == "Hello\n"
    assert server.sent["messages"] == [{"role": "user", "content": "Hi"}]


def test_a_prefill_is_refused_before_anything_is_sent(server: StubServer) -> None:
    engine = RemoteEngine(parse(server.url), "", "one", lambda _: None)
    with pytest.raises(UsageError, match="tells no tokens"):
        list(engine.chat([Message("user", "Hi")], SamplingParams(), prefill="So", cancelled=lambda: False))
    assert not server.requests

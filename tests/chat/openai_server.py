"""`StubServer`: an OpenAI-compatible server on the loopback, in a thread, which also knows how to misbehave."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}


def event(**delta: Any) -> bytes:
    """One event of a stream; a finish_reason may be among the fields."""
    end = delta.pop("finish_reason", None)
    return b"data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": end}]}).encode() + b"\n\n"


def answer(*pieces: str, end: str = "stop", usage: dict[str, Any] | None = USAGE) -> list[bytes]:
    """The events of a whole answer."""
    counts = [b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"] if usage else []
    first = [b": a comment\n\n", event(role="assistant")]
    return [*first, *(event(content=p) for p in pieces), event(finish_reason=end), *counts, b"data: [DONE]\n\n"]


class StubServer(ThreadingHTTPServer):
    """models: what it lists. reply: the parts of each answer's stream; raw: what it writes in place of any HTTP.

    requests: (method, path, headers, body) of each. left: set when a stream ended because nobody listened.
    """

    daemon_threads = True

    def __init__(self, models: Sequence[str] = ("one",)) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models: Any = [{"id": name} for name in models]
        self.reply: list[bytes] | Callable[[], Iterator[bytes]] = answer("Hello", " there")
        self.status, self.body, self.kind = 200, b"", "text/event-stream"
        self.raw: list[bytes] | None = None
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.left = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def sent(self) -> dict[str, Any]:
        """The body of the last request for an answer."""
        return next(body for *_, body in reversed(self.requests) if body is not None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who has gone has gone."""


class Handler(BaseHTTPRequestHandler):
    server: StubServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.requests.append(("GET", self.path, dict(self.headers), None))
        self._whole(200, json.dumps({"data": self.server.models}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(("POST", self.path, dict(self.headers), body))
        if self.server.raw is not None:
            self._write(self.server.raw)
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if self.server.body or self.server.status != 200:
            self._whole(self.server.status, self.server.body)
            return
        self.send_response(200)
        self.send_header("Content-Type", self.server.kind)
        self.end_headers()
        reply = self.server.reply
        self._write(reply() if callable(reply) else reply)

    def _write(self, parts: Any) -> None:
        with suppress(OSError):
            for part in parts:
                self.wfile.write(part)
                self.wfile.flush()
            return
        self.server.left.set()

    def _whole(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(*models: str) -> Iterator[StubServer]:
    """A server that listens until the end of the block."""
    server = StubServer(models or ("one",))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()

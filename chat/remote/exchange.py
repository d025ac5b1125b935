"""One request to a server and its answer, on a thread of its own: so that Ctrl-C and a deadline count whatever the
network does. Everything is bounded: a line, the whole, and how long nothing may come. Torch-free.
"""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from chat.remote.address import Address
from engine.errors import ModelError

CONNECT_SECONDS = 10.0
POLL_SECONDS = 0.05  # how soon a Ctrl-C is seen
LONGEST_LINE = 1 << 20  # bytes; so much may a body be that is no stream, too
EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Head:
    """What a server answered before the body."""

    status: int
    reason: str
    is_stream: bool


class Exchange:
    """The head of the answer, then its parts: lines of data for a stream of events, else the body in one.

    silence: seconds that may pass without a head or a part. limit: bytes that a stream may have.
    Raises ModelError, in one sentence, for everything that a network and a server can do wrong.
    """

    def __init__(
        self, address: Address, key: str, path: str, body: dict[str, Any] | None, *, silence: float,
        limit: int = LONGEST_LINE,
    ) -> None:  # fmt: skip
        self._address, self._silence, self._limit = address, silence, limit
        self._request = ("GET" if body is None else "POST", address.path + path)
        self._body = None if body is None else json.dumps(body).encode()
        self._headers = {"Accept": f"{EVENTS}, application/json", "User-Agent": "tfm"}
        self._headers |= {} if body is None else {"Content-Type": "application/json"}
        self._headers |= {"Authorization": f"Bearer {key}"} if key else {}
        self._came: SimpleQueue[Head | bytes | Exception | None] = SimpleQueue()
        self._closed = threading.Event()
        self._socket: socket.socket | None = None
        self.head: Head | None = None
        threading.Thread(target=self._run, name="server", daemon=True).start()

    def parts(self, cancelled: Callable[[], bool]) -> Iterator[bytes]:
        """The parts of the body, once `head` is there. Ends early when it is cancelled."""
        while True:
            deadline = time.monotonic() + self._silence
            while True:
                if cancelled():
                    return
                with suppress(Empty):
                    came = self._came.get(timeout=POLL_SECONDS)
                    break
                if time.monotonic() > deadline:
                    raise ModelError(*self._told(TimeoutError()))
            if came is None:
                return
            if isinstance(came, Exception):
                raise ModelError(*self._told(came)) from came
            if isinstance(came, Head):
                self.head = came
            else:
                yield came

    def close(self) -> None:
        """End it, whatever it is waiting for; the server sees that nobody listens."""
        self._closed.set()
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _run(self) -> None:
        kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._address.host, self._address.port, timeout=CONNECT_SECONDS)
        try:
            connection.connect()
            assert connection.sock is not None, "it is connected"
            connection.sock.settimeout(self._silence)
            self._socket = connection.sock
            if self._closed.is_set():
                return
            connection.request(*self._request, body=self._body, headers=self._headers)
            with connection.getresponse() as response:
                kind_of_body = response.getheader("Content-Type", "").partition(";")[0].strip().lower()
                is_stream = response.status == http.client.OK and kind_of_body == EVENTS
                self._came.put(Head(response.status, response.reason, is_stream))
                for part in self._lines(response) if is_stream else (response.read(LONGEST_LINE + 1),):
                    self._came.put(part)
        except (OSError, http.client.HTTPException, ValueError) as e:  # ValueError: a name that cannot be one
            self._came.put(e)
        finally:
            self._came.put(None)
            connection.close()

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """What the lines `data: ...` hold. The others (names of events, comments that keep it alive) say nothing."""
        left = self._limit
        while line := response.readline(min(left, LONGEST_LINE) + 1):
            left -= len(line)
            if left < 0 or len(line) > LONGEST_LINE:
                raise http.client.LineTooLong("answer")
            field, _, value = line.partition(b":")
            if field == b"data":
                yield value.strip()

    def _told(self, error: Exception) -> tuple[str, str]:
        """(what went wrong, what to do)."""
        why = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        if self._socket is None:
            return f"The server at {self._address} cannot be reached: {why}.", "Is it running? --server names another."
        if isinstance(error, TimeoutError):
            return f"The server at {self._address} has sent nothing for {self._silence:g} seconds.", ""
        if isinstance(error, http.client.LineTooLong):
            return f"The server at {self._address} sends without an end, more than an answer can be.", ""
        if self.head is not None:
            return f"The server at {self._address} broke off its answer: {why}.", ""
        if isinstance(error, http.client.RemoteDisconnected | ConnectionError):
            return f"The server at {self._address} closed the connection without an answer.", ""
        return (
            f"The server at {self._address} does not speak HTTP as it should: {type(error).__name__}, {why[:200]}.",
            "",
        )

"""A hub on loopback that speaks as much of the Hugging Face hub's protocol as a download needs."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "c" * 40


class Served:
    """files: of owner/name. cut: files that are sent half, once. asked: (file, Range) of each GET."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.cut: set[str] = set()
        self.asked: list[tuple[str, str | None]] = []

    def info(self) -> bytes:
        siblings = [{"rfilename": name, "size": len(data), **_hashes(name, data)} for name, data in self.files.items()]
        return json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": siblings}).encode()


def _hashes(name: str, data: bytes) -> dict[str, object]:
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    sha256 = hashlib.sha256(data).hexdigest()
    large = name.endswith(".safetensors")
    lfs = {"lfs": {"sha256": sha256, "size": len(data), "pointerSize": 130}} if large else {}
    return {"blobId": git, **lfs}


@contextmanager
def serving(served: Served) -> Iterator[str]:
    """The address of the hub."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(send=False)

        def do_GET(self) -> None:
            self._answer(send=True)

        def _answer(self, send: bool) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/api/models/owner/name"):
                return self._send(served.info(), {}, send)
            prefix = f"/owner/name/resolve/{COMMIT}/"
            name = path.removeprefix(prefix)
            if not path.startswith(prefix) or name not in served.files:
                return self.send_error(404)
            data, told = served.files[name], _hashes(name, served.files[name])
            tag = told["lfs"]["sha256"] if "lfs" in told else told["blobId"]  # type: ignore[index]
            headers = {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            asked = self.headers.get("Range") if send else None
            if send:
                served.asked.append((name, asked))
            start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._send(data[start:], headers, send, cut=name in served.cut and send)
            return None

        def _send(self, data: bytes, headers: dict[str, str], send: bool, cut: bool = False) -> None:
            self.send_response(206 if "Content-Range" in headers else 200)
            for key, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if send:
                self.wfile.write(data[: len(data) // 2] if cut else data)
            if cut:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()

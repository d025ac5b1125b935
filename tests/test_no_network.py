"""Nothing here calls out: what tests are kept from, and which modules could."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NETWORK = "socket ssl urllib http requests httpx aiohttp ftplib smtplib xmlrpc huggingface_hub".split()  # noqa: SIM905
MAY_CALL_OUT = {
    "chat/pull_hub.py", "chat/pull_wheel.py", "chat/pull.py",  # `tfm models pull`
    "chat/remote/exchange.py", "chat/remote/address.py",  # `--server`; the second only takes URLs apart
}  # fmt: skip
ELSEWHERE = "192.0.2.1"  # of the block that is for documentation, and leads nowhere


def udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", (ELSEWHERE, 53))


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection((ELSEWHERE, 80), timeout=1),
        lambda: socket.getaddrinfo("example.org", 80),
        lambda: socket.gethostbyname("example.org"),
        lambda: socket.gethostbyaddr("8.8.8.8"),
        udp,
    ],
    ids=["connect", "getaddrinfo", "gethostbyname", "gethostbyaddr", "sendto"],
)
def test_nothing_beyond_this_machine_is_reached_or_looked_up(reach: Callable[[], object]) -> None:
    with pytest.raises(AssertionError, match="a test tried to"):
        reach()


def test_the_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
    assert socket.getaddrinfo("localhost", 80)


@pytest.mark.parametrize("terminal", [False, True])
def test_programs_that_tests_start_are_kept_from_it_too(terminal: bool, tmp_path: Path) -> None:
    env = dict(os.environ)
    if terminal:
        sys.path.insert(0, str(ROOT / "tests" / "terminal"))
        from emulator import environment

        env = environment(tmp_path)
    code = "import socket; socket.getaddrinfo('example.org', 80)"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "AssertionError: a test tried to look up 'example.org'" in done.stderr


def test_only_pulling_a_model_and_a_server_could_call_out() -> None:
    names = re.compile(rf"^\s*(?:import|from) (?:{'|'.join(NETWORK)})\b", re.MULTILINE)
    sources = (path for package in ("chat", "engine", "weights") for path in (ROOT / package).rglob("*.py"))
    found = {str(path.relative_to(ROOT)) for path in sources if names.search(path.read_text(encoding="utf-8"))}
    assert found and found <= MAY_CALL_OUT

"""No test reaches beyond this machine: name look-ups and connections to anything but the loopback raise.

An audit hook, which nothing can take away again. tests/conftest.py imports this; and as it puts this folder on
PYTHONPATH, every Python that a test starts imports it too.
"""

import socket
import sys

NAMES = {"", "localhost", socket.gethostname()}
CONNECTS = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getnameinfo")
LOOKS_UP = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


def is_here(host: object) -> bool:
    """Whether a host is this machine."""
    name = host.decode(errors="replace") if isinstance(host, bytes) else "" if host is None else str(host)
    return name in NAMES or name.startswith("127.") or name == "::1" or name.endswith(".localhost")


def forbid(event: str, arguments: tuple[object, ...]) -> None:
    """The hook: raise for what leaves this machine."""
    if event in CONNECTS:
        address = arguments[-1]
        if isinstance(address, tuple) and not is_here(address[0]):
            raise AssertionError(f"a test tried to reach {address[0]!r} ({event})")
    elif event in LOOKS_UP and not is_here(arguments[0]):
        raise AssertionError(f"a test tried to look up {arguments[0]!r} ({event})")


sys.addaudithook(forbid)

"""Where a server is, and with which key it is asked. Torch-free."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from chat.settings import Settings, flag
from engine.errors import UsageError

VERSION = "/v1"  # where the OpenAI API begins, by custom
KEYS = ("TFM_SERVER_KEY", "OPENAI_API_KEY")  # variables, the nearer first
HOST = re.compile(r"[A-Za-z0-9.:_-]+")


@dataclass(frozen=True)
class Address:
    """A server's place. path: of the API, such as /v1."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def is_here(self) -> bool:
        """Whether it is this machine, so that nothing leaves it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")


def address_of(settings: Settings) -> Address:
    """The server that the settings name. Raises UsageError for what is no place; offline, for another machine."""
    server, offline = settings.values["server"], settings.values["offline"]
    address = parse(server.value, server.source)
    if offline.value and not address.is_here:
        raise UsageError(
            f"{offline.source} forbids the network, and {address.host} ({server.source}) is another machine."
        )
    return address


def parse(url: str, source: str = flag("server")) -> Address:
    """The place that a URL names; http:// and /v1 may be left out. Raises UsageError that names its source."""
    example = "Write it as http://127.0.0.1:8080."
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError as e:
        raise UsageError(f"{source} is no URL: {e}.", example) from e
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"{source} holds a name or password, which would be kept.", f"The key belongs in {KEYS[0]}.")
    path = parts.path.rstrip("/")
    plain = HOST.fullmatch(host) and url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not plain or parts.query or parts.fragment:
        raise UsageError(f"{source} is no URL of a server: {url!r}.", example)
    path = path if path.endswith(VERSION) else path + VERSION
    return Address(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def key_for(address: Address, environ: Mapping[str, str] = os.environ) -> str:
    """The API key for a server; empty when there is none. Raises UsageError, without its text, for what can be none.

    OPENAI_API_KEY may be the key of another place, so it goes to this machine or over https and nowhere else.
    """
    for name in KEYS:
        key = environ.get(name, "").strip()
        if not key or (name != KEYS[0] and address.scheme != "https" and not address.is_here):
            continue
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"{name} holds characters that no key has.")
        return key
    return ""

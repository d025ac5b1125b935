"""The numbers of another model, kept in peers.json: benchmarks/peers.py makes them."""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("peers.json")


def load_peer() -> dict[str, Any] | None:
    """What was measured of the peer: name, date, method, size, bits_per_byte, right; None before."""
    if not FILE.is_file():
        return None
    peer: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return peer

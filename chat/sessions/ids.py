"""Names of sessions: eight characters that sort by time and can be typed; a part from the start is enough."""

import os
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing in it looks like something else
EPOCH = 1_704_067_200  # 2024-01-01; thirty bits of seconds from then last until 2058
RANDOM_BITS = 10
LENGTH = 8


def new_id(now: float | None = None) -> str:
    """Six characters of the second, two by chance. Two of the same second may be alike: the store tries again."""
    random = int.from_bytes(os.urandom(2)) % (1 << RANDOM_BITS)
    seconds = int(time.time() if now is None else now) - EPOCH
    number = (seconds << RANDOM_BITS | random) % (1 << 5 * LENGTH)
    return "".join(ALPHABET[number >> shift & 31] for shift in range(5 * (LENGTH - 1), -1, -5))


def normal(text: str) -> str:
    """An id as it was meant: capitals, and the letters that are taken for digits."""
    return text.strip().lower().translate(str.maketrans("oil", "011"))

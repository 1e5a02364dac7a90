"""Which 64-bit number stands for a text?

Equality values are looked up by such numbers, in the index and in searches alike.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b


@lru_cache(maxsize=65536)
def key(text: str) -> int:
    """The 64-bit key of an equality form, even: rows are found by it."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True) & ~1


def told(text: str) -> int:
    """The same, odd: SQLite keeps it on the row alone, because each entry of its ordered table slows every write."""
    return key(text) | 1

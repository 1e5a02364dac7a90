"""Which versions does the history of a type, or of everything, ask the store for?

R4 http.html#history. Plain values between `history.py` and the engines. Newest first by the moment that
meta.lastUpdated says, then by row number and version, a key that no two versions share: the next page starts strictly
after it, so that versions written meanwhile, which are newer, shift nothing.

What somebody who asks again and again may rely on: a version is committed after the moment that it carries, and
several are under way at any time. A page therefore says up to which moment it is complete (`Found.complete`); whoever
gives that moment as the next `since` misses nothing, and may see the versions of the last seconds again.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from common import errors
from fhir_server.changes import Stored

Key = tuple[int, int, int]  # updated, rid, version
Span = tuple[int, int]
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Asked:
    """Versions of all resources of `types`, tombstones included.

    `since`: those written at that moment or later. `at`: those that were current at some moment of that range; a
    deletion only when it happened in it. `after`: those that come after that key. At most `count`, and no more than
    have bodies of `room` bytes together (but always one). Moments are microseconds since 1970.
    """

    types: tuple[str, ...]
    count: int
    room: int
    since: int | None = None
    at: Span | None = None
    after: Key | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A page of versions; `after` is where the next one starts, None on the last page.

    `complete`: no version that carries an earlier moment will be committed any more. Only the first page says it: a
    later one does not hold what was written since the walk began.
    """

    rows: list[Stored]
    after: Key | None
    complete: int | None = None


def encode(key: Key) -> str:
    """A key as opaque, URL-safe text."""
    return urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(text: str) -> Key:
    """The inverse of `encode`. Raises Unreadable for what we did not give."""
    try:
        found = json.loads(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
        updated, rid, version = found
    except (ValueError, TypeError, UnicodeError, binascii.Error, RecursionError):
        raise _not_ours() from None
    if not all(type(one) is int and -_INT64 <= one < _INT64 for one in found):
        raise _not_ours()
    return updated, rid, version


def _not_ours() -> errors.Unreadable:
    return errors.Unreadable("lien de page suivante illisible ; reprenez l'historique au début", at="http._after")

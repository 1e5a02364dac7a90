"""What belongs to one patient, or to one encounter, and in which order is it given out?

Plain values between the operation `$everything` and the engines. A compartment is a set of reference keys (`index.py`),
whatever the types; its resources come by row number, oldest first, so that what is written meanwhile comes at the end.
"""

from __future__ import annotations

import binascii
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field

from common import errors
from fhir_server.changes import Stored

# What a next link remembers of what was sent along already: 8 bytes each, so that no address grows beyond 2,500.
MOST_REMEMBERED = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """Resources of `types` with one of `keys`, at most `count`, with `room` bytes together at most (but always one).

    `span` (microseconds): those with a date among the parameters `dated` that lies at least partly in it, and those
    without any. `since`: those changed at that moment or later. `after`: those with a higher row number.
    """

    keys: tuple[int, ...]
    types: tuple[str, ...]
    count: int
    room: int
    dated: tuple[int, ...] = ()
    span: tuple[int, int] | None = None
    since: int | None = None
    after: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A page; `after` is where the next one starts, None on the last page."""

    rows: list[Stored]
    after: int | None


@dataclass(slots=True)
class Place:
    """Where a walk has come: after which row, and the hashes of what has been sent along with earlier pages."""

    after: int = 0
    sent: list[int] = field(default_factory=list)

    def encode(self) -> str:
        """Opaque, URL-safe text."""
        numbers = (self.after, *self.sent[:MOST_REMEMBERED])
        return urlsafe_b64encode(struct.pack(f"<{len(numbers)}q", *numbers)).decode().rstrip("=")


def decode(text: str) -> Place:
    """The inverse of `Place.encode`. Raises Unreadable for what we did not give."""
    try:
        packed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        after, *sent = struct.unpack(f"<{len(packed) // 8}q", packed)
    except (ValueError, UnicodeError, binascii.Error, struct.error):
        raise errors.Unreadable("lien de page suivante illisible ; reprenez au début", at="http._after") from None
    return Place(after, sent)

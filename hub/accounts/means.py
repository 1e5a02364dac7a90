"""What do the pages of accounts rest on?

The tables of accounts and passkeys, the key of one-time codes, and how often may be tried, made once for the process.
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from common import clock, errors
from hub import keys
from hub.room import Room
from identity import accounts, attempts, codes, tokens
from identity.passkeys import Passkeys, Place

# Wrong passwords of one account from browsers that are not known, and of each known one; then wrong codes.
_PASSWORDS = {"most": 10, "seconds": 15 * 60}
_CODES = {"most": 5, "seconds": 60 * 60}
_HASHES_AT_ONCE = 2  # each takes 64 MiB


@dataclass(frozen=True, slots=True)
class Means:
    """Handed to who lets people in and to who lets them change how; `passkeys` is None where none can work."""

    accounts: accounts.Accounts
    passkeys: Passkeys | None
    codes: codes.Codes
    guesses: attempts.Attempts
    codes_tried: attempts.Attempts
    hashing: asyncio.Semaphore
    now: clock.Clock

    @property
    def passkeys_here(self) -> Passkeys:
        """Raises NotFound where none can work."""
        if self.passkeys is None:
            raise errors.NotFound("les clés d'accès demandent un nom de domaine : cette adresse n'en a pas")
        return self.passkeys


def build(room: Room, kept: tokens.Tokens, *, origin: str) -> Means:
    """As set; `origin` is our public address, without a path."""
    engine, now = kept.engine, room.now
    place = where(origin)
    return Means(
        accounts.Accounts(engine, now),
        Passkeys(engine, now, place) if place else None,
        codes.Codes(keys.derived(room.secret, b"one-time codes")),
        attempts.Attempts(engine, now, **_PASSWORDS),
        attempts.Attempts(engine, now, **_CODES),
        asyncio.Semaphore(_HASHES_AT_ONCE),
        now,
    )


def where(origin: str) -> Place | None:
    """Where passkeys work: a host name over https; on this machine alone `localhost`, over http too.

    A bare address is no relying party (WebAuthn 2, section 5.1.3 and RFC 6454).
    """
    parts = urlsplit(origin)
    host = parts.hostname or ""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        return Place(host, origin) if parts.scheme == "https" or host == "localhost" else None
    if not is_loopback:
        return None
    return Place("localhost", f"{parts.scheme}://localhost" + (f":{parts.port}" if parts.port else ""))

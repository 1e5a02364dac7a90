"""How do traces go that were kept as long as was wanted, so that the rest can still be verified?

Seal by seal from the beginning of each chain, a seal once all rows that it is over are old. In the place of the last
one that went an anchor stays: its digest, to which the next seal is tied, and a proof, keyed with the hub's secret,
that the hub took it. What was altered before is not taken away: the evidence stays.
"""

from __future__ import annotations

import hmac
import struct

from fhir_server.audit import trace
from fhir_server.audit.log import Kept, Seal

_DIGEST = 32
_AT_ONCE = 2000


async def run(kept: Kept, secret: bytes, before: int) -> int:
    """Take away what is older than a moment (microseconds); how many rows went. Raises Unavailable."""
    gone = 0
    for chain in await kept.chains():
        seals = await kept.seals(chain)
        taken, whole = await _sealed(kept, secret, before, seals)
        gone += taken
        if whole and (not seals or seals[-1].at < before):
            gone += await _unsealed(kept, chain, before)
    return gone


def anchor(secret: bytes, seal: Seal) -> Seal:
    """What stays of a seal whose rows are gone."""
    last = mac(seal)
    said = b"purged" + struct.pack("<3q", seal.chain, seal.k, seal.at) + last
    return seal._replace(numbers=b"", mac=last + hmac.digest(secret, said, "sha256"))


def mac(seal: Seal) -> bytes:
    """The digest that the next seal is tied to."""
    return seal.mac[:_DIGEST]


async def _sealed(kept: Kept, secret: bytes, before: int, seals: list[Seal]) -> tuple[int, bool]:
    """How many rows went, and whether nothing stands against going on."""
    gone, last = 0, b""
    for seal in seals:
        if seal.at >= before:
            break
        if seal.numbers:
            numbers = struct.unpack(f"<{len(seal.numbers) // 8}q", seal.numbers)
            rows = await kept.rows(seal.chain, list(numbers))
            if trace.sealed(secret, last, seal.numbers, [row.mac for row in rows]) != seal.mac:
                return gone, False
            if any(row.at >= before for row in rows):
                break
            await kept.forget(rows, anchor(secret, seal))
            gone += len(rows)
        last = mac(seal)
    return gone, True


async def _unsealed(kept: Kept, chain: int, before: int) -> int:
    """What a process that was killed had not sealed any more, once all of its seals are old."""
    gone = 0
    while old := [row for row in await kept.following(chain, -1, _AT_ONCE) if row.at < before]:
        await kept.forget(old, None)
        gone += len(old)
    return gone

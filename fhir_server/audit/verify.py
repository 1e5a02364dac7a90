"""Is the log of traces whole?

Each row is checked by its own digest, each seal by the rows that it names and by the seal before it, the last seal of a
chain by what is kept of it outside of the database. Rows without a seal are those of the last second before a process
was killed: they are told, with their digests checked.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from pathlib import Path

from fhir_server.audit import purge, trace
from fhir_server.audit.log import MODULUS, Kept, Seal

_ROWS_AT_ONCE = 5000


@dataclass(slots=True)
class Report:
    """What was looked at, and each line that is not as it was written."""

    rows: int = 0
    chains: int = 0
    unsealed: int = 0
    without_head: int = 0  # chains whose end is kept nowhere in this folder: of a process on another machine
    broken: list[str] = field(default_factory=list)
    found_by: list[int] = field(default_factory=lambda: [0, 0, 0])


async def verify(kept: Kept, secret: bytes, heads: Path | None) -> Report:
    """Walk every chain, also those of which only the head is left, as they are now. Raises Unavailable."""
    report = Report()
    # Heads first: what is durable only rises, so that a hub that goes on writing is not taken for one that was cut.
    known = {int(one.stem): _read(one) for one in heads.glob("*.head")} if heads and heads.is_dir() else {}
    async with kept.snapshot() as now:
        for chain in dict.fromkeys([*await now.chains(), *sorted(known)]):
            report.chains += 1
            seals = await now.seals(chain)
            _seals(chain, seals, await _rows(chain, now, secret, report), secret, report=report)
            if chain in known:
                _head(chain, seals, known[chain], report)
            elif seals:
                report.without_head += 1
        if tuple(report.found_by) != await now.found_by():
            report.broken.append("l'index des traces ne correspond plus aux lignes : des recherches en cachent")
    return report


def _small(key: int) -> int:
    """As both databases divide: the rest has the sign of the key."""
    return abs(key) % MODULUS * (1 if key >= 0 else -1)


async def _rows(chain: int, kept: Kept, secret: bytes, report: Report) -> dict[int, bytes]:
    """The digests of a chain's rows by number, each checked; the bodies of months do not fit into memory."""
    digests: dict[int, bytes] = {}
    after = -1
    while some := await kept.following(chain, after, _ROWS_AT_ONCE):
        for row in some:
            report.found_by[0] += len(row.of)
            report.found_by[1] += sum(map(_small, row.of))
            report.found_by[2] += len(row.of) * (row.at % MODULUS)
            if trace.mac(secret, (chain, row.n, row.at), row.body, row.of) != row.mac:
                report.broken.append(f"{chain}/{row.n} : ligne modifiée, ou ajoutée par un autre que le hub")
            if row.n in digests:
                report.broken.append(f"{chain}/{row.n} : ligne en double")
            digests[row.n] = row.mac
        after = some[-1].n
        await asyncio.sleep(0)
    report.rows += len(digests)
    return digests


def _seals(chain: int, seals: list[Seal], digests: dict[int, bytes], secret: bytes, *, report: Report) -> None:
    before, sealed, k = b"", set[int](), 0
    if seals and not seals[0].numbers:  # what was older has been kept as long as was wanted
        first, *seals = seals
        before, k = purge.mac(first), first.k
        if first != purge.anchor(secret, first._replace(mac=before)):
            report.broken.append(f"{chain} : début enlevé, et non par le hub")
    for seal in seals:
        k += 1
        numbers = struct.unpack(f"<{len(seal.numbers) // 8}q", seal.numbers)
        sealed.update(numbers)
        if seal.k != k:
            report.broken.append(f"{chain} : sceau {k} enlevé")
            k = seal.k
        missing = [n for n in numbers if n not in digests]
        report.broken += [f"{chain}/{n} : ligne enlevée" for n in missing]
        macs = [digests[n] for n in numbers if n in digests]
        if not missing and trace.sealed(secret, before, seal.numbers, macs) != seal.mac:
            report.broken.append(f"{chain} : sceau {seal.k} modifié, ou celui qui le précède enlevé")
        before = seal.mac
    report.unsealed += len(digests.keys() - sealed)


def _read(head: Path) -> tuple[int, str] | None:
    """The last seal that is known outside of the database; None for a file that does not say it."""
    words = head.read_text(errors="replace").split()
    return (int(words[0]), words[1]) if len(words) == 2 and words[0].isdecimal() else None


def _head(chain: int, seals: list[Seal], known: tuple[int, str] | None, report: Report) -> None:
    if known is None:
        report.broken.append(f"{chain} : le fichier de sa fin est illisible")
        return
    k, mac = known
    found = {seal.k: purge.mac(seal) for seal in seals}
    if found.get(k, b"").hex() != mac:
        report.broken.append(f"{chain} : la fin a été enlevée (le sceau {k} manque)")

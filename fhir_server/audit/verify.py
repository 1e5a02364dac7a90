"""Is the log of traces whole?

Each row is checked by its own digest, each seal by the rows that it names and by the seal before it, the last seal of a
chain by what is kept of it outside of the database. Rows without a seal are those of the last second before a process
was killed: they are told, with their digests checked.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

from fhir_server.audit import trace
from fhir_server.audit.log import MODULUS, Kept, Seal


@dataclass(slots=True)
class Report:
    """What was looked at, and each line that is not as it was written."""

    rows: int = 0
    chains: int = 0
    unsealed: int = 0
    broken: list[str] = field(default_factory=list)


async def verify(kept: Kept, secret: bytes, heads: Path | None) -> Report:
    """Walk every chain, also those of which only the head is left. Raises Unavailable."""
    report = Report()
    there = await kept.chains()
    known = {int(one.stem): one for one in heads.glob("*.head")} if heads and heads.is_dir() else {}
    found_by = [0, 0, 0]
    for chain in dict.fromkeys([*there, *sorted(known)]):
        report.chains += 1
        await _chain(chain, kept, secret, report, found_by=found_by)
        if chain in known:
            _head(chain, await kept.seals(chain), known[chain], report)
    if tuple(found_by) != await kept.found_by():
        report.broken.append("l'index des traces ne correspond plus aux lignes : des recherches en cachent")
    return report


def _small(key: int) -> int:
    """As both databases divide: the rest has the sign of the key."""
    return abs(key) % MODULUS * (1 if key >= 0 else -1)


async def _chain(chain: int, kept: Kept, secret: bytes, report: Report, *, found_by: list[int]) -> None:
    rows = {row.n: row for row in await kept.rows(chain, None)}
    report.rows += len(rows)
    for n, row in rows.items():
        found_by[0] += len(row.of)
        found_by[1] += sum(map(_small, row.of))
        found_by[2] += len(row.of) * (row.at % MODULUS)
        if trace.mac(secret, (chain, n, row.at), row.body, row.of) != row.mac:
            report.broken.append(f"{chain}/{n} : ligne modifiée, ou ajoutée par un autre que le hub")
    before, sealed, k = b"", set[int](), 0
    for seal in await kept.seals(chain):
        k += 1
        numbers = struct.unpack(f"<{len(seal.numbers) // 8}q", seal.numbers)
        sealed.update(numbers)
        if seal.k != k:
            report.broken.append(f"{chain} : sceau {k} enlevé")
            k = seal.k
        missing = [n for n in numbers if n not in rows]
        report.broken += [f"{chain}/{n} : ligne enlevée" for n in missing]
        macs = [rows[n].mac for n in numbers if n in rows]
        if not missing and trace.sealed(secret, before, seal.numbers, macs) != seal.mac:
            report.broken.append(f"{chain} : sceau {seal.k} modifié, ou celui qui le précède enlevé")
        before = seal.mac
    report.unsealed += len(rows.keys() - sealed)


def _head(chain: int, seals: list[Seal], file: Path, report: Report) -> None:
    k, mac = file.read_text().split()
    found = {seal.k: seal.mac for seal in seals}
    if found.get(int(k), b"").hex() != mac:
        report.broken.append(f"{chain} : la fin a été enlevée (le sceau {k} manque)")

"""How much of a trace does somebody see who is not the one who left it?

One row may be about many patients: a page of a search, a batch of letters. Who sees the traces of a patient sees of
such a row what is that patient's, and the words of a search only when it found nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhir_server import bodies, index
from fhir_server.access import SYSTEM, Caller
from fhir_server.audit.log import Kept as Traces
from fhir_server.audit.trace import Kept, Ref
from fhir_server.exchange import Server


def is_own(caller: Caller, one: Kept) -> bool:
    """Did they leave it themselves, or do they see everything? For one patient alone nothing is shown whole."""
    if caller.patient:
        return False
    if caller.memberships is None:
        return True
    me = caller.delegate or caller.actor or caller.client or ""
    # What somebody did in my name is mine too, as long as it is me who asks.
    return me == str(one.values["actor"] or one.values["client"]) or (bool(me) and me == one.values["on_behalf"])


async def about(traces: Traces, found: Sequence[Kept], patients: Iterable[str], caller: Caller) -> list[Kept]:
    """The same traces; of those that others left, the part that is about these patients (`Patient/x`)."""
    wanted = {index.address(one): one for one in patients}
    others = [one for one in found if not is_own(caller, one)]
    refs = {ref for one in others for name in one.values["given"] if (ref := _ref(name))}
    whose = await traces.patients([ref for ref in refs if ref[0] != "Patient"])
    whose |= {ref: index.address("/".join(ref)) for ref in refs if ref[0] == "Patient"}
    return [one if is_own(caller, one) else _part(one, wanted, whose) for one in found]


def _part(one: Kept, wanted: dict[int, str], whose: dict[Ref, int]) -> Kept:
    given: list[str] = one.values["given"]
    theirs = [name for name in given if (ref := _ref(name)) and whose.get(ref) in wanted]
    named = {ref for name in theirs if (ref := _ref(name))}
    first = [patient for patient in wanted.values() if _ref(patient) not in named]
    is_whole = len(theirs) == len(given)
    values = {**one.values, "given": [*first, *theirs], "query": one.values["query"] if is_whole else ""}
    return one._replace(values=values)


async def patients(server: Server, one: Kept) -> set[str]:
    """Of whom (`Patient/x`) is what a trace names, or was before it was deleted?"""
    refs = [ref for name in one.values["given"] if (ref := _ref(name))]
    found = {f"Patient/{id}" for type, id in refs if type == "Patient"}
    rows = await server.store.rows("/".join(ref) for ref in refs if ref[0] != "Patient")
    for row in rows.values():
        body = row.body
        if row.deleted:
            older = await server.store.history(row.type, row.fid, caller=SYSTEM, count=1, before=row.version)
            body = older[0].body if older else b""
        if body and (id := server.store.patient(bodies.decode(body))):
            found.add(f"Patient/{id}")
    return found


def _ref(name: str) -> Ref | None:
    """Of `Type/id` with or without its version; None for how many more there were."""
    type, _, rest = name.partition("/")
    return (type, rest.partition("/")[0]) if rest else None

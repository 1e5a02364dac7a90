"""What is kept of one request?

A `Trace` is made where a request comes in, told by the store of what was given out, and written once: with
the commit of a write, else by the log. It keeps names of resources, never their content. The row's body is a JSON list,
in the order of `FIELDS`.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from fhir_server import keys
from fhir_server.access import Caller
from fhir_server.changes import Stored

FIELDS = (
    "at", "actor", "client", "name", "on_behalf", "door", "what", "status", "given", "query", "correlation", "purpose",
)  # fmt: skip
MOST_NAMED = 50  # resources named of a page; of more it is said how many
WRITTEN = "done"  # the status of what was in the commit of a write
_MAC_BYTES = 16
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Row(NamedTuple):
    """A trace as the database keeps it. `chain` and `n` name it; `of` are the keys by which it is found."""

    chain: int
    n: int
    at: int
    body: bytes
    mac: bytes
    of: tuple[int, ...]


class Kept(NamedTuple):
    """A trace as it is read again: `FIELDS` of its body, and its name."""

    chain: int
    n: int
    values: dict[str, Any]


Ref = tuple[str, str]
Given = tuple[str, str, int]  # type, id, version


@dataclass(slots=True, eq=False)
class Trace:
    """One request under way. `what` is a restful-interaction or an operation, `at` in microseconds since 1970.

    What happens inside `with one:` belongs to it.
    """

    caller: Caller
    at: int
    what: str
    door: str = "fhir"
    query: str = ""
    correlation: str = ""
    purpose: str = ""
    given: list[Given] = field(default_factory=list)
    wrote: bool = False  # a commit has written it already
    _token: Token[Trace | None] | None = field(default=None, init=False)

    def __enter__(self) -> Trace:
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _current.reset(self._token)


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)
current = _current.get


def given(caller: Caller, rows: list[Stored]) -> list[Stored]:
    """These were given out to the caller; the same list."""
    one = _current.get()
    if one is not None and one.caller is caller:
        one.given += [(row.type, row.id, row.version) for row in rows]
    return rows


async def inside(trace: Trace, run: Callable[[Trace], Awaitable[None]]) -> None:
    """Run it as a part of this request."""
    with trace:
        await run(trace)


def row(trace: Trace, status: str, place: tuple[int, int], *, patients: Iterable[int], secret: bytes) -> Row:
    """The trace as a row: `place` is its chain and number, `patients` the addresses of whose data it was."""
    caller, (chain, n) = trace.caller, place
    is_write = status == WRITTEN
    given = _names(trace.given, all=is_write)
    # Who acted is the delegate: they answer for it, whosever name stands under it.
    acted, on_behalf = (caller.delegate, caller.actor or "") if caller.delegate else (caller.actor or "", "")
    client = caller.client or ""
    who = (trace.at, acted, client, caller.name, on_behalf)
    body = _encode((*who, trace.door, trace.what, status, given, trace.query, trace.correlation, trace.purpose))
    of = {*patients, agent_key(acted or client)}
    if on_behalf:
        of.add(agent_key(on_behalf))
    if is_write:  # what was only given out is found by its patients
        of.update(keys.key(f"{type}/{id}") for type, id, _ in trace.given)
    of_row = tuple(sorted(of))
    return Row(chain, n, trace.at, body, mac(secret, (chain, n, trace.at), body, of_row), of_row)


def _names(given: Sequence[Given], *, all: bool) -> list[str]:
    """The versions of what was written, and of the only one that was given; of a page the names alone, the first."""
    if len(given) == 1:  # a read
        type, id, version = given[0]
        return [f"{type}/{id}/_history/{version}"]
    versions = dict.fromkeys(given)
    if all or len(versions) == 1:
        return [f"{type}/{id}/_history/{version}" for type, id, version in versions]
    names = [*dict.fromkeys(f"{type}/{id}" for type, id, _ in versions)]
    return names if len(names) <= MOST_NAMED else [*names[:MOST_NAMED], f"+{len(names) - MOST_NAMED}"]


def mac(secret: bytes, place: tuple[int, int, int], body: bytes, of: Sequence[int]) -> bytes:
    """What nobody can write on a row without the hub's key: over its chain, number and time, its body and its keys."""
    return hmac.digest(secret, struct.pack(f"<{3 + len(of)}q", *place, *of) + body, "sha256")[:_MAC_BYTES]


@lru_cache(maxsize=4096)
def agent_key(agent: str) -> int:
    """By which the traces of a hat or a software are found."""
    return keys.key(f"agent {agent}")


def kept(chain: int, n: int, body: bytes) -> Kept:
    """A row of the database again."""
    return Kept(chain, n, dict(zip(FIELDS, _decode(body), strict=True)))


def sealed(secret: bytes, before: bytes, numbers: bytes, macs: Sequence[bytes]) -> bytes:
    """The seal over rows: `before` is the seal that the chain had, `numbers` the packed numbers of the rows."""
    return hmac.digest(secret, before + numbers + b"".join(macs), "sha256")

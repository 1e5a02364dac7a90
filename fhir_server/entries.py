"""How does a Bundle come together from stored bytes?

R4 bundle.html, search.html#summary, http.html#history. Nothing is decoded: the JSON of the resources is joined between
hand-written frames. Types, ids, methods and the base hold only characters that need no escaping (checked where they
come in).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from urllib.parse import quote

from common import clock
from fhir_server.changes import Stored
from fhir_server.exchange import Params

Link = tuple[str, str]

# What `quote` makes of each byte.
_QUOTED = [quote(bytes([one]), safe=":/,") for one in range(256)]
_PLAIN = re.compile(r"[A-Za-z0-9_.~:/,-]*", re.ASCII).fullmatch

REASONS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def link(place: str, params: Params) -> str:
    """An absolute address with its parameters, escaped so that it also is a safe JSON string."""
    pairs = [f"{_escaped(name)}={_escaped(value)}" for name, value in params]
    return f"{place}?{'&'.join(pairs)}" if pairs else place


def bundle(
    kind: str,
    links: Sequence[Link],
    entries: Iterable[bytes],
    *,
    total: int | None = None,
    updated: int | None = None,
) -> bytes:
    """A Bundle of `kind` around entries that are JSON objects already; `updated` (microseconds) is its lastUpdated."""
    parts = [b'{"resourceType":"Bundle","type":"%s"' % kind.encode()]
    if updated is not None:
        parts.append(b',"meta":{"lastUpdated":"%s"}' % clock.instant(clock.from_micros(updated)).encode())
    if total is not None:
        parts.append(b',"total":%d' % total)
    if links:
        shown = ",".join(f'{{"relation":"{relation}","url":"{url}"}}' for relation, url in links)
        parts.append(b',"link":[%s]' % shown.encode())
    if joined := b",".join(entries):
        parts.append(b',"entry":[%s]' % joined)
    parts.append(b"}")
    return b"".join(parts)


def found(base: str, row: Stored, mode: str) -> bytes:
    """An entry of a searchset; `mode` is match or include."""
    head = f'{{"fullUrl":"{base}/{row.type}/{row.id}","resource":'.encode()
    return b'%s%s,"search":{"mode":"%s"}}' % (head, row.body, mode.encode())


def remark(outcome: bytes) -> bytes:
    """What a search has to say about itself: an OperationOutcome entry."""
    return b'{"resource":%s,"search":{"mode":"outcome"}}' % outcome


def past(base: str, row: Stored) -> bytes:
    """An entry of a history: the version, the request that made it and the answer it had."""
    url = row.type if row.method == "POST" else f"{row.type}/{row.id}"
    status = 204 if row.method == "DELETE" else 201 if row.version == 1 else 200
    resource = b"" if row.method == "DELETE" else b',"resource":%s' % row.body
    request = f',"request":{{"method":"{row.method}","url":"{url}"}},"response":'
    head = f'{{"fullUrl":"{base}/{row.type}/{row.id}"'
    return b"".join((head.encode(), resource, request.encode(), response(status, row), b"}"))


def response(status: int, row: Stored | None = None, *, location: str = "", outcome: bytes = b"") -> bytes:
    """The `response` element of an entry; `row` gives its etag and lastModified."""
    parts = [f'{{"status":"{REASONS[status]}"'.encode()]
    if location:
        parts.append(f',"location":"{location}"'.encode())
    if row is not None:
        modified = clock.instant(clock.from_micros(row.updated))
        parts.append(f',"etag":"W/\\"{row.version}\\"","lastModified":"{modified}"'.encode())
    if outcome:
        parts.append(b',"outcome":%s' % outcome)
    parts.append(b"}")
    return b"".join(parts)


def _escaped(text: str) -> str:
    return text if _PLAIN(text) else "".join([_QUOTED[one] for one in text.encode()])

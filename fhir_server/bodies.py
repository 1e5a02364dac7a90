"""What are the exact bytes of a resource?

Decoded with exact decimals, completed with id and meta, written once: `resourceType`, `id`, `meta`, then the client's
keys in the client's order. Reads send these bytes (R4 resource.html#Meta, http.html#create).
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from common import clock, errors
from fhir_server.changes import Resource

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encode = msgspec.json.Encoder(decimal_format="number").encode
_encode_sorted = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
_OURS = ("versionId", "lastUpdated")


def decode(body: bytes) -> Resource:
    """The resource of stored bytes; decimals keep their digits."""
    found: Resource = _decoder.decode(body)
    return found


def final(type: str, id: str, body: Resource, *, version: int, updated: int) -> Resource:
    """A copy of `body` with its identity and version; `updated` in microseconds since 1970.

    Raises Invalid when the body is of another type.
    """
    if body.get("resourceType") != type:
        raise errors.Invalid(f"une ressource {type} est attendue", at="resourceType")
    meta = body.get("meta", {})
    ours: dict[str, Any] = {"versionId": str(version), "lastUpdated": _instant(updated)}
    if isinstance(meta, dict):  # anything else is left for the validator to refuse
        meta = ours | {name: value for name, value in meta.items() if name not in _OURS}
    return {"resourceType": type, "id": id, "meta": meta} | {
        name: value for name, value in body.items() if name not in ("resourceType", "id", "meta")
    }


def stamp(resource: Resource, *, version: int, updated: int) -> None:
    """Give what `final` made another version and time, in place."""
    resource["meta"] |= {"versionId": str(version), "lastUpdated": _instant(updated)}


def dated(body: bytes, updated: int) -> bytes:
    """The bytes of a first version that `final` made for the moment 0, at another one.

    Identity and version come first in them, so the first date is the one that is meant.
    """
    return body.replace(_instant(0).encode(), _instant(updated).encode(), 1)


def encode(resource: Resource) -> bytes:
    """Its bytes."""
    return _encode(resource)


def same(old: bytes, new: Resource) -> bool:
    """Do they say the same? `new` carries the version and time of `old`; the order of keys does not matter."""
    written = _encode(new)
    if len(written) != len(old):  # another order takes as many bytes
        return False
    return written == old or _encode_sorted(new) == _encode_sorted(decode(old))


@lru_cache(maxsize=1024)
def _instant(updated: int) -> str:
    """What is written in one millisecond shares it, and what is only checked always has the same one."""
    return clock.instant(clock.from_micros(updated))

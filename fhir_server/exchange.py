"""What goes into one FHIR interaction, and what comes out?

A `Request` is made once by the dispatcher (`app.py`), or once per entry of a batch (`bundle.py`): the interactions do
not know which. An `Answer` is bytes ready to send; only XML and `_pretty` still touch them, at the door.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from weakref import WeakValueDictionary

from common import clock, errors

if TYPE_CHECKING:
    from fhir_server import access, capability, index, links, operations, subset
    from fhir_server.changes import Resource, Stored
    from fhir_server.criteria import Codes
    from fhir_server.jobs.runner import Runner
    from fhir_server.r4 import load
    from fhir_server.store import Store

Header = tuple[bytes, bytes]
Params = list[tuple[str, str]]
# Told of a bug (not of a refusal) and of the id of the request that met it, which is answered with a 500 outcome.
OnError = Callable[[BaseException, str], None]


# Parameters that say how to answer, not what (R4 http.html#parameters).
GENERAL = frozenset({"_format", "_pretty"})


@dataclass(frozen=True, slots=True)
class Prefer:
    """The `Prefer` header, as far as this server follows it (R4 http.html#ops, search.html#errors, async.html)."""

    returns: Literal["minimal", "representation", "OperationOutcome", ""] = ""
    lenient: bool = False
    is_async: bool = False


@dataclass(slots=True)
class Server:
    """What every interaction works with; one per application. `turns` are the queues of patches that lost a race."""

    store: Store
    definitions: load.Definitions
    indexer: index.Indexer
    operations: operations.Registry
    walker: links.Walker
    subsets: subset.Subsets
    capability: capability.Statement
    now: clock.Clock
    types: frozenset[str]
    on_error: OnError
    turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    jobs: Runner | None = None


@dataclass(slots=True)
class Request:
    """One interaction to run.

    `segments` is the path under the base, already split and decoded; `params` the query string without `_format` and
    `_pretty`, which stay in `shown` for the links of a bundle; `headers` have lower-case names; `resource` is given
    instead of `body` when the content was decoded before (an entry of a batch). `base` is the absolute public
    address, without a final slash. `upload` is a file that holds the body instead, when it may be larger than memory.
    `codes` are what the value sets in its criteria mean (`terminology/in_search.py`).
    """

    method: str
    segments: list[str]
    params: Params
    headers: Mapping[bytes, bytes]
    caller: access.Caller
    base: str
    id: str
    body: bytes = b""
    resource: Resource | None = None
    prefer: Prefer = field(default_factory=Prefer)
    shown: Params = field(default_factory=list)
    upload: Path | None = None
    codes: Codes = field(default_factory=dict)

    @property
    def asked_format(self) -> str:
        """The `_format` parameter, "" without one."""
        return next((value for name, value in self.shown if name == "_format"), "")

    def header(self, name: bytes) -> str:
        """A header as text, "" when it is absent. Never fails: what is no UTF-8 becomes replacement characters."""
        return self.headers.get(name, b"").decode("utf-8", "replace")


@dataclass(slots=True)
class Answer:
    """What an interaction gives back.

    `body` is FHIR JSON when `media` is None, and then follows the client's choice of format; else it is sent as is.
    `stored` is the version it is about, for the entry of a bundle. `stream` follows `body`, piece by piece; it needs a
    `media`, and no bundle can hold it. `file` is sent instead of `body`, piece by piece.
    """

    status: int
    body: bytes = b""
    headers: list[Header] = field(default_factory=list)
    media: bytes | None = None
    stored: Stored | None = None
    stream: AsyncIterator[bytes] | None = None
    file: Path | None = None


def unavailable(text: str, *, at: str = "") -> errors.Unreadable:
    """A part of FHIR that this server does not have yet: refused aloud, never ignored."""
    return errors.Unreadable(text, issues=(errors.Issue(text, at, "not-supported"),), at=at)


def etag(version: int) -> str:
    """The weak validator of a version."""
    return f'W/"{version}"'


def expected_version(if_match: str, *, at: str) -> int | None:
    """The version that `If-Match` names, None for `*` (whatever is there). Raises Unreadable for a foreign ETag."""
    text = if_match.strip()
    if text == "*":
        return None
    number = whole_number(text.removeprefix("W/").strip('"'))
    if number is None or not text.endswith('"'):
        raise errors.Unreadable(f'If-Match : {text[:40]} n\'est pas un ETag de ce serveur, par exemple W/"3"', at=at)
    return number


def whole_number(text: str) -> int | None:
    """Digits as a number that fits a bigint column (18 digits), else None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


@lru_cache(maxsize=4096)
def http_date(seconds: int) -> bytes:
    """Seconds since 1970 as an HTTP date."""
    return formatdate(seconds, usegmt=True).encode()


def unmodified_since(value: str, updated: int) -> bool:
    """Does `If-Modified-Since: value` hold for a version of `updated` microseconds? An unreadable date does not."""
    try:
        return updated // 1_000_000 <= parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return False


def version_headers(stored: Stored) -> list[Header]:
    """ETag and Last-Modified of one version."""
    return [
        (b"etag", b'W/"%d"' % stored.version),
        (b"last-modified", http_date(stored.updated // 1_000_000)),
    ]

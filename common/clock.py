"""What time is it, and how does FHIR write it?

The clock is an argument everywhere (`now: Clock`), so that tests and replays are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def system() -> datetime:
    """The machine's clock, aware, in UTC."""
    return datetime.now(UTC)


def instant(moment: datetime) -> str:
    """A FHIR instant in UTC with milliseconds, e.g. `2026-11-23T08:05:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def micros(moment: datetime) -> int:
    """Microseconds since 1970 in UTC: how the store keeps every time."""
    whole = (moment if moment.tzinfo is UTC else moment.astimezone(UTC)) - _EPOCH
    return (whole.days * 86_400 + whole.seconds) * 1_000_000 + whole.microseconds


def from_micros(value: int) -> datetime:
    """The inverse of `micros`."""
    seconds, rest = divmod(value, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

"""Which number and which name does a resource get, and where does it live?

Three values, all derived here:

- `rid`, the row's number: a positive 63-bit integer that rises with time, `milliseconds since 2020 << 22 | worker <<
  14 | counter`. Made by us, never by the database, so that a create is one statement.
- `part`, where the row lives: a 64-bit hash of the patient in whose compartment it is, else of the resource itself.
  It is the distribution column of a spread-out database and never changes.
- the FHIR id of what we create: 13 characters of `rid`, and for a resource of a patient `-` and 13 characters of
  `part`, so that a read by id alone finds its part. The alphabet is Crockford's base 32 in lower case, which sorts
  like the number. An id chosen by a client says nothing: its part is looked up (`locator`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_EPOCH_MS = 1_577_836_800_000  # 2020-01-01T00:00:00Z
_WORKER_BITS, _COUNTER_BITS = 8, 14
_UNSIGNED = (1 << 64) - 1
_MADE_HERE = re.compile(rf"[0-7][{_ALPHABET}]{{12}}(?:-([0-9a-f][{_ALPHABET}]{{12}}))?")

WORKERS = 1 << _WORKER_BITS
LANES = 64


class Maker:
    """Makes rids: unique over workers, rising within one.

    `milliseconds` is the clock (since 1970). When it stands still or goes back, the counter goes on and then borrows
    from the future; it never repeats. `after` is the highest number in the database, so that a restart on an older
    clock does not repeat either.
    """

    def __init__(self, worker: int, milliseconds: Callable[[], int], *, after: int = 0) -> None:
        if not 0 <= worker < WORKERS:
            raise ValueError(f"worker must be 0 to {WORKERS - 1}, not {worker}")
        self._worker = worker << _COUNTER_BITS
        self._milliseconds = milliseconds
        self._moment = after >> (_WORKER_BITS + _COUNTER_BITS)
        self._counter = (1 << _COUNTER_BITS) - 1 if after else 0

    def become(self, worker: int) -> None:
        """Go on as another worker."""
        self._worker = worker << _COUNTER_BITS

    def next(self) -> int:
        """The next rid."""
        moment = max(self._milliseconds() - _EPOCH_MS, 0)
        if moment > self._moment:
            self._moment, self._counter = moment, 0
        elif self._counter + 1 < 1 << _COUNTER_BITS:
            self._counter += 1
        else:
            self._moment, self._counter = self._moment + 1, 0
        return self._moment << (_WORKER_BITS + _COUNTER_BITS) | self._worker | self._counter


def milliseconds(rid: int) -> int:
    """When a rid was made, in milliseconds since 1970."""
    return (rid >> (_WORKER_BITS + _COUNTER_BITS)) + _EPOCH_MS


def worker(rid: int) -> int:
    """Which process made a rid."""
    return rid >> _COUNTER_BITS & (WORKERS - 1)


def encode(number: int) -> str:
    """A 64-bit number, signed or not, as 13 characters: 65 bits hold any of them."""
    n = number & _UNSIGNED
    two = _PAIRS
    return (
        f"{_ALPHABET[n >> 60]}{two[n >> 50 & 1023]}{two[n >> 40 & 1023]}{two[n >> 30 & 1023]}"
        f"{two[n >> 20 & 1023]}{two[n >> 10 & 1023]}{two[n & 1023]}"
    )


@lru_cache(maxsize=65536)
def _encoded_part(patient: str) -> str:
    return encode(hash64(f"Patient/{patient}"))


def decode_number(text: str) -> int:
    """The inverse of `encode`, as a signed number. Raises KeyError for a foreign letter."""
    number = 0
    for letter in text:
        number = number << 5 | _VALUES[letter]
    number &= _UNSIGNED
    return number - (1 << 64) if number >> 63 else number


@lru_cache(maxsize=65536)
def hash64(text: str) -> int:
    """A signed 64-bit hash, the same for ever."""
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big", signed=True)


def part_of(type: str, id: str, patient: str | None) -> int:
    """Where a resource lives: with its patient, else by itself."""
    return hash64(f"Patient/{patient}" if patient and type != "Patient" else f"{type}/{id}")


def fhir_id(rid: int, type: str, patient: str | None) -> str:
    """The id of a resource that we create."""
    if patient and type != "Patient":
        return f"{encode(rid)}-{_encoded_part(patient)}"
    return encode(rid)


def is_made_here(id: str) -> bool:
    """Does it have the form that we give?"""
    return _MADE_HERE.fullmatch(id) is not None


def guess_part(type: str, id: str) -> int:
    """The part that an id tells by itself; right unless a `locator` row says otherwise."""
    found = _MADE_HERE.fullmatch(id)
    if found and found[1]:
        return decode_number(found[1])
    return hash64(f"{type}/{id}")


def lane(part: int) -> int:
    """0 to 63: what a consumer of the outbox leases; one resource always has the same lane."""
    return part & (LANES - 1)

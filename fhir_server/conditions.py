"""What does a search ask of the store, once its URL has been understood?

Plain values: `query.py` makes them, the engines turn them into SQL. Times are microseconds since 1970 in UTC, a range
is [lo, hi] with both ends included (hi is the last microsecond). Keys are the 64-bit hashes of `index.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]


@dataclass(frozen=True, slots=True)
class Keys:
    """The resource has at least one of these equality keys (or none of them when `negated`).

    `ordered` says that every key is also in the ordered table on PostgreSQL. `needles`: byte strings of which the body
    must contain at least one, a recheck against hash collisions (identifiers); empty means no recheck.
    """

    any_of: tuple[int, ...]
    negated: bool = False
    ordered: bool = False
    needles: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """A string parameter has a value that starts with, contains, or is exactly one of `values`.

    Values are folded (`index.fold`) for starts and contains, raw for exact.
    """

    param: int
    mode: Literal["starts", "contains", "exact"]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """A date parameter has a stored range that meets one of the `tests` (prefix, lo, hi), as R4 compares ranges."""

    param: int
    tests: tuple[tuple[Prefix, int, int], ...]


@dataclass(frozen=True, slots=True)
class Present:
    """`:missing` of a parameter held in a range table."""

    param: int
    table: Literal["str", "dat"]
    present: bool


@dataclass(frozen=True, slots=True)
class Ids:
    """`_id`: the resource has one of these ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """`_lastUpdated`, tested like a Moment."""

    tests: tuple[tuple[Prefix, int, int], ...]


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that follow each other; the last one may be the beginning of a word when `prefix`."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Alternative:
    """All phrases of `all_of` (one at least), none of `none_of`."""

    all_of: tuple[Phrase, ...]
    none_of: tuple[Phrase, ...] = ()


@dataclass(frozen=True, slots=True)
class FullText:
    """The texts of the resource (`Rows.texts`), or its narrative alone, meet one of the alternatives."""

    any_of: tuple[Alternative, ...]
    narrative: bool = False


Condition = Keys | Text | Moment | Present | Ids | Updated | FullText


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key. `sort_date` is the type's main clinical date (kept on the row), `dat` and `str` any other."""

    by: Literal["updated", "id", "sort_date", "dat", "str"]
    descending: bool = False
    param: int = 0


@dataclass(frozen=True, slots=True)
class Query:
    """A search on one type: all of `where`, ordered by `sort`, then by rid (ascending unless the first sort descends).

    `count` rows per page, `after` the opaque cursor of the page before, `total` True when the number of all matches is
    wanted too.
    """

    type: str
    where: tuple[Condition, ...] = ()
    sort: tuple[Sort, ...] = ()
    count: int = 20
    after: str | None = None
    total: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """The index rows of one resource version.

    `eq` all equality keys; `ordered` those of them that PostgreSQL keeps in the ordered table too; `strings`
    (param, folded, raw); `dates` (param, lo, hi); `sort_date` the main clinical date (its lo), else lastUpdated, which
    the store fills in when None; `patient` the id of the patient in whose compartment the resource is, None for none
    and for a Patient itself; `texts` the words of narrative, displays and content (`fulltext.texts`).
    """

    eq: tuple[int, ...]
    ordered: tuple[int, ...]
    strings: tuple[tuple[int, str, str], ...]
    dates: tuple[tuple[int, int, int], ...]
    sort_date: int | None
    patient: str | None
    texts: tuple[str, str, str] = ("", "", "")

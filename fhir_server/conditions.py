"""What does a search ask of the store, once its URL has been understood?

Plain values: `query.py` makes them, the engines turn them into SQL. Times are microseconds since 1970 in UTC, a range
is [lo, hi] with both ends included (hi is the last microsecond). Keys are the 64-bit hashes of `index.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fhir_server.rights.standing import Standing

Mode = Literal["starts", "contains", "exact", "equals", "ends", "below"]
Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]


@dataclass(frozen=True, slots=True)
class Keys:
    """The resource has at least one of these equality keys (or none of them when `negated`).

    `ordered` says that every key is also in the ordered table on PostgreSQL. `needles`: byte strings of which the body
    must contain at least one, a recheck against hash collisions (identifiers); empty means no recheck. `links` says the
    same another way, where the keys are references to known resources: (params, addresses).
    """

    any_of: tuple[int, ...]
    negated: bool = False
    ordered: bool = False
    needles: tuple[bytes, ...] = ()
    links: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    @property
    def is_told(self) -> bool:
        """Some key is odd (`keys.told`): on SQLite the row alone knows it, no table leads from it to rows."""
        return any(one & 1 for one in self.any_of)


@dataclass(frozen=True, slots=True)
class Text:
    """A string parameter has a value that starts with, contains, ends with or equals one of `values`.

    Values are folded (`index.fold`), but raw for exact. "below" is for uris, which are kept as they are: the value
    itself, or what follows it after a `/` or a `|`; versions go on after a point. `also` are the parameters of other
    types that are asked the same, here and below.
    """

    param: int
    mode: Mode
    values: tuple[str, ...]
    also: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """A date parameter has a stored range that meets one of the `tests` (prefix, lo, hi), as R4 compares ranges."""

    param: int
    tests: tuple[tuple[Prefix, int, int], ...]
    also: tuple[int, ...] = ()


# A unit's key, a prefix, and the texts (`amounts.ordered`) between which the value must lie.
Measure = tuple[int, Prefix, str, str]


@dataclass(frozen=True, slots=True)
class Amount:
    """A number, a quantity, or a composite that ends with one: a row of one of these units meets its test.

    The unit of a composite's rows stands for its other parts as well.
    """

    param: int
    tests: tuple[Measure, ...]


@dataclass(frozen=True, slots=True)
class Extent:
    """A composite of a start and an end: a row of one of these units has a start and an end that meet the tests."""

    param: int
    units: tuple[int, ...]
    start: Measure
    end: Measure


# The corners of a part of the earth, both included: lowest and highest latitude, lowest and highest longitude.
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Near:
    """A place at most `metres` from (`latitude`, `longitude`), which are in degrees; `boxes` hold all such places.

    Places and boxes are kept in units of 10**-9 degrees.
    """

    param: int
    latitude: float
    longitude: float
    metres: float
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """All conditions of one of the `ways` hold (of none of them when `negated`)."""

    ways: tuple[tuple[Condition, ...], ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Present:
    """`:missing` of a parameter held in a range table."""

    param: int
    table: Literal["str", "dat", "num"]
    present: bool
    also: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ids:
    """`_id`: the resource has one of these ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """`_lastUpdated`, tested like a Moment."""

    tests: tuple[tuple[Prefix, int, int], ...]


@dataclass(frozen=True, slots=True)
class Types:
    """The resource is of one of these types."""

    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Addresses:
    """The resource has one of these addresses (`index.address` of `Type/id`)."""

    any_of: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class And:
    """All of these."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of these."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Not this."""

    of: Condition


@dataclass(frozen=True, slots=True)
class Linked:
    """The resource refers, by one of `params`, to one of `types` that meets all of `where`, as far as the caller sees.

    `masks` are the `index.reference_mask` of the params.
    """

    params: tuple[int, ...]
    masks: tuple[int, ...]
    types: tuple[str, ...]
    where: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class LinkedFrom:
    """A resource of `type` that meets all of `where` refers to this one by `param`, as far as the caller sees."""

    type: str
    param: int
    mask: int
    where: tuple[Condition, ...]


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


@dataclass(frozen=True, slots=True)
class Mine:
    """What may lead to all that somebody sees: of patients in whose circle one of `who` is, or with one of `readers`.

    `masks` are the `index.reference_mask` by which resources refer to their patient; `patients`: the patients
    themselves are wanted. Whether each is seen is tested on the row.
    """

    who: tuple[int, ...]
    readers: tuple[int, ...]
    masks: tuple[int, ...]
    patients: bool = False


_OfOne = Keys | Text | Moment | Amount | Extent | Near | Either | Present | Ids | Updated | FullText
Condition = _OfOne | Types | Addresses | And | Or | Not | Linked | LinkedFrom
Driving = Condition | Mine  # what can lead to rows


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key. `sort_date` is the type's main clinical date (kept on the row), `dat`, `str` and `num` any other
    value of a range table; `body` is a value that only `read` finds, in the body: smallest or largest as `descending`
    says, None for none. `also`: the parameters of the same name of the other types that are searched.
    """

    by: Literal["updated", "id", "sort_date", "dat", "str", "num", "body"]
    descending: bool = False
    param: int = 0
    read: Callable[[bytes], str | None] | None = None
    also: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """A search on one type: all of `where`, ordered by `sort`, then by rid (ascending unless the first sort descends).

    `count` rows per page, `after` the opaque cursor of the page before, `total` True when the number of all matches is
    wanted too. `types`, when not empty, are what is searched instead of `type`. `masks` as in `Mine`, for who does not
    see everything.
    """

    type: str
    where: tuple[Condition, ...] = ()
    sort: tuple[Sort, ...] = ()
    count: int = 20
    after: str | None = None
    total: bool = False
    types: tuple[str, ...] = ()
    masks: tuple[int, ...] = ()

    @property
    def all_types(self) -> tuple[str, ...]:
        """What is searched."""
        return self.types or (self.type,)


@dataclass(frozen=True, slots=True)
class Rows:
    """The index rows of one resource version.

    `eq` all equality keys; `ordered` those of them that PostgreSQL keeps in the ordered table too; `strings`
    (param, folded, raw); `dates` (param, lo, hi); `sort_date` the main clinical date (its lo), else lastUpdated, which
    the store fills in when None; `patient` the id of the patient in whose compartment the resource is, None for none
    and for a Patient itself; `amounts` (param, unit, lo, hi) numbers and quantities, as `amounts.ordered`. Places are
    among the dates: latitude and longitude for lo and hi. `links` (param, address) to resources of this server,
    `index.address` of each; `texts` the words of narrative, displays and content (`fulltext.texts`). `sharing` says
    with whom it is shared (`rights.sharing`), `standing` how people stand towards a patient because of it
    (`rights.facts`).
    """

    eq: tuple[int, ...]
    ordered: tuple[int, ...]
    strings: tuple[tuple[int, str, str], ...]
    dates: tuple[tuple[int, int, int], ...]
    sort_date: int | None
    patient: str | None
    amounts: tuple[tuple[int, int, str, str], ...] = ()
    links: tuple[tuple[int, int], ...] = ()
    texts: tuple[str, str, str] = ("", "", "")
    sharing: int = 0
    standing: tuple[Standing, ...] = ()

"""What do the queries of scopes leave of each type? (SMART App Launch 2, "finer-grained resource constraints")

A query is read as a search; it may ask for codes and references alone, whose keys stand on the row of a resource, so
that the engines ask for them beside its readers, for every door, for old versions by what the present one is.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qsl

from common import errors
from fhir_server import conditions, query, scopes
from fhir_server.r4.search_params import SearchTables
from fhir_server.scopes import Limit

Way = tuple[tuple[int, ...], ...]
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # no date is asked for


class Limits:
    """By the search parameters of `tables`."""

    def __init__(self, tables: SearchTables) -> None:
        self._tables = tables
        self.of = lru_cache(maxsize=1024)(self._of)

    def way(self, text: str, type: str) -> Way:
        """The keys that a query demands. Raises Unreadable for one that asks for more than codes and references."""
        try:
            params = parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=10)
        except ValueError:
            params = []
        asked = query.parse(type, params, self._tables, now=_NEVER).query
        plain = [one for one in asked.where if isinstance(one, conditions.Keys) and not one.negated and not one.needles]
        keys = tuple(one.any_of for one in plain)
        if not keys or not len(keys) == len(asked.where) == len(params):
            raise errors.Unreadable(f"{type} : un scope ne restreint que par des codes et des références", at="scope")
        return keys

    def _of(self, texts: tuple[str, ...]) -> tuple[Limit, ...]:
        """What these scopes leave of each type that a query restricts; an unanswerable query leaves nothing."""
        known = [one for text in texts if (one := scopes.read(text))]
        restricted = dict.fromkeys(one.type for one in known if one.query)
        return tuple(limit for type in restricted if (limit := self._limit(type, known)))

    def _limit(self, type: str, known: Iterable[scopes.Scope]) -> Limit | None:
        """None when other scopes cover all of it, for each way of reading that is covered at all."""
        about = [one for one in known if one.type in ("*", type)]
        whole = {letter for one in about if not one.query for letter in one.letters}
        if whole.issuperset(letter for one in about for letter in one.letters if letter in scopes.READING):
            return None
        ways = []
        for one in about:
            try:
                ways += [self.way(one.query, type)] if one.query else []
            except errors.Unreadable:
                continue
        return Limit(type, tuple(ways))

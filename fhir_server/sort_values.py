"""By which value of a resource does a sort go, when no table keeps it?

`_sort` (https://hl7.org/fhir/R4/search.html#_sort) by codes, references, addresses: their text, of several values the
smallest ascending and the largest descending. A token is sorted by its code, a reference by what it points to (or the
identifier it names), a composite and a sound not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fhir_server import amounts, bodies
from fhir_server.r4 import extract
from fhir_server.r4.search_leaves import Sink
from fhir_server.r4.search_params import Param, SearchTables

Read = Callable[[bytes], str | None]

KINDS = frozenset(("token", "reference", "uri", "number", "quantity"))


def reader(tables: SearchTables, param: Param, *, base: str, descending: bool) -> Read:
    """Reads the sort value of `param` from a body."""
    extractor = extract.Extractor(tables, base=base)
    best = max if descending else min

    def read(body: bytes) -> str | None:
        found = extractor.values(bodies.decode(body), only=param.code)
        return best(_texts(found, descending=descending), default=None)

    return read


def _texts(found: Sink, *, descending: bool) -> Iterator[str]:
    for _, _, code, _ in found.tokens:
        if code:
            yield code.replace("\0", "")
    for _, target, identifier in found.references:
        text = target or (identifier and identifier[1])
        if text:
            yield text.replace("\0", "")
    for _, uri in found.uris:
        yield uri.replace("\0", "")
    for _, low, high in found.numbers:
        yield amounts.ordered(high if descending else low)
    for _, low, high, *_ in found.quantities:
        yield amounts.ordered(high if descending else low)

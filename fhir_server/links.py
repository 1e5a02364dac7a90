"""Where does a resource point to other resources, and how are these places rewritten?

R4 http.html#trules, bundle.html#references. The element tables say which strings are links: `Reference.reference`,
every uri, url, canonical, oid and uuid element, extensions included, and the `href` and `src` of narratives. A string
that merely looks like a link (an Identifier.value with a urn:uuid) is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from fhir_server.changes import Resource
from fhir_server.r4 import elements

Kind = Literal["reference", "uri", "html"]
Find = Callable[[str], str | None]
# JSON name -> what stands there: a link of some kind, or ("below", the structure to go on with).
Way = dict[str, tuple[Kind | Literal["below"], str]]

_URIS = frozenset({"uri", "url", "canonical", "oid", "uuid"})
# Of `link#fragment` and `canonical|version` the link itself; matches any text.
_BARE = re.compile(r"[^#|]*")
_ANCHOR = re.compile(r"""(\b(?:href|src)\s*=\s*)("[^"]*"|'[^']*')""")


@dataclass(slots=True)
class Link:
    """One place that holds a link: `holder[key]`. `written` is what the client put there, for a narrative all of it."""

    holder: Any
    key: str | int
    kind: Kind
    written: str

    def targets(self) -> list[str]:
        """The links in this place, without `#fragment` and `|version`."""
        if self.kind != "html":
            return [_BARE.match(self.written)[0]]  # type: ignore[index]
        return [found[2][1:-1].partition("#")[0] for found in _ANCHOR.finditer(self.written)]

    def rewrite(self, find: Find) -> None:
        """Put what `find` gives for the written link in its place; None keeps it. A `#fragment` or `|version` stays."""
        if self.kind == "html":
            self.holder[self.key] = _ANCHOR.sub(lambda found: _anchor(found, find), self.written)
        else:
            target = _target(self.written, find)
            self.holder[self.key] = self.written if target is None else target


class Walker:
    """Finds the links of a resource. The way through each type is worked out once, when it is first met."""

    def __init__(self, structures: elements.Structures) -> None:
        self._structures = structures
        self._ways: dict[str, Way] = {}

    def links(self, resource: Resource) -> Iterator[Link]:
        """Every link of a resource and of what it contains. What R4 does not know is passed over."""
        todo: list[tuple[Any, str]] = [(resource, "Resource")]
        while todo:
            node, structure = todo.pop()
            if structure == "Resource":
                structure = node.get("resourceType", "")
                if not isinstance(structure, str) or structure not in self._structures:
                    continue
            way = self._ways.get(structure) or self._way(structure)
            for name, value in node.items():
                if (step := way.get(name)) is None:
                    continue
                kind, below = step
                many = value if isinstance(value, list) else (value,)
                holder, keys = (value, range(len(value))) if isinstance(value, list) else (node, (name,))
                if kind == "below":
                    todo += [(one, below) for one in many if isinstance(one, dict)]
                else:
                    for key, one in zip(keys, many, strict=True):
                        if isinstance(one, str):
                            yield Link(holder, key, kind, one)

    def _way(self, structure: str) -> Way:
        way: Way = {}
        for element in self._structures[structure].elements:
            for name, type in elements.json_names(element):
                below = self._structures.get(type.structure)
                if type.code in _URIS:
                    way[name] = ("uri", "")
                elif type.code == "xhtml":
                    way[name] = ("html", "")
                elif type.code == "Resource":
                    way[name] = ("below", "Resource")
                elif below is not None and below.kind != "primitive":
                    way[name] = ("below", type.structure)
                if below is not None and below.kind == "primitive":
                    way[f"_{name}"] = ("below", "Element")
        if structure == "Reference":
            way["reference"] = ("reference", "")  # typed as a string in R4
        self._ways[structure] = way
        return way


def _target(text: str, find: Find) -> str | None:
    bare = _BARE.match(text)[0]  # type: ignore[index]
    target = find(bare) if bare else None
    return None if target is None else f"{target}{text[len(bare) :]}"


def _anchor(found: re.Match[str], find: Find) -> str:
    quote, link = found[2][0], found[2][1:-1]
    target = _target(link, find)
    return found[0] if target is None else f"{found[1]}{quote}{target}{quote}"

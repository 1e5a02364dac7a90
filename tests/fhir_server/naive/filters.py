"""Which resources does a `_filter` expression mean? By the text of https://hl7.org/fhir/R4/search_filter.html.

`and` binds closer than `or`. `ne` of a token, text or reference means that none is equal, as this server documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from tests.fhir_server.naive import ranges, texts, values
from tests.fhir_server.naive.values import Resource

if TYPE_CHECKING:
    from tests.fhir_server.naive.search import Naive

Test = Callable[[Resource], bool]
_WORDS = re.compile(r'"(?:[^"\\]|\\.)*"|[()\[\]]|[^\s()\[\]"]+')
_ORDERED = ("date", "number", "quantity")


def test(naive: Naive, text: str, now: datetime) -> Test:
    """What a filter says, as a question about a resource."""
    reader = _Reader(naive, _WORDS.findall(text), now)
    found = reader.either()
    assert not reader.words, text
    return found


class _Reader:
    def __init__(self, naive: Naive, words: list[str], now: datetime) -> None:
        self.naive, self.words, self.now = naive, words, now

    def either(self) -> Test:
        some = [self._both()]
        while self.words[:1] == ["or"]:
            self.words.pop(0)
            some.append(self._both())
        return lambda resource: any(one(resource) for one in some)

    def _both(self) -> Test:
        some = [self._one()]
        while self.words[:1] == ["and"]:
            self.words.pop(0)
            some.append(self._one())
        return lambda resource: all(one(resource) for one in some)

    def _one(self) -> Test:
        word = self.words.pop(0)
        if word == "(" or (word == "not" and self.words[0] == "("):
            if word == "not":
                self.words.pop(0)
            inner = self.either()
            assert self.words.pop(0) == ")"
            return inner if word == "(" else lambda resource: not inner(resource)
        return self._path(word)

    def _path(self, path: str) -> Test:
        first, _, rest = path.partition(".")
        if rest:
            return self._through(first, lambda _: True, self._path(rest))
        if self.words[0] == "[":
            self.words.pop(0)
            inner = self.either()
            assert self.words.pop(0) == "]"
            return self._through(first, inner, self._path(self.words.pop(0).removeprefix(".")))
        operator, value = self.words.pop(0), self.words.pop(0)
        plain = str(json.loads(value)) if value.startswith('"') else value
        return lambda resource: self._holds(resource, path, operator, plain)

    def _through(self, name: str, also: Test, then: Test) -> Test:
        return lambda resource: any(also(one) and then(one) for one in self.naive.pointed_at(resource, name))

    def _holds(self, resource: Resource, code: str, operator: str, value: str) -> bool:
        """One test."""
        found = values.parameter(resource["resourceType"], code)
        if found is None:
            return False
        if operator == "pr":
            return self.naive.meets(resource, f"{code}:missing", "false" if value == "true" else "true", self.now)
        written = re.sub(r"([\\,$])", r"\\\1", value)
        if found.kind in _ORDERED and operator != "po":
            return self.naive.meets(resource, code, f"{operator}{written}", self.now)
        if operator == "ne":
            return not self._holds(resource, code, "eq", value)
        mine = [one for one in self.naive.values(resource, found) if one.json is not None]
        if operator == "po":
            asked = ranges.moment(value)
            return any(ranges.meets("ap", asked, one) for each in mine for one in ranges.moments(each))
        if found.kind == "string":
            wanted = texts.normal(value)
            folded = [texts.normal(text) for one in mine for text in texts.strings(one)]
            return any(_COMPARE[operator](text, wanted) for text in folded)
        modifier = {"ss": ":above", "sb": ":below"}.get(operator, "")
        return self.naive.meets(resource, code + modifier, written, self.now)


_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda text, wanted: text == wanted,
    "co": lambda text, wanted: wanted in text,
    "sw": lambda text, wanted: text.startswith(wanted),
    "ew": lambda text, wanted: text.endswith(wanted),
}

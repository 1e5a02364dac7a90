"""Does a JSON text give one key of an object twice?

The parser keeps the last one without a word (R4 json.html: names are unique), so that half of what was meant would be
lost. The text says how many keys it has, what was read how many were kept: counting both costs microseconds. Where
blanks between quotes and colons, or escapes, make that count uncertain it is read a second time, slowly.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(decimal_format="number").encode
# What makes a colon after a quote something else than the end of a key, or hides one.
_UNCERTAIN = (b'\\":', b"\\u0022", b"\\u003")
_BLANKS = (b" :", b"\t:", b"\n:", b"\r:")
_BLANK = re.compile(rb'"[ \t\n\r]+:')


def place(body: bytes, value: Any) -> str:
    """Where the first repeated key of a text is (`Patient.name[0].family`), "" when there is none.

    `value` is what was read from it, not deeper than Python recurses.
    """
    # French has blanks before its colons, but not after a quote.
    is_sure = not any(one in body for one in _UNCERTAIN)
    is_sure = is_sure and not (any(one in body for one in _BLANKS) and _BLANK.search(body))
    if is_sure and body.count(b'":') == _encode(value).count(b'":'):
        return ""
    return _found(json.loads(body, object_pairs_hook=_object), "")


class _Repeated:
    def __init__(self, name: str) -> None:
        self.name = name


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Repeated:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            return _Repeated(name)
        found[name] = value
    return found


def _found(value: Any, path: str) -> str:
    if isinstance(value, _Repeated):
        return f"{path}.{value.name}".lstrip(".")
    if isinstance(value, dict):
        type = value.get("resourceType")
        start = type if isinstance(type, str) and not path else path
        parts = (_found(one, f"{start}.{name}" if start else name) for name, one in value.items())
        return next((one for one in parts if one), "")
    if isinstance(value, list):
        return next((one for n, each in enumerate(value) if (one := _found(each, f"{path}[{n}]"))), "")
    return ""

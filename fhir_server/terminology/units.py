"""Is this a unit of UCUM?

The grammar of https://ucum.org/ucum: atoms, some with a prefix, each with an exponent and a note in braces, joined by
`.` and `/`. The atoms are those of the official table (ucum-essence.xml), which lies inside the wheel of ucumvert; it
is read when the first unit is asked about, and the library itself is not imported.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import metadata
from typing import NamedTuple

from lxml import etree

TABLE = "ucumvert/vendor/ucum-essence.xml"
_NAMESPACE = "{http://unitsofmeasure.org/ucum-essence}"


class _Atoms(NamedTuple):
    prefixes: tuple[str, ...]
    metric: frozenset[str]
    all: frozenset[str]


_EXPONENT = re.compile(r"(.*?[^0-9+-])([+-]?[0-9]+)")


def is_unit(code: str) -> bool | None:
    """Whether `code` is a term of the grammar, None when the table is not installed."""
    if _atoms() is None:
        return None
    if not code.isascii() or not code or " " in code:
        return False
    plain, depth = "", 0
    for sign in code:  # notes in braces say nothing about the unit, but stand for 1 when alone
        if sign == "{":
            if depth:
                return False
            depth, plain = 1, plain + ("\0" if not plain or plain[-1] in "./(" else "")
        elif sign == "}":
            if not depth:
                return False
            depth = 0
        elif not depth:
            plain += sign
    return depth == 0 and _is_term(plain)


def _is_term(text: str) -> bool:
    if text.startswith("/"):
        text = text[1:]
    if text.count("(") != text.count(")") or text.count("(") > 8:
        return False
    while "(" in text:
        inner = re.search(r"\(([^()]*)\)", text)
        if inner is None or not _is_term(inner[1]) or (inner.start() and text[inner.start() - 1] not in "./("):
            return False
        text = f"{text[: inner.start()]}\0{text[inner.end() :]}"
    return all(_is_component(one) for one in re.split(r"[./](?![^\[]*\])", text))


def _is_component(text: str) -> bool:
    if text.isdigit() or text == "\0":
        return True
    if text[:1] == "\0" and re.fullmatch(r"\0[+-]?\d+", text):
        return True
    if _is_atom(text):
        return True
    found = _EXPONENT.fullmatch(text)
    return found is not None and _is_atom(found[1])


@lru_cache(maxsize=2048)
def _is_atom(text: str) -> bool:
    atoms = _atoms()
    if atoms is None or text in atoms.all:
        return atoms is not None
    return any(text.startswith(one) and text[len(one) :] in atoms.metric for one in atoms.prefixes)


@lru_cache(maxsize=1)
def _atoms() -> _Atoms | None:
    try:
        path = metadata.distribution("ucumvert").locate_file(TABLE)
        root = etree.parse(str(path), etree.XMLParser(resolve_entities=False, no_network=True)).getroot()
    except (metadata.PackageNotFoundError, OSError, etree.XMLSyntaxError):
        return None
    base = [str(one.get("Code")) for one in root.iter(f"{_NAMESPACE}base-unit")]
    units = [
        (str(one.get("Code")), one.get("isMetric") == "yes")
        for one in root.iter(f"{_NAMESPACE}unit")
        if one.get("Code")
    ]
    metric = frozenset([*base, *(code for code, is_metric in units if is_metric)])
    prefixes = tuple(str(one.get("Code")) for one in root.iter(f"{_NAMESPACE}prefix"))
    return _Atoms(prefixes, metric, metric | {code for code, _ in units})

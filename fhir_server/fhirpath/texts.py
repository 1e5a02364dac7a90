"""Which functions does an expression call on one value: text, number, conversion?

http://hl7.org/fhirpath/N1/#string-manipulation, #math, #conversion. Each takes one value and gives one or nothing;
nothing for nothing.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from typing import Any, NamedTuple

from fhir_server.fhirpath import boundaries, conversions, regexes, running, values
from fhir_server.fhirpath.nodes import Item, Items, Model
from fhir_server.fhirpath.parse import Unusable
from fhir_server.fhirpath.running import Scope, Step
from fhir_server.fhirpath.values import EXACT, Quantity

Result = Item | list[Item] | None


class _Function(NamedTuple):
    """`work(value, arguments, scope)`; `kind` is what the value and `arguments` what each argument must be."""

    work: Callable[..., Result]
    kind: str = "text"
    arguments: str = ""  # t: text, i: integer, n: number; capital: may be left out


def step(name: str, given: Sequence[Step]) -> Step:
    """The step of one of `FUNCTIONS`. Raises Unusable for another number of arguments."""
    function = FUNCTIONS[name]
    least = sum(one.islower() for one in function.arguments)
    if not least <= len(given) <= len(function.arguments):
        raise Unusable(f"{name}() : nombre d'arguments")
    kinds = [_READ[one.lower()] for one in function.arguments[: len(given)]]

    def go(scope: Scope, focus: Items) -> Items:
        model = scope.run.model
        value = _VALUE[function.kind](focus, model)
        scope.run.spend(1 + len(value) // 100 if isinstance(value, str) else 1)
        if value is None:
            return []
        arguments = [read(one(scope, scope.this), model) for read, one in zip(kinds, given, strict=True)]
        if any(one is None for one in arguments):
            return []
        found = function.work(value, *arguments, scope) if name in _NEED_SCOPE else function.work(value, *arguments)
        if isinstance(found, list):
            scope.run.spend(len(found))
            return found
        return [] if found is None else [found]

    return go


def _any(items: Items, model: Model) -> Item | None:
    one = running.single(items)
    return None if one is None else model.plain(one)


def _amount(items: Items, model: Model) -> Item | None:
    """A number or a quantity."""
    found = _any(items, model)
    if found is not None and not values.is_number(found) and not isinstance(found, Quantity):
        raise Unusable("un nombre est attendu")
    return found


_READ: dict[str, Callable[[Items, Model], Any]] = {
    "t": running.text,
    "i": running.integer,
    "n": running.number,
}
_VALUE: dict[str, Callable[[Items, Model], Any]] = {
    "text": running.text,
    "number": running.number,
    "amount": _amount,
    "any": _any,
}

# ---- text ----------------------------------------------------------------------------------------------------------


def _substring(value: str, start: int, length: int | None = None) -> Result:
    if not 0 <= start < len(value):
        return None
    return value[start:] if length is None else value[start : start + max(length, 0)]


def _replace(value: str, old: str, new: str) -> Result:
    if (value.count(old) if old else len(value) + 1) * len(new) > running.MOST_TEXT:
        raise Unusable("texte calculé trop long", code="too-costly")
    return value.replace(old, new)


def _pattern(value: str, pattern: str, scope: Scope) -> Any:
    if not scope.run.is_trusted:
        scope.run.spend(regexes.cost(pattern, value))
    return regexes.compiled(pattern)


def _matches(value: str, pattern: str, scope: Scope) -> Result:
    return _pattern(value, pattern, scope).search(value) is not None


def _matches_full(value: str, pattern: str, scope: Scope) -> Result:
    return _pattern(value, pattern, scope).fullmatch(value) is not None


def _replace_matches(value: str, pattern: str, new: str, scope: Scope) -> Result:
    if not pattern:
        return value
    found = _pattern(value, pattern, scope)
    written = regexes.replacement(new)
    try:
        return running.short(found.sub(written, value))
    except (re.error, IndexError):
        raise Unusable("texte de remplacement illisible") from None


def _split(value: str, separator: str) -> Result:
    return list(value.split(separator)) if separator else list(value)


def _join(scope: Scope, focus: Items, separator: str) -> str:
    return running.short(separator.join(running.text([one], scope.run.model) or "" for one in focus))


def _encode(value: str, form: str) -> Result:
    match form:
        case "base64":
            return base64.b64encode(value.encode()).decode()
        case "urlbase64":
            return base64.urlsafe_b64encode(value.encode()).decode()
        case "hex":
            return value.encode().hex()
    return None


def _decode(value: str, form: str) -> Result:
    try:
        match form:
            case "base64":
                return base64.b64decode(value, validate=True).decode()
            case "urlbase64":
                return base64.urlsafe_b64decode(value).decode()
            case "hex":
                return bytes.fromhex(value).decode()
    except (binascii.Error, ValueError):
        return None
    return None


def _escape(value: str, form: str) -> Result:
    if form == "html":
        return html.escape(value, quote=True).replace("&#x27;", "&#39;")
    return json.dumps(value, ensure_ascii=False)[1:-1] if form == "json" else None


def _unescape(value: str, form: str) -> Result:
    if form == "html":
        return html.unescape(value)
    try:
        found = json.loads(f'"{value}"') if form == "json" else None
    except ValueError:
        return None
    return found if isinstance(found, str) else None


# ---- numbers -------------------------------------------------------------------------------------------------------


def _abs(value: Any) -> Result:
    return Quantity(abs(value.value), value.unit) if isinstance(value, Quantity) else abs(value)


def _whole(rounding: str) -> Callable[[Any], Result]:
    def work(value: Any) -> Result:
        if isinstance(value, int) or abs(value) > values.MOST_INTEGER:
            return value if isinstance(value, int) else None
        return int(value.to_integral_value(rounding, EXACT))

    return work


def _round(value: Any, places: int = 0) -> Result:
    if not 0 <= places <= 40:
        raise Unusable("round() : une précision de 0 à 40 est attendue")
    return values.rounded(Decimal(value), places)


def _real(work: Callable[[Decimal], Decimal]) -> Callable[[Any], Result]:
    """A function that has no value for some numbers."""
    return lambda value: values.bounded(work(Decimal(value)))


def _log(value: Any, base: Any) -> Result:
    if value <= 0 or base <= 0 or base == 1:
        return None
    found = EXACT.divide(EXACT.ln(Decimal(value)), EXACT.ln(Decimal(base)))
    return values.bounded(values.rounded(found, 30).normalize(EXACT))


def _power(value: Any, exponent: Any) -> Result:
    found = values.bounded(EXACT.power(Decimal(value), Decimal(exponent)))
    if isinstance(value, int) and isinstance(exponent, int) and exponent >= 0 and found is not None:
        return values.bounded(int(found))
    return found


# ---- several items -------------------------------------------------------------------------------------------------


def joined(given: Sequence[Step]) -> Step:
    """`join(separator)`, the one function of text over several items. Raises Unusable for more arguments."""
    if len(given) > 1:
        raise Unusable("join() : nombre d'arguments")

    def go(scope: Scope, focus: Items) -> Items:
        scope.run.spend(len(focus))
        separator = running.text(given[0](scope, scope.this), scope.run.model) if given else ""
        return [_join(scope, focus, separator or "")] if focus else []

    return go


_NEED_SCOPE = frozenset({"matches", "matchesFull", "replaceMatches"})

FUNCTIONS: dict[str, _Function] = {
    "indexOf": _Function(lambda value, part: value.find(part), arguments="t"),
    "lastIndexOf": _Function(lambda value, part: value.rfind(part), arguments="t"),
    "substring": _Function(_substring, arguments="iI"),
    "startsWith": _Function(lambda value, part: value.startswith(part), arguments="t"),
    "endsWith": _Function(lambda value, part: value.endswith(part), arguments="t"),
    "contains": _Function(lambda value, part: part in value, arguments="t"),
    "upper": _Function(lambda value: value.upper()),
    "lower": _Function(lambda value: value.lower()),
    "trim": _Function(lambda value: value.strip()),
    "length": _Function(lambda value: len(value)),
    "toChars": _Function(lambda value: list(value)),
    "replace": _Function(_replace, arguments="tt"),
    "matches": _Function(_matches, arguments="t"),
    "matchesFull": _Function(_matches_full, arguments="t"),
    "replaceMatches": _Function(_replace_matches, arguments="tt"),
    "split": _Function(_split, arguments="t"),
    "encode": _Function(_encode, arguments="t"),
    "decode": _Function(_decode, arguments="t"),
    "escape": _Function(_escape, arguments="t"),
    "unescape": _Function(_unescape, arguments="t"),
    "abs": _Function(_abs, "amount"),
    "ceiling": _Function(_whole(ROUND_CEILING), "number"),
    "floor": _Function(_whole(ROUND_FLOOR), "number"),
    "truncate": _Function(_whole(ROUND_DOWN), "number"),
    "round": _Function(_round, "number", "I"),
    "exp": _Function(_real(EXACT.exp), "number"),
    "ln": _Function(_real(EXACT.ln), "number"),
    "log": _Function(_log, "number", "n"),
    "power": _Function(_power, "number", "n"),
    "sqrt": _Function(_real(EXACT.sqrt), "number"),
    "precision": _Function(boundaries.precision, "any"),
    "lowBoundary": _Function(boundaries.low, "any", "I"),
    "highBoundary": _Function(boundaries.high, "any", "I"),
    "toBoolean": _Function(conversions.boolean, "any"),
    "toInteger": _Function(conversions.integer, "any"),
    "toDecimal": _Function(conversions.decimal, "any"),
    "toString": _Function(conversions.text, "any"),
    "toDate": _Function(conversions.date, "any"),
    "toDateTime": _Function(conversions.date_time, "any"),
    "toTime": _Function(conversions.time, "any"),
    "toQuantity": _Function(conversions.quantity, "any", "T"),
    "convertsToBoolean": _Function(lambda value: conversions.boolean(value) is not None, "any"),
    "convertsToInteger": _Function(lambda value: conversions.integer(value) is not None, "any"),
    "convertsToDecimal": _Function(lambda value: conversions.decimal(value) is not None, "any"),
    "convertsToString": _Function(lambda value: conversions.text(value) is not None, "any"),
    "convertsToDate": _Function(lambda value: conversions.date(value) is not None, "any"),
    "convertsToDateTime": _Function(lambda value: conversions.date_time(value) is not None, "any"),
    "convertsToTime": _Function(lambda value: conversions.time(value) is not None, "any"),
    "convertsToQuantity": _Function(lambda value, unit=None: conversions.quantity(value, unit) is not None, "any", "T"),
}

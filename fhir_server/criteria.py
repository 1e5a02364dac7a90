"""Which condition does one search parameter with its value stand for?

FHIR R4 search: values, prefixes, modifiers (https://hl7.org/fhir/R4/search.html#ptypes and #modifiers). A comma means
"or"; `\\,` `\\|` `\\$` `\\\\` are the signs themselves: first split, then unescape. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, cast

import msgspec

from common import errors
from fhir_server import conditions, dates, fulltext, index
from fhir_server.r4.search_leaves import relative
from fhir_server.r4.search_params import FULL_TEXT, Param, SearchTables

MOST_VALUES = 1000  # in one list of alternatives


# What `:in`, `:not-in`, `:above` and `:below` stand for, by modifier and value: (system, code) pairs, or why not.
Codes = Mapping[tuple[str, str], frozenset[tuple[str, str]] | errors.HubError]
_RESOLVED = frozenset(("in", "not-in", "above", "below"))


class Setting(NamedTuple):
    """What a value is read against: the definitions, our own FHIR address, and the time in microseconds (for `ap`).

    `codes` are what the terminology said (`terminology/in_search.py`).
    """

    tables: SearchTables
    base: str
    now: int
    codes: Codes = MappingProxyType({})


def condition(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    """The condition of `param:modifier=value` (modifier "" for none).

    Raises errors.Unreadable for a modifier that this parameter does not have, and for a value of the wrong form.
    """
    at = f"{param.code}:{modifier}" if modifier else param.code
    if param.code == "_id":
        _no_modifier(param, modifier)
        return conditions.Ids(tuple(_values(value, at)))
    if param.code == "_lastUpdated":
        _no_modifier(param, modifier)
        return conditions.Updated(_tests(value, at, setting))
    if param.code in FULL_TEXT:
        _no_modifier(param, modifier)
        return fulltext.wanted(_values(value, at), at, narrative=param.code == "_text")
    if modifier == "missing":
        return _missing(param, value, at)
    if modifier == "text" and "text" in param.modifiers:
        return fulltext.beside(param, _values(value, at))
    return _BY_KIND[param.kind](param, modifier, value, setting)


def refusal(text: str, at: str, code: str = "value") -> errors.Unreadable:
    """The error for a request that cannot be understood: `at` is the parameter's name as it was given."""
    return errors.Unreadable(text, at=at, issues=(errors.Issue(text, at, code),))


def split(text: str, sign: str) -> list[str]:
    """Cut at each `sign` that is not escaped; what is escaped stays so."""
    if "\\" not in text:
        return text.split(sign)
    pieces = [""]
    for one in _SIGNS.findall(text):
        if one == sign:
            pieces.append("")
        else:
            pieces[-1] += one
    return pieces


def unescape(text: str) -> str:
    """`\\,` becomes a comma, and so on; any other backslash stays."""
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


_ESCAPED = re.compile(r"\\([,|$\\])")
_SIGNS = re.compile(r"\\?.", re.DOTALL)


def _values(text: str, at: str) -> list[str]:
    """The alternatives, unescaped."""
    return [unescape(one) for one in _alternatives(text, at)]


def _alternatives(text: str, at: str) -> list[str]:
    found = list(dict.fromkeys(split(text, ",")))
    if not all(found):
        raise refusal(f"{at} : une valeur est vide", at)
    if len(found) > MOST_VALUES:
        raise refusal(f"{at} : au plus {MOST_VALUES} valeurs séparées par des virgules", at, "too-costly")
    return found


def _no_modifier(param: Param, modifier: str) -> None:
    if modifier:
        allowed = " ".join(f":{one}" for one in param.modifiers) if param.paths else "aucun"
        raise refusal(
            f"{param.code} : le modificateur « {modifier} » n'est pas disponible (possibles : {allowed})",
            f"{param.code}:{modifier}",
            "not-supported",
        )


def _missing(param: Param, value: str, at: str) -> conditions.Condition:
    if value not in ("true", "false"):
        raise refusal(f"{at} : attendu true ou false", at)
    present = value == "false"
    if param.kind == "string":
        return conditions.Present(param.number, "str", present)
    if param.kind == "date":
        return conditions.Present(param.number, "dat", present)
    return conditions.Keys((index.present_key(param.type, param.code),), negated=not present)


# ---- token ---------------------------------------------------------------------------------------------------------


def _token(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    if modifier in _RESOLVED and modifier in param.modifiers:
        return _resolved(param, modifier, value, setting)
    if modifier not in ("", "not"):
        _no_modifier(param, modifier)
    wanted = [_system_and_code(one, param.code) for one in _alternatives(value, param.code)]
    return conditions.Keys(
        tuple(dict.fromkeys(_token_key(param, system, code) for system, code in wanted)),
        negated=modifier == "not",
        ordered=param.ordered and all(code is not None for _, code in wanted),
        needles=_needles(param, wanted) if param.code == "identifier" and not modifier else (),
    )


def _resolved(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    at = f"{param.code}:{modifier}"
    pairs = setting.codes.get((modifier, value))
    if pairs is None:
        raise refusal(f"{at} : pas disponible à cet endroit", at, "not-supported")
    if isinstance(pairs, errors.HubError):
        raise refusal(f"{at} : {pairs.message}", at, pairs.issues[0].code)
    keys = tuple(_token_key(param, system, code) for system, code in sorted(pairs))
    return conditions.Keys(keys or (index.NOTHING,), negated=modifier == "not-in", ordered=param.ordered)


def _system_and_code(text: str, at: str) -> tuple[str | None, str | None]:
    """System None: any, "": none; code None: any code of the system."""
    system, *rest = split(text, "|")
    if not rest:
        return None, unescape(system)
    # Identifiers with a bar of their own often come unescaped; a system never has one.
    code = unescape("|".join(rest))
    if not system and not code:
        raise refusal(f"{at} : ni système ni code dans « | »", at)
    return unescape(system), code or None


def _token_key(param: Param, system: str | None, code: str | None) -> int:
    if code is not None and param.contact:
        code = index.contact(code)
    if param.plain and system is not None:
        if system != (param.system or ""):
            return index.NOTHING
        if code is None:
            return index.present_key(param.type, param.code)
        system = None
    return index.token_key(param.type, param.code, system, code)


def _needles(param: Param, wanted: list[tuple[str | None, str | None]]) -> tuple[bytes, ...]:
    """Each key is 64 bits of a hash: who asks for an identifier must never get somebody else's resource."""
    return tuple(msgspec.json.encode(code if code is not None else system) for system, code in wanted)


# ---- reference and uri ---------------------------------------------------------------------------------------------

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)


def _reference(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    if modifier == "identifier":
        wanted = [_system_and_code(one, param.code) for one in _alternatives(value, param.code)]
        keys = [index.identifier_key(param.type, param.code, system, code) for system, code in wanted]
        return conditions.Keys(tuple(dict.fromkeys(keys)))
    if modifier and modifier not in setting.tables.types:
        _no_modifier(param, modifier)
    if modifier and not param.may_be(modifier):
        allowed = ", ".join(param.targets)
        raise refusal(f"{param.code} ne désigne jamais {modifier} (possibles : {allowed})", f"{param.code}:{modifier}")
    found: list[int] = []
    for one in _values(value, param.code):
        found += _reference_keys(param, modifier, relative(one, setting.base))
    return conditions.Keys(tuple(dict.fromkeys(found)), ordered=True)


def _reference_keys(param: Param, type: str, value: str) -> list[int]:
    if _ID.fullmatch(value):
        if not type and not param.few_targets:
            return [index.id_key(param.type, param.code, value)]
        types = (type,) if type else param.targets
        return [index.reference_key(param.type, param.code, f"{one}/{value}") for one in types]
    if type and not f"/{value}".rpartition("/")[0].endswith(f"/{type}"):
        return [index.NOTHING]
    return [index.reference_key(param.type, param.code, value)]


def _uri(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    _no_modifier(param, modifier)
    return conditions.Keys(tuple(index.uri_key(param.type, param.code, one) for one in _values(value, param.code)))


# ---- string and date -----------------------------------------------------------------------------------------------


def _string(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    if modifier == "exact":
        return conditions.Text(param.number, "exact", tuple(one[: index.LONGEST] for one in _values(value, param.code)))
    if modifier not in ("", "contains"):
        _no_modifier(param, modifier)
    folded = tuple(dict.fromkeys(index.fold(one)[: index.LONGEST] for one in _values(value, param.code)))
    if not all(folded):  # only spaces or accents: everything would start with it
        raise refusal(f"{param.code} : une valeur est vide", param.code)
    return conditions.Text(param.number, "contains" if modifier else "starts", folded)


def _date(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    _no_modifier(param, modifier)
    return conditions.Moment(param.number, _tests(value, param.code, setting))


_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)
# In a URL `+` is a space unless it was encoded: 2025-01-01T10:00:00+01:00 arrives with a space.
_LOST_PLUS = re.compile(r" (?=\d\d:\d\d$)", re.ASCII)


def _tests(text: str, at: str, setting: Setting) -> tuple[tuple[conditions.Prefix, int, int], ...]:
    return tuple(dict.fromkeys(_test(one, at, setting) for one in _values(text, at)))


def _test(text: str, at: str, setting: Setting) -> tuple[conditions.Prefix, int, int]:
    found = _PREFIXED.fullmatch(text)
    prefix, written = found.groups() if found else (None, text)
    try:
        span = dates.span(_LOST_PLUS.sub("+", written))
    except ValueError:
        expected = "par exemple 2026, 2026-05, ge2026-05-11 ou 2026-05-11T16:32:15Z"
        raise refusal(f"{at} : date attendue, {expected}", at) from None
    if prefix == "ap":
        span = dates.widened(span, setting.now)
    return cast(conditions.Prefix, prefix or "eq"), *span


_BY_KIND: dict[str, Callable[[Param, str, str, Setting], conditions.Condition]] = {
    "token": _token,
    "reference": _reference,
    "uri": _uri,
    "string": _string,
    "date": _date,
}

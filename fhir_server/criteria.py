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
from fhir_server import conditions, dates, fulltext, index, index_values, measures, phonetics, places
from fhir_server.r4.search_leaves import relative
from fhir_server.r4.search_params import FULL_TEXT, Param, SearchTables

MOST_VALUES = 1000  # in one list of alternatives
_MOST_RANGES = 100  # of alternatives that are more than a key each: databases limit what one statement may say


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
        return _missing(param, value, setting)
    if modifier == "text" and "text" in param.modifiers:
        return fulltext.beside(param, _values(value, at))
    if param.union and not modifier:
        return _sum([condition(setting.tables.by_type[param.type][code], "", value, setting) for code in param.union])
    return _BY_KIND[param.kind](param, modifier, value, setting)


def _sum(members: list[conditions.Condition]) -> conditions.Either:
    """What one of several parameters finds, as one level of alternatives."""
    ways: list[tuple[conditions.Condition, ...]] = []
    for one in members:
        ways += one.ways if isinstance(one, conditions.Either) else ((one,),)
    return conditions.Either(tuple(ways))


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


def _alternatives(text: str, at: str, *, most: int = MOST_VALUES) -> list[str]:
    found = list(dict.fromkeys(split(text, ",")))
    if not all(found):
        raise refusal(f"{at} : une valeur est vide", at)
    if len(found) > most:
        raise refusal(f"{at} : au plus {most} valeurs séparées par des virgules", at, "too-costly")
    return found


def _no_modifier(param: Param, modifier: str) -> None:
    if modifier:
        allowed = " ".join(f":{one}" for one in param.modifiers) if param.paths else "aucun"
        raise refusal(
            f"{param.code} : le modificateur « {modifier} » n'est pas disponible (possibles : {allowed})",
            f"{param.code}:{modifier}",
            "not-supported",
        )


def _missing(param: Param, value: str, setting: Setting) -> conditions.Condition:
    at = f"{param.code}:missing"
    if value not in ("true", "false"):
        raise refusal(f"{at} : attendu true ou false", at)
    return _present(param, setting, value == "false")


def _present(param: Param, setting: Setting, present: bool) -> conditions.Condition:
    if param.union or (param.parts and not param.paths):
        parts = [_present(setting.tables.by_type[param.type][one], setting, True) for one in param.union or param.parts]
        ways = tuple((one,) for one in parts) if param.union else (tuple(parts),)
        return conditions.Either(ways, negated=not present)
    if param.kind in ("number", "quantity"):
        return conditions.Present(param.number, "num", present)
    if param.kind == "special":
        return conditions.Present(param.number, "dat", present)
    if param.kind == "string" and not param.is_phonetic:
        return conditions.Present(param.number, "str", present)
    if param.kind == "date":
        return conditions.Present(param.number, "dat", present)
    return conditions.Keys((index.present_key(param.type, param.code),), negated=not present)


# ---- token ---------------------------------------------------------------------------------------------------------


def _token(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    if modifier == "of-type" and param.has_identifiers:
        return _of_type(param, value)
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


def _of_type(param: Param, value: str) -> conditions.Condition:
    at = f"{param.code}:of-type"
    wanted = [[unescape(piece) for piece in split(one, "|")] for one in _alternatives(value, at)]
    if any(len(pieces) != 3 or not all(pieces[1:]) for pieces in wanted):
        raise refusal(f"{at} : attendu système|code|valeur du type et de l'identifiant", at)
    keys = [index_values.typed_key(param.name, system, code, number) for system, code, number in wanted]
    needles = tuple(msgspec.json.encode(number) for _, _, number in wanted)
    return conditions.Keys(tuple(dict.fromkeys(keys)), needles=needles if param.code == "identifier" else ())


def _resolved(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    at = f"{param.code}:{modifier}"
    try:
        pairs = setting.codes[modifier, value]
    except KeyError:
        raise refusal(f"{at} : pas disponible à cet endroit", at, "not-supported") from None
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
    if modifier in ("above", "below"):
        at = f"{param.code}:{modifier}"
        wanted = dict.fromkeys(map(unescape, _alternatives(value, at, most=_MOST_RANGES)))
        exact = [place for one in wanted for place in (index.above(one) if modifier == "above" else [one])]
        keys = conditions.Keys(tuple(index.uri_key(param.type, param.code, one) for one in dict.fromkeys(exact)))
        trunks = tuple(index.trunk(one)[: index.LONGEST] for one in wanted if not one.startswith("urn:"))
        if modifier == "above" or not trunks:
            return keys
        return conditions.Either(((keys,), (conditions.Text(param.number, "below", trunks),)))
    _no_modifier(param, modifier)
    return conditions.Keys(tuple(index.uri_key(param.type, param.code, one) for one in _values(value, param.code)))


# ---- string and date -----------------------------------------------------------------------------------------------


def _string(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    if param.is_phonetic:
        return _phonetic(param, modifier, value)
    if modifier == "exact":
        return conditions.Text(param.number, "exact", tuple(one[: index.LONGEST] for one in _values(value, param.code)))
    if modifier not in ("", "contains"):
        _no_modifier(param, modifier)
    folded = tuple(dict.fromkeys(index.fold(one)[: index.LONGEST] for one in _values(value, param.code)))
    if not all(folded):  # only spaces or accents: everything would start with it
        raise refusal(f"{param.code} : une valeur est vide", param.code)
    return conditions.Text(param.number, "contains" if modifier else "starts", folded)


def _phonetic(param: Param, modifier: str, value: str) -> conditions.Condition:
    """Each word of one of the alternatives is heard in the name."""
    _no_modifier(param, modifier)
    ways = []
    for one in map(unescape, _alternatives(value, param.code, most=_MOST_RANGES)):
        if not (sounds := phonetics.sounds(one)):
            raise refusal(f"{param.code} : un nom en lettres latines est attendu", param.code)
        keys = (index_values.sound_key(param.name, sound) for sound in sounds)
        ways.append(tuple(conditions.Keys((key,)) for key in keys))
    return conditions.Either(tuple(ways))


def _date(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    _no_modifier(param, modifier)
    return conditions.Moment(param.number, _tests(value, param.code, setting))


_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)


def _tests(text: str, at: str, setting: Setting) -> tuple[tuple[conditions.Prefix, int, int], ...]:
    return tuple(dict.fromkeys(_test(one, at, setting) for one in _values(text, at)))


def _test(text: str, at: str, setting: Setting) -> tuple[conditions.Prefix, int, int]:
    found = _PREFIXED.fullmatch(text)
    prefix, written = found.groups() if found else (None, text)
    try:
        span = dates.asked(written)
    except ValueError:
        expected = "par exemple 2026, 2026-05, ge2026-05-11 ou 2026-05-11T16:32:15Z"
        raise refusal(f"{at} : date attendue, {expected}", at) from None
    if prefix == "ap":
        span = dates.widened(span, setting.now)
    return cast(conditions.Prefix, prefix or "eq"), *span


# ---- numbers, quantities, composites, places -----------------------------------------------------------------------


def _amount(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    _no_modifier(param, modifier)
    found: list[conditions.Measure] = []
    for one in _alternatives(value, param.code, most=_MOST_RANGES):
        try:
            if param.kind == "number":
                found += measures.asked_number(unescape(one))
            else:
                found += measures.asked_quantity([unescape(piece) for piece in split(one, "|")])
        except ValueError as problem:
            raise refusal(f"{param.code} : {problem}", param.code) from None
    return conditions.Amount(param.number, tuple(dict.fromkeys(found)))


def _near(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    _no_modifier(param, modifier)
    ways = []
    for one in _alternatives(value, param.code, most=_MOST_RANGES):
        try:
            ways.append((places.near(param.number, [unescape(piece) for piece in split(one, "|")]),))
        except ValueError as problem:
            raise refusal(f"{param.code} : {problem}", param.code) from None
    return conditions.Either(tuple(ways))


def _composite(param: Param, modifier: str, value: str, setting: Setting) -> conditions.Condition:
    _no_modifier(param, modifier)
    parts = [setting.tables.by_type[param.type][code] for code in param.parts]
    ways: list[tuple[conditions.Condition, ...]] = []
    for one in _alternatives(value, param.code, most=_MOST_RANGES):
        pieces = split(one, "$")
        if len(pieces) != len(parts) or not all(pieces):
            form = "$".join(part.code for part in parts)
            raise refusal(f"{param.code} : attendu {form}", param.code)
        try:
            found = [condition(part, "", piece, setting) for part, piece in zip(parts, pieces, strict=True)]
        except errors.Unreadable as problem:
            raise refusal(f"{param.code} : {problem.message}", param.code) from None
        ways.append((index_values.together(param, found),) if param.paths else tuple(found))
    return conditions.Either(tuple(ways))


_BY_KIND: dict[str, Callable[[Param, str, str, Setting], conditions.Condition]] = {
    "token": _token,
    "reference": _reference,
    "uri": _uri,
    "string": _string,
    "date": _date,
    "number": _amount,
    "quantity": _amount,
    "composite": _composite,
    "special": _near,
}

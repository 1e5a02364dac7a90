"""Which condition does a `_filter` expression stand for?

R4 search_filter.html: tests `path op value` joined by and, or, not and parentheses; a path is a search parameter, a
chain of them, or a reference with a filter of its own (`subject[gender eq male].name`). `and` binds closer than `or`.
Each test becomes the condition of the search parameter with the prefix or modifier that means the same; what no
parameter means is refused. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Sequence
from dataclasses import replace

from fhir_server import chains, conditions, index
from fhir_server.conditions import And, Condition, Not, Or
from fhir_server.criteria import Setting, refusal
from fhir_server.r4.search_params import FULL_TEXT, Param

MOST_CHARACTERS = 4000
MOST_TESTS = 50
MOST_NESTING = 12

_AT = "_filter"
_PIECE = re.compile(
    r"""\s*(?:(?P<open>[(\[])|(?P<close>[)\]])|(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>[^\s()\[\]"]+))""", re.DOTALL
)
_SIGNS = re.compile(r"[\\,|$]")


def condition(types: Sequence[str], text: str, setting: Setting) -> Condition:
    """The condition of a filter on resources of `types`.

    Raises errors.Unreadable for what is no filter, for tests that no parameter has, and for filters that are too long
    or too deep; chains.Unknown never leaves.
    """
    if len(text) > MOST_CHARACTERS:
        raise refusal(f"_filter : au plus {MOST_CHARACTERS} caractères", _AT, "too-costly")
    reader = _Reader(text, setting)
    try:
        found = reader.either(types, 0)
    except chains.Unknown as unknown:
        raise refusal(unknown.text, _AT, "not-supported") from None
    reader.end()
    return found


class _Reader:
    """Goes through the pieces of one expression once."""

    def __init__(self, text: str, setting: Setting) -> None:
        self._setting = setting
        self._pieces: list[tuple[str, str]] = []
        self._place = 0
        self._tests = 0
        place = 0
        text = text.rstrip()
        while place < len(text):
            found = _PIECE.match(text, place)
            if found is None:
                raise _unreadable(f"signe inattendu au caractère {place + 1}")
            place = found.end()
            self._pieces.append((str(found.lastgroup), found[str(found.lastgroup)]))

    def either(self, types: Sequence[str], deep: int) -> Condition:
        """One or more `and` lists with `or` between them."""
        if deep > MOST_NESTING:
            raise refusal(f"_filter : au plus {MOST_NESTING} niveaux de parenthèses", _AT, "too-costly")
        found = [self._every(types, deep)]
        while self._word("or"):
            found.append(self._every(types, deep))
        return found[0] if len(found) == 1 else Or(tuple(found))

    def end(self) -> None:
        """Nothing may be left."""
        if self._place < len(self._pieces):
            raise _unreadable(f"« {self._pieces[self._place][1][:40]} » est de trop")

    def _every(self, types: Sequence[str], deep: int) -> Condition:
        found = [self._one(types, deep)]
        while self._word("and"):
            found.append(self._one(types, deep))
        return found[0] if len(found) == 1 else And(tuple(found))

    def _one(self, types: Sequence[str], deep: int) -> Condition:
        if self._word("not", before="("):
            return Not(self._one(types, deep))
        if self._sign("open", "("):
            found = self.either(types, deep + 1)
            self._expect("close", ")")
            return found
        self._tests += 1
        if self._tests > MOST_TESTS:
            raise refusal(f"_filter : au plus {MOST_TESTS} tests", _AT, "too-costly")
        return self._path(types, self._take("word", "un paramètre"), deep)

    def _path(self, types: Sequence[str], path: str, deep: int) -> Condition:
        """`name op value`, `a.b op value`, `a[filter].b op value`."""
        if deep > MOST_NESTING:
            raise refusal(f"_filter : au plus {MOST_NESTING} niveaux", _AT, "too-costly")
        head, dot, rest = path.partition(".")
        if dot and head:
            params, targets = chains.followed(types, head, self._setting, _AT)
            behind = self._path(targets, rest, deep + 1)
            return chains.through(params, targets, behind)
        if self._sign("open", "["):
            params, targets = chains.followed(types, head, self._setting, _AT)
            also = self.either(targets, deep + 1)
            self._expect("close", "]")
            rest = self._take("word", "un point et la suite du chemin")
            if not rest.startswith("."):
                raise _unreadable("après « ] », attendu un point et la suite du chemin")
            behind = self._path(targets, rest[1:], deep + 1)
            return chains.through(params, targets, And((also, behind)))
        operator = self._take("word", "un opérateur")
        kind, value = self._pieces[self._place] if self._place < len(self._pieces) else ("", "")
        if kind not in ("text", "word"):
            raise _unreadable(f"une valeur est attendue après « {operator[:20]} »")
        self._place += 1
        return _test(types, path, operator, _plain(value) if kind == "text" else value, setting=self._setting)

    def _word(self, word: str, *, before: str = "") -> bool:
        if self._place >= len(self._pieces) or self._pieces[self._place] != ("word", word):
            return False
        if before and self._pieces[self._place + 1 : self._place + 2] != [("open", before)]:
            return False
        self._place += 1
        return True

    def _sign(self, kind: str, sign: str) -> bool:
        if self._pieces[self._place : self._place + 1] != [(kind, sign)]:
            return False
        self._place += 1
        return True

    def _expect(self, kind: str, sign: str) -> None:
        if not self._sign(kind, sign):
            raise _unreadable(f"« {sign} » attendu")

    def _take(self, kind: str, expected: str) -> str:
        if self._place >= len(self._pieces) or self._pieces[self._place][0] != kind:
            raise _unreadable(f"{expected} est attendu")
        self._place += 1
        return self._pieces[self._place - 1][1]


def _plain(text: str) -> str:
    try:
        found: str = json.loads(text)
    except ValueError:
        raise _unreadable("un texte entre guillemets est mal écrit") from None
    if "\0" in found or any("\ud800" <= one <= "\udfff" for one in found):
        raise _unreadable("caractère interdit dans un texte")
    return found


def _unreadable(text: str) -> Exception:
    return refusal(f"_filter : {text}", _AT)


# ---- one test ------------------------------------------------------------------------------------------------------

# `ss`: the value of the filter subsumes a concept of the resource, which is then below it.
_MODIFIERS = {"in": "in", "ni": "not-in", "ss": "below", "sb": "above"}
_PREFIXES = frozenset(("gt", "lt", "ge", "le", "ap", "sa", "eb"))
_ORDERED = frozenset(("date", "number", "quantity"))
_TEXTS: dict[str, conditions.Mode] = {"eq": "equals", "co": "contains", "sw": "starts", "ew": "ends"}
_FITTING = {
    "string": frozenset((*_TEXTS, "ne")),
    "token": frozenset(("eq", "ne", *_MODIFIERS)),
    "reference": frozenset(("eq", "ne", "re")),
    "uri": frozenset(("eq", "ne", "ss", "sb")),
    "date": frozenset(("eq", "ne", "po", *_PREFIXES)),
    "number": frozenset(("eq", "ne", *_PREFIXES)),
    "quantity": frozenset(("eq", "ne", *_PREFIXES)),
}
_KNOWN = frozenset(("pr", "po", "re", "co", "sw", "ew", "eq", "ne", *_PREFIXES, *_MODIFIERS))


def _test(types: Sequence[str], code: str, operator: str, value: str, *, setting: Setting) -> Condition:
    if operator not in _KNOWN:
        raise _unreadable(f"l'opérateur « {operator[:20]} » n'existe pas")
    if operator == "ne":
        return _unequal(types, code, value, setting)
    if operator == "pr":
        if value not in ("true", "false"):
            raise _unreadable("pr attend true ou false")
        return chains.leaf(types, f"{code}:missing", "false" if value == "true" else "true", setting, at=_AT)
    params = [one for one in (setting.tables.param(type, code) for type in types) if one]
    if not params:
        raise chains.Unknown(f"_filter : paramètre de recherche inconnu : « {code[:64]} »")
    for param in params:
        if operator not in _fitting(param):
            raise refusal(f"_filter : « {operator} » ne s'applique pas à {param.name}", _AT, "not-supported")
    return _asked(types, params, operator, value, setting=setting)


def _fitting(param: Param) -> Container[str]:
    if not _is_of_words(param):
        return _FITTING.get(param.kind, ())
    return ("eq", "ne") if param.is_phonetic else ("co",)


def _is_of_words(param: Param) -> bool:
    """Its values are not kept as they are written: words of a full text, sounds."""
    return param.code in FULL_TEXT or param.is_phonetic


def _asked(types: Sequence[str], params: Sequence[Param], operator: str, value: str, *, setting: Setting) -> Condition:
    """The condition of the parameter; a comma is part of the value here, never an alternative."""
    code, kind = params[0].code, params[0].kind
    if operator in _TEXTS and all(one.kind == "string" and not _is_of_words(one) for one in params):
        folded = index.fold(value)[: index.LONGEST]
        if not folded:
            raise _unreadable("une valeur est vide")
        numbers = [one.number for one in params]
        return conditions.Text(numbers[0], _TEXTS[operator], (folded,), tuple(numbers[1:]))
    # A bar parts system and code, in a filter as in a parameter.
    written = _SIGNS.sub(lambda found: found[0] if found[0] == "|" else f"\\{found[0]}", value)
    if operator in _MODIFIERS:
        return chains.leaf(types, f"{code}:{_MODIFIERS[operator]}", written, setting, at=_AT)
    if operator == "po":
        return _overlap(chains.leaf(types, code, written, setting, at=_AT))
    if kind in _ORDERED:
        written = f"{operator}{written}"
    return chains.leaf(types, code, written, setting, at=_AT)


def _unequal(types: Sequence[str], code: str, value: str, setting: Setting) -> Condition:
    """An item has another value. Of tokens, texts and references only whether one has this value is known: no item."""
    params = [one for one in (setting.tables.param(type, code) for type in types) if one]
    if params and all(one.kind in _ORDERED for one in params):
        return chains.leaf(types, code, f"ne{value}", setting, at=_AT)
    return Not(_test(types, code, "eq", value, setting=setting))


def _overlap(found: Condition) -> Condition:
    """The period of the value overlaps with one of the resource."""
    if isinstance(found, conditions.Moment):
        # Here `ap` compares the ranges as they stand; it is the reader of prefixes that widens.
        return replace(found, tests=tuple(("ap", lo, hi) for _, lo, hi in found.tests))
    if isinstance(found, conditions.Updated):
        return replace(found, tests=tuple(("ap", lo, hi) for _, lo, hi in found.tests))
    raise refusal("_filter : « po » ne s'applique qu'aux dates", _AT, "not-supported")

"""Search URLs over the made-up resources: every parameter of their types, every form of value, Hypothesis choosing."""

from __future__ import annotations

import json
import re

from hypothesis import strategies as st

from fhir_server.r4 import load
from tests.fhir_server.naive import made, values

Pair = tuple[str, str]

PREFIXES = ("", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
PRESENT = ("true", "false")
# Not defined by R4 in a way that could be compared, or found by words and lists.
LEFT_OUT = frozenset(("phonetic", "_text", "_content", "_query", "_list", "_filter", "near", "_has"))
LONGEST_CHAIN = 3
_WRITTEN_DATES = (*made.DATES, *made.TIMES, "2020-01-10T12:00Z", "2020-01-10T12:00:00", "2022", "2020-02")
_WRITTEN_NUMBERS = (*made.NUMBERS, "5", "5.4e0", "1e2", "54e-1", "101")
_WORDS = (*made.WORDS, "le", "jean p", "lefevre", "ulle", "o neil", "oeu", "strasse", "lefèvre", "59000", "e")
_CODES = st.sampled_from((*made.CODES, "final", "active", "male", "true", "false", "home", "finished", "order"))
_SYSTEMS = st.sampled_from(
    (*made.SYSTEMS[:2], "", "http://hl7.org/fhir/administrative-gender", "http://hl7.org/fhir/observation-status")
)


def escaped(value: str) -> str:
    """A value as a client writes it."""
    for sign in "\\,|$":
        value = value.replace(sign, "\\" + sign)
    return value


def _token(code: str) -> st.SearchStrategy[str]:
    if code == "telecom" or code in ("phone", "email"):
        codes = st.sampled_from(made.PHONES)
        systems = st.sampled_from(("phone", "email", "home", "work"))
    else:
        codes = _CODES if code != "identifier" else st.sampled_from([one.strip() for one in made.IDENTIFIERS])
        systems = _SYSTEMS
    written = codes.map(escaped)
    return st.one_of(
        written, st.builds("{}|{}".format, systems, written), systems.filter(bool).map(lambda system: f"{system}|")
    )


def _reference(code: str, types: tuple[str, ...]) -> st.SearchStrategy[str]:
    type = st.sampled_from(types)
    ids = type.flatmap(lambda one: st.integers(0, made.FEW).map(lambda n: f"{one}/{one[:3].lower()}{n}"))
    return st.one_of(
        ids,
        ids,
        ids.map(lambda one: one.partition("/")[2]),
        ids.map(lambda one: f"{made.BASE}/{one}"),
        ids.map(lambda one: f"http://other.test/fhir/{one}"),
    )


_QUANTITY = st.builds(
    "{}{}{}".format,
    st.sampled_from(PREFIXES),
    st.sampled_from(_WRITTEN_NUMBERS),
    st.sampled_from(
        ("", "", f"|{made.UCUM}|mg", f"|{made.UCUM}|g", "||mg", "||g", "||gramme", "||mm[Hg]", "|urn:oid:1.2.250.1|mg",
         "|urn:iso:std:iso:4217|EUR", f"|{made.UCUM}|h")
    ),
)  # fmt: skip
_DATE = st.builds("{}{}".format, st.sampled_from(PREFIXES), st.sampled_from(_WRITTEN_DATES))
_NUMBER = st.builds("{}{}".format, st.sampled_from(PREFIXES), st.sampled_from(_WRITTEN_NUMBERS))
_STRING = st.sampled_from(_WORDS).map(escaped)
_URI = st.sampled_from(
    (*made.URIS, "http://a.test/", "http://a.test/vs/", *(f"{made.URIS[0]}|{one}" for one in made.VERSIONS))
).map(escaped)


def _value(kind: str, code: str, targets: tuple[str, ...]) -> st.SearchStrategy[str]:
    match kind:
        case "token":
            return _token(code)
        case "reference":
            return _reference(code, tuple(one for one in targets if one in made.TYPES) or targets[:1] or ("Patient",))
        case "quantity":
            return _QUANTITY
    return {"date": _DATE, "number": _NUMBER, "string": _STRING, "uri": _URI}[kind]


class Asking:
    """The strategies over the parameters that the server knows."""

    def __init__(self, definitions: load.Definitions) -> None:
        texts = {type: definitions.search.searchable(type) for type in made.TYPES}
        self._said = {(type, one.code) for type, some in texts.items() for one in some if "text" in one.modifiers}
        self._known = {type: self._codes(definitions, type) for type in made.TYPES}

    def _codes(self, definitions: load.Definitions, type: str) -> tuple[str, ...]:
        mine = definitions.search.searchable(type)
        stated = [one.code for one in mine if values.parameter(type, one.code) is not None and one.expression]
        return tuple(code for code in stated if code not in LEFT_OUT)

    def searches(self) -> st.SearchStrategy[tuple[str, list[Pair]]]:
        """A type and the parameters of a search on it."""

        def of(type: str) -> st.SearchStrategy[tuple[str, list[Pair]]]:
            plain = self._criterion(type)
            one = st.one_of(plain, plain, plain, self._chain(type, 1), self._reverse(type, 1), self._filter(type))
            where = st.lists(one, min_size=1, max_size=2)
            also = st.one_of(st.just([]), st.just([]), st.lists(self._include(type), min_size=1, max_size=2))
            return st.builds(lambda *some: (type, [*some[0], *some[1], *some[2]]), where, self._sort(type), also)

        one = st.sampled_from((*made.TYPES, "Observation", "Patient")).flatmap(of)
        return st.one_of(one, one, one, one, one, self._of_all(), self._within())

    def _of_all(self) -> st.SearchStrategy[tuple[str, list[Pair]]]:
        """`[base]?_type=A,B&…` with what all resources have."""
        types = st.lists(st.sampled_from(made.TYPES), min_size=1, max_size=4, unique=True)
        codes = ("_lastUpdated", "_tag", "_security", "_profile", "_source", "_lastUpdated")
        where = st.lists(st.sampled_from(codes).flatmap(lambda code: self._of("Patient", code)), max_size=2)
        sort = st.sampled_from(([], [("_sort", "_lastUpdated,_id")], [("_sort", "-_lastUpdated,_id")]))
        return st.builds(lambda some, a, b: ("", [("_type", ",".join(some)), *a, *b]), types, where, sort)

    def _within(self) -> st.SearchStrategy[tuple[str, list[Pair]]]:
        """`Patient/pat1/Observation?…`, `Encounter/enc2/*`."""
        owners = ("Patient", "Encounter", "Practitioner")

        def of(owner: str) -> st.SearchStrategy[tuple[str, list[Pair]]]:
            inside = [type for type in made.TYPES if values.compartments().get((owner, type))]
            path = st.integers(0, made.FEW).map(lambda n: f"{owner}/{owner[:3].lower()}{n}/")
            one = st.sampled_from(inside).flatmap(
                lambda type: st.tuples(st.just(type), st.lists(self._criterion(type), max_size=1))
            )
            some = st.one_of(one, one, st.just(("*", [])))
            return st.builds(lambda path, asked: (path + asked[0], list(asked[1])), path, some)

        return st.sampled_from(owners).flatmap(of)

    def _criterion(self, type: str) -> st.SearchStrategy[Pair]:
        return st.sampled_from(self._known[type]).flatmap(lambda code: self._of(type, code))

    def _of(self, type: str, code: str) -> st.SearchStrategy[Pair]:
        """One parameter with a modifier or none."""
        found = values.parameter(type, code)
        assert found, code
        if code == "_id":
            ids = st.integers(0, made.FEW).map(lambda n: f"{type[:3].lower()}{n}")
            return st.lists(ids, min_size=1, max_size=3).map(lambda some: (code, ",".join(some)))
        if code == "_lastUpdated":
            near = st.builds("2026-11-23T08:00:{:02d}{}Z".format, st.integers(0, 40), st.sampled_from(("", ".500")))
            return st.builds(lambda prefix, when: (code, prefix + when), st.sampled_from(PREFIXES[:-1]), near)
        plain = self._alternatives(self._one(type, found)).map(lambda value: (code, value))
        missing = st.sampled_from(PRESENT).map(lambda value: (f"{code}:missing", value))
        return st.one_of(plain, plain, plain, plain, missing, *self._modified(type, code, found))

    def _one(self, type: str, found: values.Parameter) -> st.SearchStrategy[str]:
        if found.kind != "composite":
            return _value(found.kind, found.code, found.targets)
        parts = [values.component(definition) for definition, _ in found.components]
        return st.tuples(*(_value(one.kind, one.code, one.targets) for one in parts)).map("$".join)

    def _modified(self, type: str, code: str, found: values.Parameter) -> list[st.SearchStrategy[Pair]]:
        one = self._alternatives(self._one(type, found))
        said = [self._alternatives(_STRING).map(lambda v: (f"{code}:text", v))] if (type, code) in self._said else []
        match found.kind:
            case "token" if code == "identifier":
                typed = st.builds("{}|{}|{}".format, st.sampled_from(made.SYSTEMS[:2]), _CODES.map(escaped),
                                  st.sampled_from(made.IDENTIFIERS).map(str.strip).map(escaped))  # fmt: skip
                return [one.map(lambda v: (f"{code}:not", v)), typed.map(lambda v: (f"{code}:of-type", v)), *said]
            case "token":
                return [one.map(lambda v: (f"{code}:not", v)), *said]
            case "string":
                return [one.map(lambda v, m=m: (f"{code}:{m}", v)) for m in ("exact", "contains")]
            case "uri":
                return [one.map(lambda v, m=m: (f"{code}:{m}", v)) for m in ("above", "below")]
            case "reference":
                named = [one for one in found.targets if one in made.TYPES]
                typed = st.sampled_from(named or found.targets[:1] or ("Patient",)).flatmap(
                    lambda t: _reference(code, (t,)).map(lambda v: (f"{code}:{t}", v))
                )
                return [typed, _token("identifier").map(lambda v: (f"{code}:identifier", v)), *said]
        return []

    def _alternatives(self, one: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(one, one, st.lists(one, min_size=2, max_size=3, unique=True).map(",".join))

    def _sort(self, type: str) -> st.SearchStrategy[list[Pair]]:
        codes = [code for code in self._known[type] if values.parameter(type, code).kind != "composite"]  # type: ignore[union-attr]
        one = st.builds("{}{}".format, st.sampled_from(("", "-")), st.sampled_from(codes))
        some = st.lists(one, min_size=1, max_size=3, unique_by=lambda key: key.lstrip("-"))
        return st.one_of(st.just([]), some.map(lambda keys: [("_sort", ",".join(keys))]))

    # ---- through references ------------------------------------------------------------------------------------------

    def _links(self, type: str) -> list[tuple[str, tuple[str, ...]]]:
        """The reference parameters of a type, with those of their targets that are made here."""
        found = []
        for code in self._known[type]:
            one = values.parameter(type, code)
            if one and one.kind == "reference" and (mine := tuple(t for t in one.targets if t in made.TYPES)):
                found.append((code, mine))
        return found

    def _chain(self, type: str, depth: int) -> st.SearchStrategy[Pair]:
        """`subject:Patient.family`, `subject.family` where it has only that target."""

        def of(link: tuple[str, tuple[str, ...]]) -> st.SearchStrategy[Pair]:
            code, targets = link
            return st.sampled_from(targets).flatmap(
                lambda target: self._end(target, depth).map(lambda end: (f"{code}:{target}.{end[0]}", end[1]))
            )

        links = self._links(type)
        return st.sampled_from(links).flatmap(of) if links else self._criterion(type)

    def _reverse(self, type: str, depth: int) -> st.SearchStrategy[Pair]:
        """`_has:Observation:subject:code`."""
        pointing = [(other, code) for other in made.TYPES for code, targets in self._links(other) if type in targets]
        if not pointing:
            return self._criterion(type)
        return st.sampled_from(pointing).flatmap(
            lambda one: self._end(one[0], depth).map(lambda end: (f"_has:{one[0]}:{one[1]}:{end[0]}", end[1]))
        )

    def _end(self, type: str, depth: int) -> st.SearchStrategy[Pair]:
        last = self._criterion(type)
        if depth >= LONGEST_CHAIN - 1:
            return last
        return st.one_of(last, last, st.deferred(lambda: self._chain(type, depth + 1)),
                         st.deferred(lambda: self._reverse(type, depth + 1)))  # fmt: skip

    def _include(self, type: str) -> st.SearchStrategy[Pair]:
        """`_include=Encounter:subject:Patient`, `_revinclude:iterate=Observation:*`."""
        back = [(other, code) for other in made.TYPES for code, targets in self._links(other) if type in targets]
        forth = [(type, code, target) for code, targets in self._links(type) for target in (*targets, "")]
        again = st.sampled_from(("", ":iterate"))
        some = [st.builds(lambda how, link: (f"_revinclude{how}", ":".join(link)), again, st.sampled_from(back))]
        if forth:
            ahead = st.sampled_from([*forth, (type, "*", "")])
            some.append(st.builds(lambda how, link: (f"_include{how}", ":".join(filter(None, link))), again, ahead))
        return st.one_of(some) if back or forth else st.nothing()

    # ---- _filter -----------------------------------------------------------------------------------------------------

    def _filter(self, type: str) -> st.SearchStrategy[Pair]:
        """`family eq x and not (birthdate ge 2020 or organization.name co y)`."""
        return self._expression(type, 0).map(lambda text: ("_filter", text))

    def _expression(self, type: str, deep: int) -> st.SearchStrategy[str]:
        one = self._test(type, deep)
        if deep > 1:
            return one
        inner = st.deferred(lambda: self._expression(type, deep + 1))
        several = st.lists(inner, min_size=2, max_size=3)
        return st.one_of(one, one, several.map(" and ".join), several.map(" or ".join), inner.map("({})".format),
                         inner.map("not ({})".format))  # fmt: skip

    def _test(self, type: str, deep: int) -> st.SearchStrategy[str]:
        codes = [code for code in self._known[type] if values.parameter(type, code).kind != "composite"]  # type: ignore[union-attr]
        plain = st.sampled_from(codes).flatmap(lambda code: self._tested(type, code))
        links = self._links(type)
        if not links or deep > 1:
            return plain

        def through(link: tuple[str, tuple[str, ...]]) -> st.SearchStrategy[str]:
            return st.sampled_from(link[1]).flatmap(
                lambda target: st.one_of(
                    self._test(target, deep + 1).map(lambda end: f"{link[0]}:{target}.{end}"),
                    st.builds(
                        lambda inner, end: f"{link[0]}:{target}[{inner}].{end}",
                        self._test(target, 2), self._test(target, 2),
                    ),
                )
            )  # fmt: skip

        return st.one_of(plain, plain, st.sampled_from(links).flatmap(through))

    def _tested(self, type: str, code: str) -> st.SearchStrategy[str]:
        """`code op value`."""
        found = values.parameter(type, code)
        assert found, code
        kind = "uri" if code == "_profile" else found.kind
        if code in ("_id", "_lastUpdated"):
            return self._of(type, code).map(lambda pair: _operated(code, *_apart(pair[1].partition(",")[0])))
        present = st.sampled_from(PRESENT).map(lambda value: f"{code} pr {value}")
        one = _unwritten(self._one(type, found))
        match kind:
            case "string":
                tests = st.builds(
                    lambda op, v: _operated(code, op, v), st.sampled_from(("eq", "ne", "co", "sw", "ew")), one
                )
            case "date":
                period = st.sampled_from(_WRITTEN_DATES).map(lambda v: _operated(code, "po", v))
                tests = st.one_of(one.map(lambda v: _operated(code, *_apart(v))), period)
            case "number" | "quantity":
                tests = one.map(lambda v: _operated(code, *_apart(v)))
            case "uri":
                tests = st.builds(lambda op, v: _operated(code, op, v), st.sampled_from(("eq", "ne", "ss", "sb")), one)
            case "reference":
                tests = st.builds(lambda op, v: _operated(code, op, v), st.sampled_from(("eq", "ne", "re")), one)
            case _:
                tests = st.builds(lambda op, v: _operated(code, op, v), st.sampled_from(("eq", "ne")), one)
        return st.one_of(tests, tests, tests, present)


def _unwritten(one: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A filter has no commas and dollars to escape; a bar or a backslash of its own would be another question."""
    return one.filter(lambda value: "\\|" not in value and "\\\\" not in value).map(
        lambda value: value.replace("\\,", ",").replace("\\$", "$")
    )


def _apart(value: str) -> tuple[str, str]:
    """The operator that is the prefix, and the rest."""
    return (value[:2], value[2:]) if value[:2] in PREFIXES else ("eq", value)


def _operated(code: str, operator: str, value: str) -> str:
    quoted = json.dumps(value, ensure_ascii=False) if re.search(r'[\s()\[\]"\\]', value) else value
    return f"{code} {operator} {quoted}"

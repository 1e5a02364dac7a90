"""Which functions does an expression call on collections?

http://hl7.org/fhirpath/N1/#functions and https://hl7.org/fhir/R4/fhirpath.html#functions. Those on single values are in
`texts.py`. A name or a number of arguments that does not exist is refused when the expression is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cmp_to_key, partial
from typing import Any, NamedTuple

from fhir_server.fhirpath import operators, references, running, texts, values
from fhir_server.fhirpath.nodes import Item, Items, Node
from fhir_server.fhirpath.parse import Unusable
from fhir_server.fhirpath.running import Scope, Step

Work = Callable[[Scope, Items, Sequence[Step]], Items]


class _Function(NamedTuple):
    work: Work
    least: int = 0
    most: int = 0


def call(name: str, arguments: list[Step]) -> Step:
    """The step of `name(arguments)`. Raises Unusable for a function that does not exist, or has other arguments."""
    if name == "join":
        return texts.joined(arguments)
    if name in texts.FUNCTIONS:
        return texts.step(name, arguments)
    found = _FUNCTIONS.get(name)
    if found is None:
        raise Unusable(f"fonction inconnue ou non prise en charge : {name[:40]}()", code="not-supported")
    if not found.least <= len(arguments) <= found.most:
        raise Unusable(f"{name}() : nombre d'arguments")
    work = found.work
    return lambda scope, focus: work(scope, focus, arguments)


def _each(scope: Scope, focus: Items, body: Step) -> list[tuple[Item, Items]]:
    """Every item with what `body` gives on it."""
    run = scope.run
    found = []
    for index, one in enumerate(focus):
        run.spend(1)
        alone: Items = [one]
        found.append((one, body(Scope(run, alone, index, scope.total), alone)))
    return found


def _tests(scope: Scope, focus: Items, body: Step) -> list[bool]:
    model = scope.run.model
    return [running.truth(found, model) is True for _, found in _each(scope, focus, body)]


def _argument(scope: Scope, body: Step) -> Items:
    """An argument that is a collection: its paths start where the whole expression does."""
    return body(scope, scope.this)


# ---- existence -----------------------------------------------------------------------------------------------------


def _exists(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    return [any(_tests(scope, focus, given[0])) if given else bool(focus)]


def _all(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    return [all(_tests(scope, focus, given[0]))]


def _booleans(test: Callable[[list[bool]], bool]) -> Work:
    def work(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
        plain = [scope.run.model.plain(one) for one in focus]
        if not all(isinstance(one, bool) for one in plain):
            raise Unusable("des booléens sont attendus")
        return [test([one is True for one in plain])]

    return work


def _keys(scope: Scope, items: Items) -> dict[Any, Item]:
    """The items by what makes them equal, the first of each."""
    scope.run.spend(len(items))
    found: dict[Any, Item] = {}
    for one in items:
        found.setdefault(scope.run.model.key(one), one)
    return found


def _subset(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    return [_keys(scope, focus).keys() <= _keys(scope, _argument(scope, given[0])).keys()]


def _superset(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    return [_keys(scope, focus).keys() >= _keys(scope, _argument(scope, given[0])).keys()]


def _distinct(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    return list(_keys(scope, focus).values())


def _is_distinct(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    return [len(_keys(scope, focus)) == len(focus)]


def _not(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    found = running.truth(focus, scope.run.model)
    return [] if found is None else [not found]


def _has_value(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    return [bool(_get_value(scope, focus, given))]


def _get_value(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    if len(focus) != 1:
        return []
    [one] = focus
    if not isinstance(one, Node):
        return [one]
    return [scope.run.model.plain(one)] if scope.run.model.is_primitive(one) and one.value is not None else []


# ---- filtering and projection --------------------------------------------------------------------------------------


def _where(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    return [one for one, holds in zip(focus, _tests(scope, focus, given[0]), strict=True) if holds]


def _select(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    found = [each for _, items in _each(scope, focus, given[0]) for each in items]
    return _few(found)


def _repeat(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    found: dict[Any, Item] = {}
    waiting = focus
    while waiting:
        fresh: Items = []
        for _, items in _each(scope, waiting, given[0]):
            for one in items:
                # Two equal elements of a resource are two; equal calculated values would repeat for ever.
                key = (
                    id(one.value) if isinstance(one, Node) and isinstance(one.value, dict) else scope.run.model.key(one)
                )
                if key not in found:
                    found[key] = one
                    fresh.append(one)
        _few(list(found))
        waiting = fresh
    return list(found.values())


def _aggregate(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    total = _argument(scope, given[1]) if len(given) > 1 else []
    for index, one in enumerate(focus):
        scope.run.spend(1 + len(total))
        alone: Items = [one]
        total = given[0](Scope(scope.run, alone, index, total), alone)
    return total


def _iif(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    running.single(focus)
    inside = Scope(scope.run, focus, scope.index, scope.total)
    if running.truth(given[0](inside, focus), scope.run.model):
        return given[1](inside, focus)
    return given[2](inside, focus) if len(given) > 2 else []


def _children(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    found: Items = [child for one in focus if isinstance(one, Node) for child in scope.run.model.children(one)]
    scope.run.spend(len(found))
    return found


def _descendants(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    found: Items = []
    level = focus
    while level:
        level = _children(scope, level, ())
        found += level
        _few(found)
    return found


def _few(found: list[Any]) -> list[Any]:
    if len(found) > running.MOST_ITEMS:
        raise Unusable(f"plus de {running.MOST_ITEMS} éléments", code="too-costly")
    return found


# ---- subsets and unions --------------------------------------------------------------------------------------------


def _slice(cut: Callable[[Items, int], Items]) -> Work:
    def work(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
        count = running.integer(_argument(scope, given[0]), scope.run.model)
        return [] if count is None else cut(focus, max(count, 0))

    return work


def _single(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    running.single(focus)
    return focus


def _intersect(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    other = _keys(scope, _argument(scope, given[0]))
    return [one for key, one in _keys(scope, focus).items() if key in other]


def _exclude(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    other = _keys(scope, _argument(scope, given[0]))
    return [one for one in focus if scope.run.model.key(one) not in other]


def _union(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    return operators.union(focus, _argument(scope, given[0]), scope.run.model)


def _combine(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    return _few([*focus, *_argument(scope, given[0])])


def sort(given: Sequence[tuple[Step, bool]]) -> Step:
    """`sort(a, -b)`: each criterion with whether it descends; what has no value comes first."""

    def go(scope: Scope, focus: Items) -> Items:
        model = scope.run.model
        found = list(focus)
        for criterion, descends in reversed(given or [(lambda scope, focus: focus, False)]):
            keys = [running.single(items) for _, items in _each(scope, found, criterion)]
            pairs = [(None if key is None else model.plain(key), one) for key, one in zip(keys, found, strict=True)]
            found = [one for _, one in sorted(pairs, key=cmp_to_key(partial(_order, descends)))]
        return found

    return go


def _order(descends: bool, first: tuple[Item | None, Item], second: tuple[Item | None, Item]) -> int:
    one, other = first[0], second[0]
    if one is None or other is None:
        return (one is not None) - (other is not None)
    try:
        found = values.less(one, other) or 0
    except TypeError:
        raise Unusable("ces valeurs ne se comparent pas") from None
    return -found if descends else found


# ---- the rest ------------------------------------------------------------------------------------------------------


def _extension(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    url = running.text(_argument(scope, given[0]), scope.run.model)
    child = scope.run.model.child
    return [
        each
        for one in focus
        if isinstance(one, Node)
        for each in child(one, "extension")
        if isinstance(each.value, dict) and each.value.get("url") == url
    ]


def _trace(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    """Nothing is logged: it would be data of a patient."""
    return focus


def _now(form: str) -> Work:
    def work(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
        now = scope.run.now
        second = Decimal(now.second) + Decimal(now.microsecond // 1000).scaleb(-3)
        offset = now.utcoffset()
        minutes = int(offset.total_seconds()) // 60 if offset is not None else 0
        day, hour = (now.year, now.month, now.day), (now.hour, now.minute, second)
        if form == "date":
            return [values.Moment("date", day)]
        if form == "time":
            return [values.Moment("time", hour)]
        return [values.Moment("dateTime", (*day, *hour), minutes)]

    return work


def _comparable(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    one, other = running.single(focus), running.single(_argument(scope, given[0]))
    if one is None or other is None:
        return []
    first, second = scope.run.model.plain(one), scope.run.model.plain(other)
    if not isinstance(first, values.Quantity) or not isinstance(second, values.Quantity):
        raise Unusable("comparable() : deux quantités sont attendues")
    return [values.same_kind(first, second)]


def _conforms_to(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    return references.conforms_to(scope.run, focus, running.text(_argument(scope, given[0]), scope.run.model))


def _type(scope: Scope, focus: Items, given: Sequence[Step]) -> Items:
    names = [scope.run.model.type_name(one) for one in focus]
    return [Node({"namespace": namespace, "name": name}, "TypeInfo") for namespace, name in names]


_FUNCTIONS: dict[str, _Function] = {
    "empty": _Function(lambda scope, focus, given: [not focus]),
    "exists": _Function(_exists, 0, 1),
    "all": _Function(_all, 1, 1),
    "allTrue": _Function(_booleans(all)),
    "anyTrue": _Function(_booleans(any)),
    "allFalse": _Function(_booleans(lambda found: not any(found))),
    "anyFalse": _Function(_booleans(lambda found: not all(found))),
    "subsetOf": _Function(_subset, 1, 1),
    "supersetOf": _Function(_superset, 1, 1),
    "count": _Function(lambda scope, focus, given: [len(focus)]),
    "distinct": _Function(_distinct),
    "isDistinct": _Function(_is_distinct),
    "not": _Function(_not),
    "hasValue": _Function(_has_value),
    "getValue": _Function(_get_value),
    "where": _Function(_where, 1, 1),
    "select": _Function(_select, 1, 1),
    "repeat": _Function(_repeat, 1, 1),
    "aggregate": _Function(_aggregate, 1, 2),
    "iif": _Function(_iif, 2, 3),
    "children": _Function(_children),
    "descendants": _Function(_descendants),
    "single": _Function(_single),
    "first": _Function(lambda scope, focus, given: focus[:1]),
    "last": _Function(lambda scope, focus, given: focus[-1:]),
    "tail": _Function(lambda scope, focus, given: focus[1:]),
    "skip": _Function(_slice(lambda focus, count: focus[count:]), 1, 1),
    "take": _Function(_slice(lambda focus, count: focus[:count]), 1, 1),
    "intersect": _Function(_intersect, 1, 1),
    "exclude": _Function(_exclude, 1, 1),
    "union": _Function(_union, 1, 1),
    "combine": _Function(_combine, 1, 1),
    "extension": _Function(_extension, 1, 1),
    "trace": _Function(_trace, 1, 2),
    "now": _Function(_now("dateTime")),
    "today": _Function(_now("date")),
    "timeOfDay": _Function(_now("time")),
    "type": _Function(_type),
    "comparable": _Function(_comparable, 1, 1),
    "conformsTo": _Function(_conforms_to, 1, 1),
    "resolve": _Function(lambda scope, focus, given: references.resolve(scope.run, focus)),
    "htmlChecks": _Function(lambda scope, focus, given: references.html_checks(scope.run, focus)),
    "getResourceKey": _Function(lambda scope, focus, given: references.resource_key(focus)),
}

"""What do the signs between values mean?

http://hl7.org/fhirpath/N1/#operations: equality, order, types, collections, booleans of three values, arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from fhir_server.fhirpath import running, values
from fhir_server.fhirpath.nodes import Item, Items, Model, Node
from fhir_server.fhirpath.parse import Unusable
from fhir_server.fhirpath.running import Scope, Step
from fhir_server.fhirpath.values import EXACT, Moment, Quantity

Sign = Callable[[Items, Items, Scope], Items]


def binary(sign: str, left: Step, right: Step) -> Step:
    """`left sign right`."""
    if sign in _LAZY:
        return _lazy(sign, left, right)
    work = _SIGNS[sign]

    def go(scope: Scope, focus: Items) -> Items:
        one, other = left(scope, focus), right(scope, focus)
        scope.run.spend(len(one) + len(other) + 1)
        return work(one, other, scope)

    return go


def signed(sign: str, operand: Step) -> Step:
    """`-operand`, `+operand`."""

    def go(scope: Scope, focus: Items) -> Items:
        one = running.single(operand(scope, focus))
        value = scope.run.model.plain(one) if one is not None else None
        if value is None or sign == "+":
            return [] if value is None else [value]
        if isinstance(value, Quantity):
            return [Quantity(-value.value, value.unit)]
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return [-value]
        raise Unusable("le signe - ne va que devant un nombre")

    return go


def typed(sign: str, operand: Step | None, type: str) -> Step:
    """`is`, `as` and `ofType`; `operand` None: a function, on its focus.

    A primitive is `as` its own type only, though a `code` is a `string`. The invariants of R4 apply `as` to several
    items, as a filter; a client gets the error that the specification wants.
    """

    def go(scope: Scope, focus: Items) -> Items:
        model = scope.run.model
        if not model.is_known_type(type):
            raise Unusable(f"type inconnu : {type[:60]}")
        items = operand(scope, focus) if operand is not None else focus
        if sign == "is":
            one = running.single(items)
            return [] if one is None else [model.is_type(one, type)]
        if sign == "as" and not (operand is None and scope.run.is_trusted):
            running.single(items)
        return [one for one in items if model.is_type(one, type) and model.is_exact(one, type)]

    return go


def equal(left: Items, right: Items, model: Model) -> bool | None:
    """`=` of two collections: same items in the same order; None when one is empty or it cannot be said."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    unsure = False
    for one, other in zip(left, right, strict=True):
        found = same(one, other, model)
        if found is False:
            return False
        unsure = unsure or found is None
    return None if unsure else True


def same(one: Item, other: Item, model: Model) -> bool | None:
    """`=` of two items."""
    first, second = model.plain(one), model.plain(other)
    if isinstance(first, Node) or isinstance(second, Node):
        return bool(model.key(first) == model.key(second))
    # A dateTime of the resource against a text, or the reverse: the text is read as what the other is.
    if isinstance(first, Moment) and isinstance(second, str):
        second = values.moment(second, first.kind) or second
    elif isinstance(second, Moment) and isinstance(first, str):
        first = values.moment(first, second.kind) or first
    return values.equal(first, second)


def alike(left: Items, right: Items, model: Model) -> bool:
    """`~` of two collections: equivalent items in any order."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for one in left:
        place = next((index for index, other in enumerate(rest) if _equivalent(one, other, model)), None)
        if place is None:
            return False
        rest.pop(place)
    return True


def _equivalent(one: Item, other: Item, model: Model) -> bool:
    first, second = model.plain(one), model.plain(other)
    if not isinstance(first, Node) and not isinstance(second, Node):
        return values.equivalent(first, second)
    if not (isinstance(first, Node) and isinstance(second, Node)):
        return False
    mine, theirs = (_parts(node, model) for node in (first, second))
    if not mine or not theirs:
        return bool(model.key(first) == model.key(second))
    return mine.keys() == theirs.keys() and all(alike(each, theirs[key], model) for key, each in mine.items())


def _parts(node: Node, model: Model) -> dict[str, Items]:
    """The children by name, without the id of the element."""
    found: dict[str, Items] = {}
    for child in model.children(node):
        if child.key != "id":
            found.setdefault(child.key, []).append(child)
    return found


def _equals(left: Items, right: Items, scope: Scope) -> Items:
    return _boolean(equal(left, right, scope.run.model))


def _differs(left: Items, right: Items, scope: Scope) -> Items:
    found = equal(left, right, scope.run.model)
    return [] if found is None else [not found]


def _compared(test: Callable[[int], bool]) -> Sign:
    def go(left: Items, right: Items, scope: Scope) -> Items:
        one, other = running.single(left), running.single(right)
        if one is None or other is None:
            return []
        first, second = scope.run.model.plain(one), scope.run.model.plain(other)
        if isinstance(first, Moment) and isinstance(second, str):
            second = values.moment(second, first.kind) or second
        if isinstance(second, Moment) and isinstance(first, str):
            first = values.moment(first, second.kind) or first
        if any(isinstance(each, Node) and each.value is None for each in (first, second)):
            return []  # a primitive with extensions only
        try:
            order = values.less(first, second)
        except TypeError:
            raise Unusable("ces valeurs ne se comparent pas") from None
        return [] if order is None else [test(order)]

    return go


def _contains(one: Items, many: Items, scope: Scope) -> Items:
    item = running.single(one)
    if item is None:
        return []
    key = scope.run.model.key(item)
    return [any(scope.run.model.key(each) == key for each in many)]


def union(left: Items, right: Items, model: Model) -> Items:
    """Both without what comes twice."""
    return list({model.key(one): one for one in reversed([*left, *right])}.values())[::-1]


def _union(left: Items, right: Items, scope: Scope) -> Items:
    return union(left, right, scope.run.model)


def _joined(left: Items, right: Items, scope: Scope) -> Items:
    model = scope.run.model
    return [running.short((running.text(left, model) or "") + (running.text(right, model) or ""))]


def _calculated(work: Callable[[Item, Item], Item | None]) -> Sign:
    def go(left: Items, right: Items, scope: Scope) -> Items:
        one, other = running.single(left), running.single(right)
        if one is None or other is None:
            return []
        found = work(scope.run.model.plain(one), scope.run.model.plain(other))
        return [] if found is None else [found]

    return go


def _plus(one: Item, other: Item) -> Item | None:
    if isinstance(one, str) and isinstance(other, str):
        return running.short(one + other)
    if isinstance(one, Moment) and isinstance(other, Quantity):
        return _moved(one, other, 1)
    return _sum(one, other, 1)


def _minus(one: Item, other: Item) -> Item | None:
    if isinstance(one, Moment) and isinstance(other, Quantity):
        return _moved(one, other, -1)
    return _sum(one, other, -1)


def _moved(start: Moment, amount: Quantity, sign: int) -> Moment | None:
    try:
        return values.plus(start, amount, sign)
    except TypeError:
        raise Unusable(f"« {amount.unit[:20]} » ne s'ajoute pas à une date") from None


def _sum(one: Item, other: Item, sign: int) -> Item | None:
    if isinstance(one, Quantity) and isinstance(other, Quantity):
        if one.unit != other.unit:
            return None
        return Quantity(EXACT.add(one.value, sign * other.value), one.unit)
    left, right = _numbers(one, other)
    if isinstance(left, int) and isinstance(right, int):
        return values.bounded(left + sign * right)
    return values.bounded(EXACT.add(Decimal(left), sign * Decimal(right)))


def _times(one: Item, other: Item) -> Item | None:
    if isinstance(one, Quantity) or isinstance(other, Quantity):
        left, right = (each if isinstance(each, Quantity) else Quantity(_decimal(each), "1") for each in (one, other))
        if "1" not in (left.unit, right.unit):
            raise Unusable("produit de deux quantités : non pris en charge", code="not-supported")
        return Quantity(EXACT.multiply(left.value, right.value), right.unit if left.unit == "1" else left.unit)
    first, second = _numbers(one, other)
    if isinstance(first, int) and isinstance(second, int):
        return values.bounded(first * second)
    return values.bounded(EXACT.multiply(Decimal(first), Decimal(second)))


def _over(one: Item, other: Item) -> Item | None:
    if isinstance(one, Quantity):
        right = other if isinstance(other, Quantity) else Quantity(_decimal(other), "1")
        if not right.value:
            return None
        unit = "1" if right.unit == one.unit else one.unit if right.unit == "1" else f"{one.unit}/{right.unit}"
        return Quantity(EXACT.divide(one.value, right.value), unit)
    left, right_number = _numbers(one, other)
    return values.bounded(EXACT.divide(Decimal(left), Decimal(right_number))) if right_number else None


def _whole_over(one: Item, other: Item) -> Item | None:
    left, right = _numbers(one, other)
    if not right:
        return None
    found = values.bounded(EXACT.divide_int(Decimal(left), Decimal(right)))
    return None if found is None else values.bounded(int(found))


def _rest(one: Item, other: Item) -> Item | None:
    left, right = _numbers(one, other)
    if not right:
        return None
    found = values.bounded(EXACT.remainder(Decimal(left), Decimal(right)))
    return int(found) if found is not None and isinstance(left, int) and isinstance(right, int) else found


def _numbers(one: Item, other: Item) -> tuple[int | Decimal, int | Decimal]:
    found = [each for each in (one, other) if isinstance(each, (int, Decimal)) and not isinstance(each, bool)]
    if len(found) < 2:
        raise Unusable("ces valeurs ne se calculent pas ensemble")
    return found[0], found[1]


def _decimal(item: Item) -> Decimal:
    return Decimal(_numbers(item, 1)[0])


def _boolean(found: bool | None) -> Items:
    return [] if found is None else [found]


_SIGNS: dict[str, Sign] = {
    "=": _equals,
    "!=": _differs,
    "~": lambda left, right, scope: [alike(left, right, scope.run.model)],
    "!~": lambda left, right, scope: [not alike(left, right, scope.run.model)],
    "<": _compared(lambda order: order < 0),
    ">": _compared(lambda order: order > 0),
    "<=": _compared(lambda order: order <= 0),
    ">=": _compared(lambda order: order >= 0),
    "|": _union,
    "in": _contains,
    "contains": lambda left, right, scope: _contains(right, left, scope),
    "&": _joined,
    "+": _calculated(_plus),
    "-": _calculated(_minus),
    "*": _calculated(_times),
    "/": _calculated(_over),
    "div": _calculated(_whole_over),
    "mod": _calculated(_rest),
}


def _and(left: bool | None, right: bool | None) -> bool | None:
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def _or(left: bool | None, right: bool | None) -> bool | None:
    if left or right:
        return True
    return None if left is None or right is None else False


def _xor(left: bool | None, right: bool | None) -> bool | None:
    return None if left is None or right is None else left is not right


def _implies(left: bool | None, right: bool | None) -> bool | None:
    return _or(None if left is None else not left, right)


# Sign -> its table, and the left value that decides alone.
_LAZY: dict[str, tuple[Callable[[bool | None, bool | None], bool | None], bool | None]] = {
    "and": (_and, False),
    "or": (_or, True),
    "xor": (_xor, None),
    "implies": (_implies, False),
}


def _lazy(sign: str, left: Step, right: Step) -> Step:
    table, decisive = _LAZY[sign]

    def go(scope: Scope, focus: Items) -> Items:
        scope.run.spend(1)
        one = running.truth(left(scope, focus), scope.run.model)
        if one is not None and one is decisive:
            return _boolean(table(one, one))
        return _boolean(table(one, running.truth(right(scope, focus), scope.run.model)))

    return go

"""Which condition does a parameter stand for that looks at other resources, or is asked of several types at once?

R4 search.html#chaining and #has: `subject:Patient.family=x`, `patient.organization.name=x`,
`_has:Condition:patient:code=x`, one inside the other to a stated depth; search.html#lists: `_list`. Without `:Type` a
chain goes to every type that the reference may have, each step in one condition: the parameters of all types together,
never one branch for each combination. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from common import errors
from fhir_server import criteria, index
from fhir_server.conditions import (
    Addresses,
    Amount,
    And,
    Condition,
    Extent,
    Ids,
    Keys,
    Linked,
    LinkedFrom,
    Moment,
    Near,
    Or,
    Present,
    Text,
    Types,
)
from fhir_server.criteria import Setting, refusal
from fhir_server.r4.search_params import ANY, Param

MOST_STEPS = 8
MOST_BRANCHES = 24  # conditions of different kinds that one name stands for on different types
MOST_ADDRESSES = 4000  # ids times types


class Unknown(Exception):
    """A parameter that the types asked do not have, in French: ignored or refused, as the client prefers."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def is_chain(name: str) -> bool:
    """Does a parameter of this name look at other resources?"""
    return "." in name or name.startswith("_has:") or name == "_list"


def condition(
    types: Sequence[str], name: str, value: str, setting: Setting, *, at: str = "", step: int = 0
) -> Condition:
    """The condition of `name=value` on resources of `types`.

    Raises Unknown for a name that none of the types has, errors.Unreadable for a modifier or value of the wrong form,
    and for more steps than `MOST_STEPS`.
    """
    at = at or name
    if step > MOST_STEPS:
        raise refusal(f"{at[:60]} : au plus {MOST_STEPS} étapes dans un chaînage", at, "too-costly")
    if name.startswith("_has:"):
        return _has(types, name, value, setting, at=at, step=step)
    if name == "_list":
        return _list(types, value, setting, at)
    head, dot, rest = name.partition(".")
    if not dot:
        return leaf(types, name, value, setting, at=at)
    params, targets = followed(types, head, setting, at)
    return through(params, targets, condition(targets, rest, value, setting, at=at, step=step + 1))


def through(params: Sequence[Param], targets: Sequence[str], behind: Condition) -> Condition:
    """The resource refers by one of `params` to one of `targets` that meets `behind`."""
    having = [one for one in targets if _may_meet(one, behind)] or list(targets)
    return Linked(
        params=tuple(one.number for one in params),
        masks=tuple(index.reference_mask(one.type, one.code) for one in params),
        types=tuple(having),
        where=(behind,),
    )


def followed(types: Sequence[str], head: str, setting: Setting, at: str) -> tuple[list[Param], tuple[str, ...]]:
    """The reference parameters that `head` (`subject` or `subject:Patient`) names on `types`, and where they lead."""
    tables = setting.tables
    code, _, wanted = head.partition(":")
    found = [one for one in (tables.param(type, code) for type in types) if one and one.kind == "reference"]
    params = [one for one in found if not one.refusal]
    if not params:
        known = any(tables.param(type, code) for type in types)
        text = "n'est pas une référence" if known else f"paramètre de recherche inconnu pour {_named(types)}"
        raise Unknown(f"{at} : « {code[:64]} » {text}")
    params = [one for one in params if not is_canonical(one)]
    if not params:
        raise Unknown(f"{at} : « {code[:64]} » est une adresse canonique ; le chaînage ne suit que des références")
    if wanted and wanted not in tables.types:
        raise refusal(f"{at} : le type « {wanted[:64]} » n'existe pas", at)
    if wanted:
        params = [one for one in params if one.may_be(wanted)]
        if not params:
            raise refusal(f"{at} : {code} ne désigne jamais {wanted}", at)
        return params, (wanted,)
    every = any(one.targets == ANY for one in params)
    return params, tables.types if every else tuple(dict.fromkeys(to for one in params for to in one.targets))


def is_canonical(param: Param) -> bool:
    """Its values are addresses that resources state of themselves (`url`), not where they are."""
    return all(path.type in ("canonical", "uri") for path in param.paths)


def _may_meet(type: str, behind: Condition) -> bool:
    """Not of a type that a Types condition at the top of `behind` excludes."""
    if isinstance(behind, Types):
        return type in behind.types
    return not isinstance(behind, And) or all(_may_meet(type, one) for one in behind.of)


def _has(types: Sequence[str], name: str, value: str, setting: Setting, *, at: str, step: int) -> Condition:
    _, *parts = name.split(":", 3)
    if len(parts) != 3 or not all(parts):
        raise refusal(f"{at} : attendu _has:Type:référence:paramètre", at)
    source, code, rest = parts
    if source not in setting.tables.types:
        raise refusal(f"{at} : le type « {source[:64]} » n'existe pas", at)
    param = setting.tables.param(source, code)
    if param is None or param.kind != "reference" or param.refusal:
        raise Unknown(f"{at} : {source} n'a pas de paramètre référence « {code[:64]} »")
    if is_canonical(param):
        raise Unknown(f"{at} : {source}:{code} est une adresse canonique ; _has ne suit que des références")
    if not any(param.may_be(one) for one in types):
        raise refusal(f"{at} : {source}:{code} ne désigne jamais {_named(types)}", at)
    behind = condition((source,), rest, value, setting, at=at, step=step + 1)
    return LinkedFrom(source, param.number, index.reference_mask(source, code), (behind,))


def _list(types: Sequence[str], value: str, setting: Setting, at: str) -> Condition:
    """`_list=42`: what the entries of List/42 refer to. The functional lists ($current-…) would need rules of care."""
    if "$" in value:
        raise refusal("_list : les listes fonctionnelles ($current-…) ne sont pas tenues ici", at, "not-supported")
    return _has(types, "_has:List:item:_id", value, setting, at=at, step=0)


# ---- one parameter on one or several types -------------------------------------------------------------------------


def leaf(types: Sequence[str], name: str, value: str, setting: Setting, *, at: str) -> Condition:
    """A plain parameter of several types, or of a linked one, as one condition.

    Types that do not have it are left out. Where its values are of another kind on some type, a value that has the
    wrong form there matches nothing there; it is refused when it is wrong everywhere.
    """
    code, _, modifier = name.partition(":")
    params = [one for one in (setting.tables.param(type, code) for type in types) if one]
    if not params:
        raise Unknown(f"{at} : paramètre de recherche inconnu pour {_named(types)} : « {code[:64]} »")
    refused = [one for one in params if one.refusal]
    if refused:
        raise Unknown(f"{at} : {refused[0].refusal}")
    found: list[tuple[str, Condition]] = []
    problem: errors.Unreadable | None = None
    for param in params[:1] if code in ("_id", "_lastUpdated") else params:
        try:
            found.append((param.type, criteria.condition(param, modifier, value, setting)))
        except errors.Unreadable as wrong:
            problem = problem or wrong
    if not found and problem is not None:
        raise refusal(problem.message, at, problem.issues[0].code if problem.issues else "value")
    if code == "_id":
        return _addresses(types, found[0][1], at)
    if code == "_lastUpdated":
        return found[0][1]
    return _together(found, every=len(found) == len(types), at=at)


def _addresses(types: Sequence[str], ids: Condition, at: str) -> Condition:
    assert isinstance(ids, Ids)
    if len(types) * len(ids.ids) > MOST_ADDRESSES:
        raise refusal(f"{at} : trop d'identifiants pour autant de types ; nommez le type", at, "too-costly")
    return Addresses(tuple(index.address(f"{type}/{id}") for type in types for id in ids.ids))


def _together(found: Sequence[tuple[str, Condition]], *, every: bool, at: str) -> Condition:
    """One condition for all types where their conditions differ by their keys or parameter alone, else one for each
    kind; each kind is told on which types it holds, because "has none of these keys" is true of any other type."""
    kinds: dict[object, tuple[list[str], list[Condition]]] = {}
    for type, one in found:
        types, some = kinds.setdefault(_kind(one), ([], []))
        types.append(type)
        some.append(one)
    if len(kinds) > MOST_BRANCHES:
        raise refusal(f"{at} : trop de sortes de valeurs ; nommez le type visé", at, "too-costly")
    if len(kinds) == 1 and (every or not _is_negative(found[0][1])):
        return _merged([one for _, one in found])
    return Or(tuple(And((Types(tuple(types)), _merged(some))) for types, some in kinds.values()))


def _is_negative(one: Condition) -> bool:
    if isinstance(one, Keys):
        return one.negated
    return not isinstance(one, (Text, Moment, Amount, Extent, Near, Addresses))


def _kind(one: Condition) -> object:
    """Conditions of one kind can be asked together: they differ by keys or parameter alone."""
    if isinstance(one, Keys):
        return replace(one, any_of=())
    if isinstance(one, Text | Moment | Present):
        return replace(one, param=0)
    return one


def _merged(some: Sequence[Condition]) -> Condition:
    first = some[0]
    if isinstance(first, Keys):
        keys = dict.fromkeys(key for one in some if isinstance(one, Keys) for key in one.any_of)
        return replace(first, any_of=tuple(keys))
    if isinstance(first, Text | Moment | Present):
        params = [one.param for one in some if isinstance(one, Text | Moment | Present)]
        return replace(first, also=tuple(params[1:]))
    return first


def _named(types: Iterable[str]) -> str:
    some = list(types)
    return ", ".join(some[:3]) + ("…" if len(some) > 3 else "")

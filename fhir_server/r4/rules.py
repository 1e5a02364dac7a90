"""How is an invariant written in one line?

A rule is a key of the specification, a test on one structure, and the French text of what to do. Most invariants of R4
say which elements need, exclude or wait for each other: the functions here make those rules and their texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Value = dict[str, Any]
Test = Callable[[Value], bool]


class Rule(NamedTuple):
    """`holds` is False when a structure breaks the rule; its children are already known to be well-formed."""

    key: str
    holds: Test
    text: str


def has(value: Value, name: str) -> bool:
    """Whether the element exists, with a value or with extensions only; `name` may end with [x]."""
    if name.endswith("[x]"):
        stem = name[:-3]
        return any(key.startswith((stem, "_" + stem)) and key.lstrip("_")[len(stem) :][:1].isupper() for key in value)
    return name in value or "_" + name in value


def some(key: str, *names: str) -> Rule:
    """At least one of the elements."""
    return Rule(key, lambda v: any(has(v, name) for name in names), f"renseignez {_names(names)}")


def one(key: str, *names: str) -> Rule:
    """Exactly one of the elements."""
    text = f"renseignez {_names(names)}, et un seul d'entre eux"
    return Rule(key, lambda v: sum(has(v, name) for name in names) == 1, text)


def apart(key: str, first: str, second: str) -> Rule:
    """Not both."""
    text = f"« {first} » et « {second} » s'excluent : gardez l'un des deux"
    return Rule(key, lambda v: not (has(v, first) and has(v, second)), text)


def along(key: str, name: str, needed: str) -> Rule:
    """The first only along with the second."""
    return Rule(key, lambda v: not has(v, name) or has(v, needed), f"« {name} » demande aussi « {needed} »")


def only(key: str, name: str, field: str, *codes: str) -> Rule:
    """`name` only when the code `field` is one of `codes`."""
    text = f"« {name} » n'est permis que si « {field} » vaut {' ou '.join(codes)}"
    return Rule(key, lambda v: not has(v, name) or v.get(field) in codes, text)


def never(key: str, name: str, field: str, *codes: str) -> Rule:
    """Not `name` when the code `field` is one of `codes`."""
    text = f"« {name} » n'est pas permis quand « {field} » vaut {' ou '.join(codes)}"
    return Rule(key, lambda v: v.get(field) not in codes or not has(v, name), text)


def demand(key: str, name: str, field: str, *codes: str) -> Rule:
    """`name` must be there when the code `field` is one of `codes`."""
    text = f"« {name} » est obligatoire quand « {field} » vaut {' ou '.join(codes)}"
    return Rule(key, lambda v: v.get(field) not in codes or has(v, name), text)


def coded(concept: Any, system: str, *codes: str) -> bool:
    """Whether a CodeableConcept has one of the codes in that system."""
    return any(each.get("system") == system and each.get("code") in codes for each in (concept or {}).get("coding", ()))


def distinct(values: Iterable[Any]) -> bool:
    """Whether no value comes twice."""
    found = list(values)
    return len(set(found)) == len(found)


def _names(names: tuple[str, ...]) -> str:
    return " ou ".join(f"« {name} »" for name in names)

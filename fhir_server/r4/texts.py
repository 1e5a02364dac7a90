"""What do we tell the person whose resource is refused?

Each sentence says what is wrong and what to do; none repeats a value, because it may be a patient's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

_JSON = {
    str: "une chaîne",
    bool: "un booléen",
    int: "un nombre",
    Decimal: "un nombre",
    float: "un nombre arrondi",
    dict: "un objet",
    list: "une liste",
    type(None): "null",
}
_SHOWN = 12  # codes named in a text


def json_name(kind: type) -> str:
    """How a JSON type is called, with its article."""
    return _JSON.get(kind, "une valeur d'un autre type")


def expected(name: str, wanted: str, value: Any) -> str:
    """Another JSON type than the one that is needed."""
    return f"« {name} » : il faut {wanted}, pas {json_name(type(value))}"


def wrong(name: str, wanted: str) -> str:
    """The right JSON type, but not a legal value."""
    return f"« {name} » : il faut {wanted} ; corrigez la valeur"


def unknown(name: str, structure: str, known: Iterable[str]) -> str:
    """A property that the structure does not have."""
    shown = name if len(name) <= 64 else name[:64] + "…"
    text = f"« {shown} » n'existe pas dans {structure} : retirez-le"
    near = get_close_matches(shown.removeprefix("_"), list(known), n=1, cutoff=0.75)
    return f"{text} ou écrivez « {near[0]} »" if near else text


def missing(name: str, names: Collection[str]) -> str:
    """A required element that is not there."""
    if len(names) > 1:
        return f"« {name}[x] » est obligatoire : ajoutez l'un de {listed(names)}"
    return f"« {name} » est obligatoire : ajoutez-le"


def codes(name: str, allowed: Collection[str]) -> str:
    """A code outside its value set."""
    return f"« {name} » : code non permis ; choisissez parmi {listed(allowed)}"


def targets(name: str, allowed: Collection[str]) -> str:
    """A reference to a type that may not be the target."""
    return f"« {name} » ne peut désigner que {listed(allowed)}"


def listed(names: Collection[str]) -> str:
    """Up to a dozen names in alphabetical order."""
    shown = sorted(names)[:_SHOWN]
    return ", ".join(shown) + (", …" if len(names) > _SHOWN else "")

"""Which parameters does a composite combine, and within which element?

https://hl7.org/fhir/R4/search.html#composite. The expression of a composite names the element, its components name the
parameters. Where there is only one such element (the resource itself), all parts hold of one element when each holds of
the resource; where it repeats, its values must be kept together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from fhir_server.r4 import search_paths
from fhir_server.r4.search_paths import Path, Step

if TYPE_CHECKING:
    from fhir_server.r4.search_params import Param

ELEMENT = "Element"  # the type of a composite's path: whatever its parts are read from


# Published with the names of its two parts exchanged; their expressions (code, then target) say what is meant.
_SWAPPED = ("DocumentReference-relationship",)


def param(simple: Param, definition: dict[str, Any], by_url: Mapping[str, Param], world: search_paths.World) -> Param:
    """The composite with its parts; `paths` are the repeating elements, none when there is only one.

    Raises search_paths.Unsupported when a part is no parameter of the type.
    """
    parts = tuple(_part(one["definition"], by_url) for one in definition["component"])
    if definition["id"] in _SWAPPED:
        parts = parts[::-1]
    if simple.union:
        return msgspec.structs.replace(simple, parts=parts)
    places = search_paths.paths(definition["expression"], simple.type, world)
    repeating = [Path(one.steps, ELEMENT) for one in places if _repeats(simple.type, one.steps, world)]
    return msgspec.structs.replace(simple, parts=parts, paths=tuple(repeating))


def inside(part: Param, element: Path) -> tuple[list[Path], bool]:
    """The paths of a part from within the element, and True; its paths from the resource, and False, when it is
    elsewhere (`%resource.…`)."""
    size = len(element.steps)
    within = [one for one in part.paths if one.steps[:size] == element.steps]
    if not within:
        return list(part.paths), False
    return [Path(one.steps[size:], one.type, one.system) for one in within], True


def _part(url: str, by_url: Mapping[str, Param]) -> str:
    if url not in by_url:
        raise search_paths.Unsupported(f"a composite of {url}, which the type does not have")
    return by_url[url].code


def _repeats(type: str, steps: tuple[Step, ...], world: search_paths.World) -> bool:
    """R4 has composites of the resource and of its own elements, no deeper ones."""
    if not steps:
        return False
    ((_, name),) = steps
    return next(one.many for one in world.structures[type].elements if one.name == name)

"""What does one line of a bulk import become?

Either the resource as it will be stored, checked and indexed, or what is wrong with it. Nothing is asked of the record,
so that it can be done in another process (`aside.py`): both answers pass through a pipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from common import errors
from fhir_server import conditional, media
from fhir_server.changes import Made, Resource

_MOST_BYTES = 32 * 1024 * 1024
_KINDS: dict[str, type[errors.HubError]] = {
    one.code: one for one in (errors.Unreadable, errors.TooLarge, errors.Invalid)
}


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=True, tag_field="kind"):
    """A resource that breaks no rule of FHIR."""

    type: str
    id: str
    made: Made

    @property
    def ref(self) -> tuple[str, str]:
        """Its type and id."""
        return self.type, self.id


class Wrong(msgspec.Struct, frozen=True, array_like=True, tag=True, tag_field="kind"):
    """Why a line is refused; `code` is that of one of our errors."""

    code: str
    message: str
    issues: tuple[errors.Issue, ...]

    @property
    def problem(self) -> errors.HubError:
        """The same, as everybody else tells it."""
        return _KINDS[self.code](self.message, issues=self.issues)


Line = Ready | Wrong


class Reader:
    """Reads lines. `types` are those that there are, `make` is `store.make`: it raises Invalid."""

    def __init__(self, types: Iterable[str], make: Callable[[str, str, Resource], Made]) -> None:
        self._types = frozenset(types)
        self._make = make

    def read(self, lines: Sequence[bytes], type: str | None) -> list[Line]:
        """One answer for each line. `type`: no other is expected; None: any."""
        return [self._read(one, type) for one in lines]

    def _read(self, raw: bytes, expected: str | None) -> Line:
        try:
            type, id, resource = self._parts(raw, expected)
            return Ready(type, id, self._make(type, id, resource))
        except (errors.Unreadable, errors.TooLarge, errors.Invalid) as problem:
            return Wrong(problem.code, problem.message, problem.issues)

    def _parts(self, raw: bytes, expected: str | None) -> tuple[str, str, Resource]:
        if len(raw) > _MOST_BYTES:
            raise errors.TooLarge(f"ligne de plus de {_MOST_BYTES} octets")
        resource = media.read_json(raw)
        type = resource.get("resourceType")
        if not isinstance(type, str) or type not in self._types:
            raise errors.Unreadable("type de ressource inconnu", at="resourceType")
        if expected not in (None, type):
            raise errors.Unreadable(f"{type} dans un fichier de {expected}", at="resourceType")
        id = resource.get("id")
        if not isinstance(id, str) or not conditional.ID.fullmatch(id):
            raise errors.Unreadable("id obligatoire, 1 à 64 caractères parmi A-Z a-z 0-9 - .", at=f"{type}.id")
        return type, id, resource

"""May this caller see or do that?

The one guarded door. A caller is a set of memberships, each a 64-bit key; a stored resource carries the keys of its
readers, and says of which patient it is and how it is shared (`rights/`). The store joins these with the rows of
`standing` in its queries, so that reads, searches, history, includes and counts obey the same predicate; nobody filters
a finished page.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, NamedTuple, Protocol

from common import errors
from fhir_server import keys, scopes
from fhir_server.rights import sharing, standing
from fhir_server.scopes import Limit

# Directory, terminology and metadata: readable by everyone who is signed in, patients' data is not among them.
OPEN_TYPES = frozenset(
    "Practitioner PractitionerRole Organization HealthcareService Location Endpoint CodeSystem ValueSet ConceptMap "
    "NamingSystem StructureDefinition SearchParameter OperationDefinition CapabilityStatement ImplementationGuide "
    "CompartmentDefinition Questionnaire PlanDefinition ActivityDefinition Library Measure".split()
)

# Clients that are ways into our own app, and no software of others.
OWN_APP = frozenset({"web", "psc", "password", "passkey"})


@lru_cache(maxsize=65536)
def key(reader: str) -> int:
    """The membership key of a reader: a reference such as `PractitionerRole/x`, or `everyone`."""
    return int.from_bytes(blake2b(reader.encode(), digest_size=8).digest(), "big", signed=True)


EVERYONE = key("everyone")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `memberships` None sees everything (the hub's own flows, `hub token --system`).

    `actor` is the person or structure acting (`PractitionerRole/x`), None for software on its own; `client` the
    software; `scopes` SMART v2 scopes, empty means all that the memberships allow. `circles` are the keys by which
    circles of care and consents know them, their structure among these; `structure` is the key of that structure.
    `kinds` and `writes` are bits of the kinds of data that their profession may read and write (`rights.sharing`),
    `corps` which masks hide from them. `delegate` is the hat of who acts in the name of `actor`, "" for themselves.
    `patient` is `Patient/x` when a software may look at that patient alone (scopes `patient/…`): whatever else they may
    see does not exist for it. `limits` say what scopes with a query leave of a type (`limits.py`).
    """

    actor: str | None
    client: str | None = None
    memberships: tuple[int, ...] | None = (EVERYONE,)
    scopes: tuple[str, ...] = ()
    name: str = ""
    circles: tuple[int, ...] = ()
    structure: int = 0
    kinds: int = sharing.ALL_KINDS
    writes: int = sharing.ALL_KINDS
    corps: int = 0
    delegate: str = ""
    patient: str = ""
    limits: tuple[Limit, ...] = ()


SYSTEM = Caller(actor=None, client="hub", memberships=None, name="Spico Hub")


class Sight(NamedTuple):
    """What a caller sees at a moment (`now`, microseconds), as the engines ask for it; see `Caller`.

    `named` are the keys of readers that are theirs, `author` the one of what they wrote. `patient` is the address of
    the one patient whose data is not hidden, None when it does not matter whose it is; `limits` as in `Caller`.
    """

    named: tuple[int, ...]
    author: int
    circles: tuple[int, ...]
    structure: int
    kinds: int
    corps: int
    now: int
    patient: int | None = None
    limits: tuple[Limit, ...] = ()

    @property
    def keys(self) -> tuple[int, ...]:
        """All keys of readers that are theirs."""
        return (*self.named, self.author)


NOBODY = Sight((), 0, (), 0, 0, 0, 0)


def sight(caller: Caller, now: int) -> Sight | None:
    """What the caller sees at `now`, in microseconds; None: everything."""
    if caller.memberships is None:
        return None
    return Sight(
        caller.memberships,
        _authored(caller.actor or ""),
        caller.circles,
        caller.structure,
        caller.kinds,
        caller.corps,
        now,
        keys.key(caller.patient) if caller.patient else None,
        caller.limits,
    )


def person(
    actor: str,
    *also: str,
    client: str | None = None,
    scopes: tuple[str, ...] = (),
    name: str = "",
    structure: str = "",
) -> Caller:
    """A signed-in person: `actor` is the hat worn (PractitionerRole), `also` what else identifies them.

    `structure` is where they work under that hat (`Organization/x`). All kinds of data are open to them; who knows
    their profession narrows that.
    """
    keys = tuple(key(one) for one in (actor, *also))
    circles = (*keys, key(structure)) if structure else keys
    of_structure = _of_structure(structure) if structure else 0
    return Caller(actor, client, (*keys, EVERYONE), scopes, name, circles, of_structure)


class Shown(Protocol):
    """What is known of a row or of an event: who may see it."""

    @property
    def type(self) -> str: ...
    @property
    def readers(self) -> frozenset[int]: ...
    @property
    def patient(self) -> int: ...
    @property
    def sharing(self) -> int: ...


def way(seen: Sight | None, row: Shown) -> int:
    """By which table of `rights.standing` a row with these readers and this sharing is seen; 0: not at all.

    The same as the engines say in SQL.
    """
    if seen is None:
        return standing.EVERYTHING
    readers, code = row.readers, row.sharing
    if seen.patient not in (None, row.patient) and row.type not in OPEN_TYPES:
        return 0
    if seen.author in readers:
        return standing.AUTHORED
    if not readers.isdisjoint(seen.named) or (
        code & sharing.KIND == sharing.OF_STRUCTURE and seen.structure in readers
    ):
        return standing.NAMED
    return standing.SHARED if sharing.reaches(code, seen.kinds, seen.corps) else 0


Reach = Literal["open", "named", "shared"]


@lru_cache(maxsize=4096)
def reach(types: tuple[str, ...]) -> Reach:
    """How rows of these types reach people: all by their readers alone, or by name, or also through a circle."""
    if all(one in OPEN_TYPES for one in types):
        return "open"
    return "shared" if any(one in sharing.types() for one in types) else "named"


@lru_cache(maxsize=65536)
def _authored(actor: str) -> int:
    return key(f"author:{actor}")


@lru_cache(maxsize=65536)
def _of_structure(structure: str) -> int:
    return key(f"structure:{structure}")


def may(caller: Caller, action: str, type: str) -> None:
    """Refuse what the caller may not even ask: `action` is one letter of `cruds`.

    Raises Forbidden when no scope covers it, or when software without an acting person asks for patient data
    (LGC-14).
    """
    if caller.memberships is None and not caller.scopes:
        return
    if caller.actor is None and caller.memberships is not None and type not in OPEN_TYPES:
        raise errors.Forbidden(
            f"{type} : un logiciel seul ne lit ni n'écrit de données de patient ; agissez au nom d'une personne"
        )
    has_patient = bool(caller.patient)
    if caller.scopes and not any(scopes.covers(one, action, type, has_patient=has_patient) for one in caller.scopes):
        raise errors.Forbidden(f"{type} : aucun droit accordé (scope) ne couvre cette action")


def can(caller: Caller, action: str, type: str) -> bool:
    """The same as a statement, for what is left out instead of refused."""
    try:
        may(caller, action, type)
    except errors.Forbidden:
        return False
    return True


def readers_of(type: str, caller: Caller, readers: frozenset[str]) -> frozenset[int]:
    """The membership keys stored with a new version: its named readers, its author, everyone for open types.

    The author's structure too, where a label may give it to them.
    """
    keys = {key(one) for one in readers}
    if caller.actor:
        keys.add(_authored(caller.actor))
        if caller.structure and type in sharing.types():
            keys.add(caller.structure)
    if type in OPEN_TYPES:
        keys.add(EVERYONE)
    return frozenset(keys)

"""What do the changes of one commit come to, resource by resource?

Changes on one resource are folded into one draft, so that a commit makes at most one version of each: the last body
wins, readers are united, the version that the caller named stays binding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from common import errors
from fhir_server.changes import (
    Change,
    Claim,
    Create,
    Delete,
    Enqueue,
    Finish,
    Made,
    Resource,
    Settle,
    Share,
    Subscribe,
    Update,
)

Ref = tuple[str, str]


@dataclass(slots=True)
class Draft:
    """What is to become of one resource. `version` is the one to replace; `exact`: the caller named it."""

    type: str
    id: str
    kind: Literal["create", "update", "delete", "share"]
    body: Resource | None = None
    version: int | None = None
    exact: bool = False
    own: bool = False
    readers: frozenset[str] = frozenset()
    made: Made | None = None
    under: tuple[str, int] | None = None

    @property
    def ref(self) -> str:
        """`Type/id`."""
        return f"{self.type}/{self.id}"


@dataclass(slots=True)
class Plan:
    """The folded changes of a commit."""

    drafts: dict[Ref, Draft] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    work: list[Enqueue] = field(default_factory=list)
    finished: list[Finish] = field(default_factory=list)
    settled: list[Settle] = field(default_factory=list)
    subscribers: list[Subscribe] = field(default_factory=list)


def fold(changes: Iterable[Change], own: Sequence[Change]) -> Plan:
    """One draft for each resource. `own` are the caller's changes before any rule.

    Raises Conflict when one id is created twice.
    """
    plan = Plan()
    versions = {(one.type, one.id): one.version for one in own if isinstance(one, (Update, Delete))}
    mine = {(one.type, one.id) for one in own if isinstance(one, (Create, Update, Delete, Share))}
    for change in changes:
        if isinstance(change, (Create, Update, Delete, Share)):
            ref = (change.type, change.id)
            draft = _merge(plan.drafts.get(ref), change)
            draft.own = ref in mine
            draft.exact = versions.get(ref) is not None
            draft.version = versions[ref] if draft.exact else draft.version
            plan.drafts[ref] = draft
        elif isinstance(change, Claim):
            known = plan.claims.setdefault(change.key, change)
            if (known.type, known.id) != (change.type, change.id):
                raise errors.Conflict("la même clé est demandée pour deux ressources")
        elif isinstance(change, Enqueue):
            plan.work.append(change)
        elif isinstance(change, Finish):
            plan.finished.append(change)
        elif isinstance(change, Subscribe):
            plan.subscribers.append(change)
        else:
            plan.settled.append(change)
    return plan


def _merge(draft: Draft | None, change: Create | Update | Delete | Share) -> Draft:
    if isinstance(change, Create):
        new = Draft(change.type, change.id, "create", change.body, readers=change.readers, made=change.made)
    elif isinstance(change, Update):
        new = Draft(change.type, change.id, "update", change.body, change.version, readers=change.readers)
    elif isinstance(change, Delete):
        new = Draft(change.type, change.id, "delete", version=change.version)
    else:
        new = Draft(change.type, change.id, "share", readers=change.readers, under=change.under)
    if draft is None:
        return new
    if draft.kind == new.kind == "create":
        raise errors.Conflict(f"{new.ref} est créé deux fois")
    if new.kind == "share":
        return replace(draft, readers=draft.readers | new.readers, under=new.under or draft.under)
    kind = new.kind
    if draft.kind == "create" and kind == "update":
        kind = "create"  # nothing is there to update yet
    elif draft.kind == "delete" and kind == "create":
        kind = "update"
    version = draft.version if draft.version is not None else new.version
    return replace(new, kind=kind, version=version, readers=draft.readers | new.readers, under=draft.under)

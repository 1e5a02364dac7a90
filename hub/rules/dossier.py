"""Who may write into a patient's dossier, and with whom may they share it? (DOS-01, MODEL-07, ACC-12)

What a circle of care shares is written by its members, while a consent is in force, as far as their profession may
write that kind of data. A label is its author's to change. What somebody keeps to themselves needs no more than to know
the patient.
"""

from __future__ import annotations

from common import errors
from fhir_server import access, changes, store
from fhir_server.rights import sharing, standing
from hub.rules import draft

Written = changes.Create | changes.Update
# These have rules of their own.
ELSEWHERE = frozenset({"CareTeam", "Consent", "Patient"})
NO_CONSENT = "pas de dossier sans consentement : enregistrez d'abord celui du patient (Consent, catégorie dossier)"
CLOSED = "le patient a retiré son consentement : le dossier est fermé ; un nouveau consentement le rouvre"


def rule() -> store.Rule:
    """The rule; the hub's own flows are free of it."""

    async def run(wanted: list[changes.Change], caller: access.Caller, view: store.View) -> list[changes.Change]:
        room = draft.Draft(wanted, caller, view)
        for change in wanted:
            if isinstance(change, changes.Delete):
                await _deleted(change, room)
            elif isinstance(change, Written) and change.type in sharing.types():
                sharing.check(change.body)
                await _written(change, room)
        return wanted

    return store.Rule(None, run, of_people=True)


async def may_share(patient: str, kind: str, room: draft.Draft, *, at: str) -> None:
    """May the caller write this kind of data into the dossier of `Patient/x`?

    Raises Invalid when they do not know the patient or there is no consent, Forbidden when they are not of the circle
    or of another profession.
    """
    bits = await room.bits(patient, room.caller.circles)
    if not standing.sees_shared(bits):
        if bits & standing.EXCLUDED or not (bits & standing.CIRCLE or await room.sees(patient)):
            raise errors.Invalid(f"{patient} : inconnu, ou vous n'y avez pas accès", at=at)
        if not bits & standing.CIRCLE:
            text = "réservé au cercle de soins du patient ; demandez à le rejoindre, ou gardez-le privé (meta.security)"
            raise errors.Forbidden(text, at=at)
        raise errors.Invalid(CLOSED if standing.is_closed(bits) else NO_CONSENT, at=at)
    if not room.caller.writes >> sharing.KINDS.index(kind) & 1:
        raise errors.Forbidden(f"votre profession n'écrit pas ce type de données ({kind})", at=at)


async def _written(change: Written, room: draft.Draft) -> None:
    patient = room.view.patient(change.body)
    before = None
    if isinstance(change, changes.Update):
        before = next((body for _, body in (await room.stored([f"{change.type}/{change.id}"])).values()), None)
        if before is not None:
            await _relabelled(change, before, room)
    if change.type in ELSEWHERE or patient is None:
        return
    at = f"{change.type}.{_place(change.body)}"
    code = sharing.code(change.body)
    if code and code & sharing.KIND != sharing.OF_STRUCTURE:
        await may_share(f"Patient/{patient}", sharing.kind(change.body), room, at=at)
    elif before is None:
        await _known(f"Patient/{patient}", room, at=at)


async def _known(patient: str, room: draft.Draft, *, at: str) -> None:
    """One keeps notes on patients whom one may know."""
    bits = await room.bits(patient, room.caller.circles)
    if not (await room.sees(patient) or (bits & standing.CIRCLE and not bits & standing.EXCLUDED)):
        raise errors.Invalid(f"{patient} : inconnu, ou vous n'y avez pas accès", at=at)


async def _relabelled(change: changes.Update, before: draft.Resource, room: draft.Draft) -> None:
    if room.view.patient(before) != room.view.patient(change.body):
        raise errors.Forbidden("une donnée ne change pas de patient", at=f"{change.type}.{_place(change.body)}")
    if sharing.code(before) != sharing.code(change.body) and not await room.wrote(f"{change.type}/{change.id}"):
        at = f"{change.type}.meta.security"
        raise errors.Forbidden("seul son auteur change avec qui une donnée est partagée", at=at)


async def _deleted(change: changes.Delete, room: draft.Draft) -> None:
    """What others rely on is withdrawn by whoever wrote it."""
    ref = f"{change.type}/{change.id}"
    for _, body in (await room.stored([ref])).values():
        if sharing.code(body) and not await room.wrote(ref):
            raise errors.Forbidden("seul son auteur retire une donnée partagée", at=change.type)


def _place(body: draft.Resource) -> str:
    """The element that names the patient."""
    for name in ("subject", "patient", "for", "beneficiary"):
        if name in body:
            return f"{name}.reference"
    return "subject"

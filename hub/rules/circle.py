"""Is this a circle of care as the national guide wants it, and the only one of its patient? (DOS-01, DOS-03)

A circle opens a dossier: it is refused without the patient's consent. Its members are dated; they leave by an end, and
come back by a second entry, so that who was in it when stays known.
"""

from __future__ import annotations

from common import errors
from fhir_server import access, changes, query, store
from fhir_server.rights import facts, sharing, standing
from hub import conversations
from hub.rights import known
from hub.rules import dossier, draft

Resource = draft.Resource
Written = changes.Create | changes.Update
MEMBERS = ("PractitionerRole", "RelatedPerson", "Organization")
_COORDINATION = sharing.KINDS.index("coordination")


def rule() -> store.Rule:
    """The rule for circles that people write; the hub keeps the members of conversations itself."""

    async def run(wanted: list[changes.Change], caller: access.Caller, view: store.View) -> list[changes.Change]:
        room = draft.Draft(wanted, caller, view)
        claims: list[changes.Change] = []
        for change in wanted:
            if isinstance(change, changes.Delete) and change.type == "CareTeam":
                raise errors.Forbidden("un cercle de soins se clôt (status), il ne s'efface pas", at="CareTeam")
            if isinstance(change, Written) and change.type == "CareTeam":
                claims.append(await _kept(change, room))
        return [*wanted, *claims]

    return store.Rule(frozenset({"CareTeam"}), run, of_people=True)


def claim(patient: str, id: str) -> changes.Claim:
    """One circle of care per patient (`Patient/x`)."""
    return changes.Claim(f"circle|{patient}", "CareTeam", id)


async def of_patient(patient: str, room: draft.Draft) -> str | None:
    """The circle of care that `Patient/x` has already, `CareTeam/y`; also one that was written without the claim."""
    if held := await room.view.owner(claim(patient, "").key):
        return held
    view = room.view
    asked = query.parse("CareTeam", [("patient", patient), ("_count", "50")], view.definitions.search, now=view.now())
    rows = (await view.search(asked.query)).rows
    return next((row.ref for row in rows if facts.is_circle(draft.decode(row.body))), None)


async def _kept(change: Written, room: draft.Draft) -> changes.Claim:
    team = change.body
    if sharing.is_conversation(team):
        raise errors.Forbidden("les membres d'une conversation sont tenus par le hub", at="CareTeam.category")
    _check(team)
    patient = team["subject"]["reference"]
    if not room.caller.writes >> _COORDINATION & 1:
        raise errors.Forbidden("votre profession n'écrit pas ce type de données (coordination)", at="CareTeam")
    before = None
    if isinstance(change, changes.Update):
        before = next((body for _, body in (await room.stored([f"CareTeam/{change.id}"])).values()), None)
    if before is None:
        await _opened(patient, change.id, room)
    elif sharing.is_conversation(before):
        raise errors.Forbidden("les membres d'une conversation sont tenus par le hub", at="CareTeam.category")
    else:
        _continued(before, team)
    await _check_members(team, before or {}, patient, room)
    return claim(patient, change.id)


async def _opened(patient: str, id: str, room: draft.Draft) -> None:
    """With the patient's consent, where there is no other."""
    bits = await room.bits(patient, room.caller.circles)
    if bits & standing.EXCLUDED or not await room.sees(patient):
        raise errors.Invalid(f"{patient} : inconnu, ou vous n'y avez pas accès", at="CareTeam.subject.reference")
    if standing.is_closed(bits):
        raise errors.Invalid(dossier.CLOSED, at="CareTeam.subject")
    if not bits & standing.OPEN:
        raise errors.Invalid(dossier.NO_CONSENT, at="CareTeam.subject")
    other = await of_patient(patient, room)
    if other and other != f"CareTeam/{id}":
        known_here = f" : {other}" if await room.sees(other) else " ; demandez à le rejoindre"
        raise errors.Conflict(f"ce patient a déjà un cercle de soins{known_here}", at="CareTeam.subject")


def _check(team: Resource) -> None:
    """`cds-ihe-careteam`, as far as R4 does not say it already."""
    problems = []
    if len(team.get("identifier", ())) != 1 or not team["identifier"][0].get("value"):
        problems.append(("un identifiant, et un seul, avec sa valeur", "CareTeam.identifier"))
    for name in ("name", "status"):
        if not team.get(name):
            problems.append((f"{name} : obligatoire", f"CareTeam.{name}"))
    if not str(team.get("subject", {}).get("reference", "")).startswith("Patient/"):
        problems.append(("le cercle de soins est celui d'un Patient", "CareTeam.subject"))
    if not team.get("period", {}).get("start"):
        problems.append(("date de début du cercle : obligatoire", "CareTeam.period.start"))
    for place, one in enumerate(team.get("participant", ())):
        problems += _problems_of(one, f"CareTeam.participant[{place}]")
    if problems:
        issues = tuple(errors.Issue(text, at, "business-rule") for text, at in problems)
        raise errors.Invalid(problems[0][0], at=problems[0][1], issues=issues)


def _problems_of(participant: Resource, at: str) -> list[tuple[str, str]]:
    member = str(participant.get("member", {}).get("reference", ""))
    type = member.partition("/")[0]
    found = []
    if type == "Practitioner":
        text = "un professionnel entre au cercle par sa situation d'exercice : citez son PractitionerRole"
        found.append((text, f"{at}.member"))
    elif type not in MEMBERS:
        found.append((f"membre attendu : {', '.join(MEMBERS)}", f"{at}.member"))
    if not participant.get("period", {}).get("start"):
        found.append(("date d'entrée : obligatoire", f"{at}.period.start"))
    return found


def _continued(before: Resource, team: Resource) -> None:
    """Nobody disappears, and the circle stays the patient's."""
    if before["subject"] != team["subject"]:
        raise errors.Forbidden("un cercle de soins ne change pas de patient", at="CareTeam.subject")
    count = {member: _members(team).count(member) for member in _members(before)}
    for member, left in count.items():
        if left < _members(before).count(member):
            text = f"{member} : un départ se note par participant.period.end, l'entrée reste"
            raise errors.Invalid(text, at="CareTeam.participant")


async def _check_members(team: Resource, before: Resource, patient: str, room: draft.Draft) -> None:
    """Those who come in are known, and not people whom the patient does not want (CONS-02)."""
    for place, member in enumerate(_members(team)):
        at = f"CareTeam.participant[{place}].member"
        if member in _members(before):
            continue
        found = await room.find(member, at=at)
        if found["resourceType"] == "RelatedPerson" and found.get("patient") != conversations.reference(patient):
            raise errors.Invalid("ce proche est celui d'un autre patient", at=at)
        if await room.bits(patient, await known.keys(member, room.view)) & standing.EXCLUDED:
            raise errors.Invalid("le patient s'est opposé à la participation de ce membre", at=at)


def _members(team: Resource) -> list[str]:
    return [str(one.get("member", {}).get("reference", "")) for one in team.get("participant", ())]

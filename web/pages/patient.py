"""What is there of one patient for this person? Who it is, and the conversations about them that the person is in."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from web import layout, mailbox, session, words
from web.room import Room


async def page(request: Request, room: Room) -> Response:
    """The whole page. Raises NotFound for a patient whom the person may not see."""
    person = await session.signed_in(request, room)
    id = request.path_params["id"]
    found = await person.api.read("Patient", id)
    box = await mailbox.listed(person, room, after=request.query_params.get("suite", ""), patient=f"Patient/{id}")
    name, birth = words.patient_name(found), words.birth(found, room.local())
    return layout.page(room, "patient.html", person=person, id=id, name=name, birth=birth, box=box, opened="")

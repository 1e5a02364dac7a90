"""A small story on an in-memory record, and a browser without a browser in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest
from starlette.applications import Starlette

from tests.web import fake_record
from web import app, fhir, room, session


@dataclass
class Story:
    """A small cast on an in-memory record, and the web app in front of it."""

    record: fake_record.Record
    nadia: str
    paul: str
    claire: str
    header: str
    app: Starlette

    @property
    def id(self) -> str:
        return self.header.partition("/")[2]


@pytest.fixture
def story() -> Story:
    record = fake_record.Record()
    nadia = record.person("nadia", "Nadia", "Roux", "infirmière libérale")
    paul = record.person("lefebvre", "Paul", "Lefebvre", "médecin généraliste", title="DR", mail=True)
    claire = record.person("claire", "Claire", "Fabre", "coordinatrice du DAC")
    patient = {"resourceType": "Patient", "id": "rose", "gender": "female", "birthDate": "1935-02-03"}
    record.put({**patient, "name": [{"use": "official", "family": "VIDAL", "given": ["Rose"]}]})
    header = record.conversation("Plaie au talon", nadia, paul, claire, patient="Patient/rose")
    first = record.message(header, nadia, "La plaie du talon gauche suinte depuis hier.", ago=timedelta(hours=2))
    record.put(fake_record.delivery(first, paul, "completed", "envoye"))
    personas = [room.Persona("nadia", "Nadia Roux", "infirmière libérale")]
    personas += [room.Persona("claire", "Claire Fabre", "coordinatrice du DAC")]
    built = app.build(fhir.in_process(record.app()), record, record, personas, now=lambda: record.now)
    return Story(record, nadia, paul, claire, header, built)


@dataclass
class Browser:
    """What a browser does, without a browser: cookies, origin, form tokens."""

    http: httpx.AsyncClient

    async def get(self, path: str, **options: object) -> httpx.Response:
        return await self.http.get(path, **options)  # type: ignore[arg-type]

    async def post(self, path: str, data: dict[str, str] | None = None, **options: object) -> httpx.Response:
        token = self.http.cookies.get(session.COOKIE) or self.http.cookies.get(session.VISITOR) or ""
        form = {"csrf": session.derived(token), **(data or {})}
        return await self.http.post(path, data=form, headers={"Origin": "http://hub.test"}, **options)  # type: ignore[arg-type]

    def sign_in(self, name: str) -> None:
        self.http.cookies.set(session.COOKIE, f"jeton-{name}", domain="hub.test")


@pytest.fixture
async def browser(story: Story) -> AsyncIterator[Browser]:
    transport = httpx.ASGITransport(app=story.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as http:
        yield Browser(http)


@pytest.fixture
async def nadia(browser: Browser) -> Browser:
    browser.sign_in("nadia")
    return browser

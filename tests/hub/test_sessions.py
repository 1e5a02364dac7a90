"""A person sees where they are signed in, and ends what they do not know; nobody else's session moves (ACC-10)."""

from __future__ import annotations

import re
from datetime import timedelta

import httpx
import pytest

from hub import database, signin
from hub.room import Room
from identity import tokens
from tests.hub.test_fence import application

HOUR = timedelta(hours=1)


@pytest.fixture
def kept(hub: Room) -> tokens.Tokens:
    return database.kept_tokens(hub.settings)


async def test_one_session_of_several_is_ended_and_stops_at_once(hub: Room, kept: tokens.Tokens) -> None:
    served = await application(hub)
    mine = kept.mint(signin.persona("nadia", client="web"), HOUR)
    lost = kept.mint(signin.persona("nadia", client="Mon LGC", scopes=("user/*.rs",)), HOUR)
    other = kept.mint(signin.persona("karim", client="web"), HOUR)
    transport = httpx.ASGITransport(served)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as http:

        async def opens(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return (await http.get("/fhir/Communication", headers=headers)).status_code

        assert [await opens(one) for one in (mine, lost, other)] == [200, 200, 200]
        http.cookies.set("hub_session", mine, domain="hub.test")
        page = (await http.get("/sessions")).text
        assert "cette session" in page and "Logiciel Mon LGC" in page and "Karim" not in page
        assert mine not in page and lost not in page
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)
        assert csrf
        ids = re.findall(r"/sessions/([0-9a-f]{16})/fin", page)
        assert len(ids) == 2
        here = {"Origin": "http://hub.test"}
        answer = await http.post(f"/sessions/{ids[1]}/fin", data={"csrf": csrf[1]}, headers=here)
        assert answer.status_code == 303
        assert [await opens(one) for one in (mine, lost, other)] == [200, 401, 200]
        refused = await http.post(f"/sessions/{ids[0]}/fin", data={"csrf": "wrong"}, headers=here)
        assert refused.status_code == 403
        last = await http.post(f"/sessions/{ids[0]}/fin", data={"csrf": csrf[1]}, headers=here)
        assert last.headers["location"] == "/connexion"
        assert await opens(mine) == 401


def test_nobody_ends_the_session_of_somebody_else(kept: tokens.Tokens) -> None:
    nadia = kept.mint(signin.persona("nadia"), HOUR)
    karim = kept.mint(signin.persona("karim"), HOUR)
    (his,) = kept.sessions(karim)
    kept.end_session(nadia, his.id)
    assert kept.told(karim)
    assert kept.sessions("no-such-token") == []


def test_software_and_the_operator_have_no_sessions(kept: tokens.Tokens) -> None:
    alone = kept.mint(tokens.Identity("client", client="Annuaire"), HOUR)
    system = kept.mint(tokens.Identity("system"), HOUR)
    assert kept.sessions(alone) == kept.sessions(system) == []

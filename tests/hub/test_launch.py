"""A token that goes with a certificate opens nothing without it; what it opens is the session of a browser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from hub import database, launch, room
from hub.oauth_forms import Refused
from hub.rights import worn
from identity import certificates, tokens

BASE = "https://hub.example/fhir"
ROSE = {"patient": "urn:oid:1.2.250.1.213.1.4.10|235021220200375"}
CERTIFICATE = certificates.thumbprint(b"a certificate")
DELEGATE = "PractitionerRole/karim Practitioner/karim"
NADIA = tokens.Identity(
    "person", "PractitionerRole/nadia", ("Practitioner/nadia",), "lgc", ("user/*.rs", launch.OPEN), "Nadia Roux",
    subject="https://psc.example#nadia", session="https://psc.example#1", delegate=DELEGATE, certificate=CERTIFICATE,
)  # fmt: skip


@pytest.fixture
def kept(hub: room.Room) -> Iterator[tokens.Tokens]:
    made = database.kept_tokens(hub.settings)
    yield made
    made.engine.dispose()


async def test_a_token_that_goes_with_a_certificate_needs_it_here_too(hub: room.Room, kept: tokens.Tokens) -> None:
    launches = launch.Launches(hub, kept, worn.Hats(hub.store), base=BASE)
    bearer = kept.mint(NADIA, timedelta(minutes=15))
    with pytest.raises(Refused) as refused:
        await launches.post(ROSE, bearer)
    assert (refused.value.error, refused.value.status) == ("invalid_token", 401)
    certificates.presented.set(certificates.Certificate(CERTIFICATE))
    told = await launches.post(ROSE, bearer)
    opaque = parse_qs(urlsplit(told["url"]).query)["launch"][0]
    session = kept.told(await launches.open(opaque, BASE))
    assert session
    opened = session.identity
    assert (opened.client, opened.scopes, opened.certificate) == ("lgc", (), "")
    # It is theirs in everything else: who acts for whom, and the national session that it ends with.
    same = ("actor", "also", "name", "subject", "session", "delegate")
    assert [getattr(opened, one) for one in same] == [getattr(NADIA, one) for one in same]
    assert session.expires - session.created == 3600 * 1_000_000
    kept.end(NADIA.subject, NADIA.session)
    assert kept.told(bearer) is None

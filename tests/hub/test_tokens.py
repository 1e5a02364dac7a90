"""A token is whose it says, until it expires or is revoked; the database never holds one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sql

from common import errors
from fhir_server import access
from hub import database, settings, signin
from hub.rights import worn
from hub.room import Room
from identity import tables, tokens

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sql.Engine]:
    config = settings.Settings(data=tmp_path)
    database.prepare(config)
    made = database.engine(config)
    yield made
    made.dispose()


async def test_a_token_brings_back_its_identity_and_only_its_digest_is_kept(engine: sql.Engine) -> None:
    kept = tokens.Tokens(engine, Clock())
    identity = signin.persona("nadia", client="Mon LGC", scopes=("user/*.rs",))
    text = kept.mint(identity, timedelta(hours=1))
    assert await tokens.Tokens(engine, Clock()).check(text) == identity
    with engine.connect() as connection:
        assert text.encode() not in b"".join(bytes(row.digest) for row in connection.execute(tables.token.select()))


async def test_an_expired_or_unknown_token_is_refused(engine: sql.Engine) -> None:
    clock = Clock()
    kept = tokens.Tokens(engine, clock)
    text = kept.mint(tokens.Identity("system"), timedelta(hours=1))
    clock.time += timedelta(hours=2)
    for wrong in (text, "no-such-token"):
        with pytest.raises(errors.Unauthenticated):
            await tokens.Tokens(engine, clock).check(wrong)


async def test_a_revoked_token_stops_at_once(engine: sql.Engine) -> None:
    kept = tokens.Tokens(engine, Clock())
    text = kept.mint(signin.persona("nadia"), timedelta(hours=1))
    await kept.check(text)
    kept.revoke(text)
    with pytest.raises(errors.Unauthenticated):
        await kept.check(text)


def test_identities_become_callers_with_their_rights_and_no_more() -> None:
    nadia = worn.caller(signin.persona("nadia"), worn.Hat())
    alone = worn.caller(tokens.Identity("client", client="Annuaire", scopes=("system/*.rs",)), worn.Hat())
    system = worn.caller(tokens.Identity("system"), worn.Hat())
    assert nadia.memberships is not None
    assert access.key("PractitionerRole/nadia") in nadia.memberships
    assert alone.memberships == (access.EVERYONE,)
    assert system.memberships is None
    access.may(alone, "s", "PractitionerRole")
    for type, action in (("Patient", "s"), ("PractitionerRole", "c")):
        with pytest.raises(errors.Forbidden):
            access.may(alone, action, type)


async def test_tiles_exist_only_in_the_demo(engine: sql.Engine, hub: Room) -> None:
    kept = tokens.Tokens(engine, Clock())
    hats = worn.Hats(hub.store)
    demo, real = (
        signin.build(replace(hub.settings, demo=demo), hub, kept, hats, origin="http://hub.test")
        for demo in (True, False)
    )
    with pytest.raises(errors.Forbidden):
        await real.persona("nadia")
    text = await demo.persona("nadia")
    assert (await demo.check(text)).actor == "PractitionerRole/nadia"
    with pytest.raises(errors.NotFound):
        await demo.persona("nobody")

"""What a browser carries is good once, for a time, at one door; and a token that was got twice over is taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sql
from joserfc import jwk

from common import errors
from fhir_server import access
from fhir_server.jobs import job
from hub import database, settings
from identity import clients, errands, tokens

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BACK = "https://app.example/retour"


class Clock:
    time = NOW

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sql.Engine]:
    config = settings.Settings(data=tmp_path)
    database.prepare(config)
    made = database.engine(config)
    yield made
    made.dispose()


def test_it_is_good_once_at_one_door_and_not_for_long(engine: sql.Engine) -> None:
    clock = Clock()
    kept = errands.Errands(engine, clock)
    text = kept.keep("code", {"x": "é"}, timedelta(minutes=1))
    assert kept.look("code", text) == {"x": "é"} and kept.look("launch", text) is None and not kept.take("launch", text)
    assert kept.take("code", text) and not kept.take("code", text) and kept.look("code", text) is None
    late = kept.keep("code", {}, timedelta(minutes=1))
    clock.time += timedelta(seconds=60)
    assert kept.look("code", late) is None and not kept.take("code", late)
    with engine.connect() as connection:
        assert text.encode() not in str(connection.execute(sql.text("SELECT * FROM errand")).all()).encode()


def test_of_many_who_come_at_once_one_gets_it(engine: sql.Engine) -> None:
    text = errands.Errands(engine, Clock()).keep("code", {}, timedelta(minutes=1))
    with ThreadPoolExecutor(8) as pool:
        took = list(pool.map(lambda _: errands.Errands(engine, Clock()).take("code", text), range(16)))
    assert sum(took) == 1


@pytest.mark.parametrize("order", ["before the token is there", "after it"])
def test_whoever_comes_twice_leaves_nobody_a_token(engine: sql.Engine, order: str) -> None:
    kept, given = errands.Errands(engine, Clock()), tokens.Tokens(engine, Clock())
    text = kept.keep("code", {}, timedelta(minutes=1))
    token = given.mint(tokens.Identity("person", "PractitionerRole/x"), timedelta(hours=1))
    kept.repeated("code", text)
    assert kept.take("code", text)  # nobody had come yet
    if order == "after it":
        assert kept.gave(text, token) and given.told(token)
        kept.repeated("code", text)
        assert given.told(token) is None
    else:
        kept.repeated("code", text)
        assert not kept.gave(text, token)  # so that whoever made it takes it back


def test_what_is_over_is_forgotten(engine: sql.Engine) -> None:
    clock = Clock()
    kept = errands.Errands(engine, clock)
    kept.keep("code", {}, timedelta(minutes=1))
    clock.time += timedelta(hours=3)
    kept.keep("code", {}, timedelta(minutes=1))
    with engine.connect() as connection:
        assert connection.execute(sql.text("SELECT COUNT(*) FROM errand")).scalar() == 1


@pytest.mark.parametrize(
    "address",
    ["http://app.example/", "https://app.example/#x", "https://app.example/;x", "https://app.example/ x", "app:/x",
     "https://a@app.example/", "https://app.example/\r\nx", "https:///x", "https://app.example/*'", ""],
)  # fmt: skip
def test_people_are_sent_back_to_simple_addresses_by_https_alone(engine: sql.Engine, address: str) -> None:
    with pytest.raises(errors.Unreadable):
        clients.Clients(engine, Clock()).register("App", ("user/*.rs",), redirect_uris=(address,))


def test_without_a_key_an_app_is_opened_by_people_and_does_nothing_else(engine: sql.Engine) -> None:
    kept = clients.Clients(engine, Clock())
    made = kept.register("App", ("user/*.rs", "patient/*.rs"), redirect_uris=(BACK, "http://127.0.0.1:8765/cb"))
    assert kept.find(made.id) == made and made.is_public
    keys = json.dumps({"keys": [jwk.ECKey.generate_key("P-384", {"kid": "k"}).as_dict(private=False)]})
    assert not kept.register("Serveur", ("system/*.rs",), jwks=keys, redirect_uris=(BACK,)).is_public
    for scopes, psc in ((("system/*.rs",), ()), (("user/*.rs", "open-context"), ()), (("user/*.rs",), ("x",))):
        with pytest.raises(errors.Unreadable):
            kept.register("App", scopes, redirect_uris=(BACK,), psc_clients=psc)
    with pytest.raises(errors.Unreadable):
        kept.register("App", ("user/*.rs",))


def test_a_job_for_one_patient_is_not_found_from_another() -> None:
    one, other = (access.Caller("PractitionerRole/x", scopes=("patient/*.rs",), patient=f"Patient/{n}") for n in "ab")
    assert job.owner(one) != job.owner(other)
    assert job.read_caller(job.write_caller(one)) == one

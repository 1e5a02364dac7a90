"""Accounts that nobody uses: warned at ten months, closed at twelve, and a list of it (fake clock)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from common import errors
from fhir_server import access
from hub import database, people, room
from hub.joining import inactivity
from identity import accounts

START = datetime(2026, 1, 15, 9, 0, tzinfo=UTC)


class Days:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


async def test_a_year_of_an_account_that_nobody_uses(hub: room.Room) -> None:
    days = Days()
    at = replace(hub, now=days)
    kept = accounts.Accounts(database.engine(hub.settings), days)
    kept.invite("Practitioner/nadia", "nadia@free.example")
    kept.invite("Practitioner/karim", "karim@free.example")
    days.now = START + timedelta(days=200)
    karim = kept.of("Practitioner/karim")
    assert karim
    kept.saw(karim)
    seen: list[tuple[str, tuple[int, int]]] = []
    for day in range(250, 420):
        days.now = START + timedelta(days=day)
        if any(done := await inactivity.look(at, kept)):
            seen.append((f"{days.now:%Y-%m-%d}", done))
    assert seen == [("2026-11-16", (1, 0)), ("2027-01-16", (0, 1))]
    assert await inactivity.recap(at, kept) == (
        "compte,nom,adresse,derniere_connexion,prevenu_le,ferme_le\n"
        "Practitioner/nadia,Nadia Roux,nadia@free.example,,2026-11-16,2027-01-16\n"
    )
    notices = await hub.find("Task", code="account-notice", caller=access.SYSTEM)
    assert [one["reasonCode"]["coding"][0]["code"] for one in notices] == ["closed", "idle"]
    with pytest.raises(errors.NotFound):
        kept.invited("whatever")


async def test_whoever_signs_in_again_is_warned_again_later_and_not_closed(hub: room.Room) -> None:
    days = Days()
    at = replace(hub, now=days)
    kept = accounts.Accounts(database.engine(hub.settings), days)
    kept.invite("Practitioner/nadia", "nadia@free.example")
    days.now = START + timedelta(days=310)
    assert await inactivity.look(at, kept) == (1, 0)
    assert await inactivity.look(at, kept) == (0, 0)
    nadia = kept.of("Practitioner/nadia")
    assert nadia
    kept.saw(nadia)
    days.now = START + timedelta(days=400)
    assert await inactivity.look(at, kept) == (0, 0)
    assert await inactivity.recap(at, kept) == "compte,nom,adresse,derniere_connexion,prevenu_le,ferme_le\n"


async def test_a_hub_that_did_not_run_for_a_year_closes_nobody_without_a_warning(hub: room.Room) -> None:
    days = Days()
    at = replace(hub, now=days)
    kept = accounts.Accounts(database.engine(hub.settings), days)
    kept.invite("Practitioner/nadia", "nadia@free.example")
    days.now = START + timedelta(days=500)
    assert await inactivity.look(at, kept) == (1, 0)
    days.now += timedelta(days=29)
    assert await inactivity.look(at, kept) == (0, 0)
    days.now += timedelta(days=2)
    assert await inactivity.look(at, kept) == (0, 1)


def test_months_end_on_their_last_day() -> None:
    found = [inactivity.months_before(datetime(2027, 3, 31, tzinfo=UTC), months) for months in (1, 13, 12, 3)]
    assert [f"{one:%Y-%m-%d}" for one in found] == ["2027-02-28", "2026-02-28", "2026-03-31", "2026-12-31"]


async def test_a_name_is_no_formula(hub: room.Room) -> None:
    name, _ = await people.name("Practitioner/nadia", hub)
    assert inactivity._cell(name) == name
    assert inactivity._cell("=HYPERLINK(1)") == "'=HYPERLINK(1)"

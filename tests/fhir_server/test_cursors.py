"""Cursors: what a link to the next page tells, and to whom."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from fhir_server import cursors
from tests.fhir_server import worlds
from tests.fhir_server.conftest import Opened
from tests.fhir_server.worlds import SYSTEM, a_patient, create

SEAL = cursors.Seal(b"s" * cursors.SECRET_BYTES)


@given(st.text(max_size=200))
def test_what_was_sealed_opens_again(text: str) -> None:
    if all(not "\ud800" <= one <= "\udfff" for one in text):
        assert SEAL.open(SEAL.close(text)) == text


@given(st.text(alphabet="abc[]1,", max_size=40), st.integers(0), st.integers(1, 255))
def test_a_sealed_cursor_that_was_changed_does_not_open(text: str, place: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(SEAL.close(text) + "=="))
    raw[place % len(raw)] ^= change
    with pytest.raises(errors.Unreadable):
        SEAL.open(base64.urlsafe_b64encode(raw).decode().rstrip("="))


@given(st.text(max_size=40))
def test_whatever_is_no_cursor_does_not_open(text: str) -> None:
    with pytest.raises(errors.Unreadable):
        SEAL.open(text)


def test_another_secret_opens_nothing() -> None:
    other = cursors.Seal(b"t" * cursors.SECRET_BYTES)
    with pytest.raises(errors.Unreadable):
        other.open(SEAL.close("text"))


async def test_a_next_link_does_not_show_where_the_page_ended_and_serves_every_worker(opened: Opened) -> None:
    one, other = await opened(), await opened(worker=1)
    for family in ("Alpha", "Verysecret", "Zeta"):
        await create(one, a_patient(family))
    query = worlds.ask("Patient?_sort=family&_count=2", one.definitions)
    page = await one.search(query, caller=SYSTEM)
    assert page.after
    assert b"secret" not in base64.urlsafe_b64decode(page.after + "==")
    last = await other.search(replace(query, after=page.after), caller=SYSTEM)
    assert [worlds.body(row)["name"][0]["family"] for row in last.rows] == ["Zeta"]

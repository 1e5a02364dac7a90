"""The white list of the trust space is read as it is published, and a wrong copy does no harm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from common import errors
from mss import allowlist

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def a_list(*domains: str, made: str = "2026-11-27T06:00:00", operators: int = 1) -> bytes:
    """A list of these domains, each with so many operator certificates."""
    entries = "".join(
        f"<Domaine><Nom>{name}</Nom><Description>Structure d'essai</Description>"
        f'<DNCertificatOperateur>CN=smtp{number}.essai, O=ESSAI, ST="Aveyron (12)", C=FR</DNCertificatOperateur>'
        "<DateMAJ>2026-11-01</DateMAJ></Domaine>"
        for name in domains
        for number in range(operators)
    )
    space = allowlist.NAMESPACE
    head = f'<?xml version="1.0" encoding="UTF-8"?><ListeBlanche xmlns="{space}">'
    return f"{head}<DateDeGeneration>{made}</DateDeGeneration>{entries}</ListeBlanche>".encode()


def test_domains_are_compared_as_mail_domains_are() -> None:
    known = allowlist.read(a_list("Demo.MSSante.fr", "hôpital-essai.mssante.fr", "pas un domaine"))
    assert "paul@demo.mssante.fr" in known
    assert "PAUL@DEMO.MSSANTE.FR" in known
    assert "a@HÔPITAL-essai.mssante.fr" in known
    for other in ("paul@ailleurs.fr", "paul@sous.demo.mssante.fr", "demo.mssante.fr", "", "x@"):
        assert other not in known
    assert known.made == datetime(2026, 11, 27, 6, tzinfo=UTC)


def test_a_domain_may_have_several_certificates_and_the_same_one_counts_once() -> None:
    known = allowlist.read(a_list("a.mssante.fr", "a.mssante.fr", operators=2))
    assert known.operators["a.mssante.fr"][0] == 'CN=smtp0.essai, O=ESSAI, ST="Aveyron (12)", C=FR'
    assert known.entries == 2


@pytest.mark.parametrize("made", ["27/11/2026 06:00:00", "2026-11-27T07:00:00.123+01:00", "2026-11-27 06:00:00"])
def test_dates_in_any_usual_form(made: str) -> None:
    assert allowlist.read(a_list("a.fr", made=made)).made == datetime(2026, 11, 27, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>Service indisponible</html>",
        b"<ListeBlanche",
        a_list(),
        a_list("a.fr").replace(b"listeblanche.mssante", b"autre"),
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + a_list("a.fr").partition(b"?>")[2],
    ],
    ids=["nothing", "a web page", "cut", "no domain", "another namespace", "doctype"],
)
def test_what_is_no_white_list_is_not_taken(raw: bytes) -> None:
    with pytest.raises(errors.HubError):
        allowlist.read(raw)


def test_the_difference_is_told() -> None:
    held, new = allowlist.read(a_list("a.fr", "b.fr")), allowlist.read(a_list("b.fr", "c.fr"))
    assert allowlist.check(new, held) == allowlist.Difference(("c.fr",), ("a.fr",))
    assert allowlist.check(new, None).added == ("b.fr", "c.fr")


@pytest.mark.parametrize(
    "new", [a_list("a.fr"), a_list("a.fr", "b.fr", "c.fr", made="2026-11-01T00:00:00")], ids=["shrunk", "older"]
)
def test_a_list_that_looks_wrong_needs_a_persons_word(new: bytes) -> None:
    held = allowlist.read(a_list("a.fr", "b.fr", "c.fr"))
    with pytest.raises(errors.Conflict):
        allowlist.check(allowlist.read(new), held)
    allowlist.check(allowlist.read(new), held, confirmed=True)


def test_a_copy_is_good_for_a_week() -> None:
    assert not allowlist.is_stale(NOW - timedelta(days=6.9), NOW, 7)
    assert allowlist.is_stale(NOW - timedelta(days=7.1), NOW, 7)

"""What a certificate proves: by whom it was given, until when, whether it was revoked, and whose it is."""

from __future__ import annotations

import base64
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from common import clock, errors, events
from identity import certificates
from tests.certificates import DAY, LGC, Authority, Made, self_signed

OURS, OTHER = Authority(), Authority("AC d'ailleurs")
BELOW = Authority("AC fille", OURS)


def trust(folder: Path, revoked: bytes | None = None, *authorities: Authority) -> certificates.Trust:
    known, lists = folder / "ca.pem", folder / "crl.pem"
    known.write_bytes(b"".join(one.made.pem for one in authorities or (OURS,)))
    if revoked is not None:
        lists.write_bytes(revoked)
    return certificates.Trust(known, lists if revoked is not None else None, clock.system)


GOOD = OURS.gives(dns=("LGC.example",))


def test_a_certificate_of_a_known_authority_is_believed(tmp_path: Path) -> None:
    for is_verified in (True, False):
        found = trust(tmp_path).look(GOOD.der, is_verified=is_verified)
        assert found.wrong == ""
        assert found.thumbprint == certificates.thumbprint(GOOD.der)
        assert (found.subject, found.dns) == (certificates.subject(LGC), ("lgc.example",))


def test_an_authority_in_between_comes_along(tmp_path: Path) -> None:
    made, known = BELOW.gives(), trust(tmp_path)
    assert known.look(made.der, [BELOW.made.der], is_verified=False).wrong == ""
    assert "no authority" in known.look(made.der, is_verified=False).wrong


WRONG: dict[str, tuple[Made, str]] = {
    "another authority": (OTHER.gives(), "no authority"),
    "itself": (self_signed(), "no authority"),
    "another authority of the same name": (Authority().gives(), "no authority"),
    "somebody who is no authority": (Authority("x", OURS).gives(), "no authority"),
    "of a server": (OURS.gives(usage=ExtendedKeyUsageOID.SERVER_AUTH), "no authority"),
    "expired": (OURS.gives(to=-DAY), ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_nobody_known_vouches_for_proves_nothing(tmp_path: Path, name: str) -> None:
    made, word = WRONG[name]
    found = trust(tmp_path).look(made.der, is_verified=False)
    assert found.wrong and word in found.wrong
    assert found.wrong.isascii()


def test_a_leaf_is_no_authority(tmp_path: Path) -> None:
    leaf = OURS.gives()
    forged = Authority("x")
    forged.made = leaf
    assert trust(tmp_path).look(forged.gives().der, [leaf.der], is_verified=False).wrong


def test_one_that_has_expired_since_the_handshake_proves_nothing(tmp_path: Path) -> None:
    known = trust(tmp_path)
    made = OURS.gives(to=timedelta(hours=1))
    assert known.look(made.der, is_verified=True).wrong == ""
    known._now = lambda: datetime.now(UTC) + timedelta(hours=2)
    assert "expired" in known.look(made.der, is_verified=True).wrong
    assert certificates.Trust(tmp_path / "ca.pem", None, clock.system).look(b"x", is_verified=True).wrong


def test_what_is_revoked_proves_nothing_from_then_on(tmp_path: Path) -> None:
    known = trust(tmp_path, OURS.revokes())
    assert known.look(GOOD.der, is_verified=True).wrong == ""
    (tmp_path / "crl.pem").write_bytes(OTHER.revokes() + OURS.revokes(GOOD))
    assert "revoked" in known.look(GOOD.der, is_verified=True).wrong
    assert known.look(OURS.gives().der, is_verified=True).wrong == ""


@pytest.mark.parametrize(
    "lists", [OURS.revokes(to=-DAY), OTHER.revokes(), Authority().revokes()], ids=["old", "of another", "forged"]
)
def test_without_a_current_list_of_its_authority_nothing_is_proved(
    tmp_path: Path, lists: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[events.Events] = []
    monkeypatch.setattr(certificates, "emit", lambda event, **_: told.append(event))
    known = trust(tmp_path, lists)
    for _ in range(3):
        assert "no current revocation list" in known.look(GOOD.der, is_verified=True).wrong
    assert told == [events.Events.IDN_040]  # the operator hears of it, once


def test_a_list_that_breaks_while_the_hub_runs_opens_nothing(tmp_path: Path) -> None:
    known = trust(tmp_path, OURS.revokes())
    (tmp_path / "crl.pem").write_bytes(b"x")
    assert known.look(GOOD.der, is_verified=True).wrong
    os.remove(tmp_path / "crl.pem")
    assert known.look(GOOD.der, is_verified=True).wrong


@pytest.mark.parametrize("name", ["ca.pem", "crl.pem"])
def test_files_that_hold_nothing_are_said_so_at_the_start(tmp_path: Path, name: str) -> None:
    trust(tmp_path, OURS.revokes())
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(errors.Unreadable):
        certificates.Trust(tmp_path / "ca.pem", tmp_path / "crl.pem", clock.system)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CN=a,O=b", "CN=A,O=B", True),
        ("CN=Cabinet  d'Essai,C=FR", "CN=CABINET D'ESSAI,C=fr", True),
        ("CN=a+OU=b,C=FR", "OU=b+CN=a,C=FR", True),
        ("CN=é", "CN=é", True),
        ("CN=a,O=b", "O=b,CN=a", False),
        ("CN=a,OU=b", "CN=a", False),
        ("CN=a,OU=b", "CN=a，OU=b", False),
        ("CN=a,OU=b", "CN=a\\,OU\\=b", False),
        ("CN=a+OU=b", "CN=a,OU=b", False),
    ],
)
def test_names_are_compared_as_names(one: str, other: str, same: bool) -> None:
    assert (certificates.subject(one) == certificates.subject(other)) is same


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(errors.Unreadable):
        certificates.subject("C = FR, O = Cabinet")


def test_a_thumbprint_may_be_of_the_hexadecimal_digits() -> None:
    mine = certificates.thumbprint(GOOD.der)
    digest = hashlib.sha256(GOOD.der)
    for said in (
        mine,
        base64.b64encode(digest.digest()).decode(),
        base64.b64encode(digest.hexdigest().encode()).decode(),
        base64.b64encode(digest.hexdigest().upper().encode()).decode(),
        base64.urlsafe_b64encode(digest.hexdigest().encode()).decode().rstrip("="),
    ):
        assert certificates.is_thumbprint(said, mine)
    for said in ("", "x", "é", certificates.thumbprint(OTHER.gives().der), digest.hexdigest(), "z" * 88):
        assert not certificates.is_thumbprint(said, mine)

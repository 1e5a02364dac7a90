"""When https is spoken, with which certificate, and what the operator must not have set."""

from __future__ import annotations

import asyncio
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from common import errors
from hub import local_authority, settings, tls
from tests.certificates import Authority

NOW = datetime.now(UTC)
NAMES = ["hub.local", "localhost", "127.0.0.1", "192.168.1.20"]


@pytest.mark.parametrize(
    ("given", "is_spoken"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "192.168.1.20"}, True),
        ({"host": "hub.example"}, True),
        ({"host": "0.0.0.0", "tls": "off"}, False),
        ({"host": "0.0.0.0", "tls": "off", "public_url": "https://hub.example"}, False),
        ({"host": "0.0.0.0", "public_url": "https://hub.example"}, True),
        ({"tls": "on"}, True),
        ({"tls_certificate": Path("a"), "tls_key": Path("b")}, True),
    ],
)
def test_nobody_elsewhere_is_served_in_the_clear_by_itself(given: dict[str, Any], is_spoken: bool) -> None:
    assert tls.is_spoken(settings.Settings(**given)) is is_spoken


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({"tls": "yes"}, "tls"),
        ({"tls_certificate": Path("a")}, "tls_key"),
        ({"host": "0.0.0.0", "public_url": "http://hub.example"}, "public_url"),
        ({"tls_client_ca": Path("a")}, "tls_client_ca"),
        ({"tls": "on", "tls_client_crl": Path("a")}, "tls_client_crl"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, Any], at: str) -> None:
    with pytest.raises(errors.Unreadable) as refused:
        tls.is_spoken(settings.Settings(**given))
    assert refused.value.at == at


def test_the_address_says_how_we_are_reached() -> None:
    assert tls.origin(settings.Settings(), 8000) == "http://127.0.0.1:8000"
    assert tls.origin(settings.Settings(host="::1"), 8000) == "http://[::1]:8000"
    assert tls.origin(settings.Settings(host="10.0.0.1"), 8000) == "https://10.0.0.1:8000"
    assert tls.origin(settings.Settings(host="0.0.0.0", public_url="https://h.example/"), 1) == "https://h.example"
    assert "0.0.0.0" not in tls.origin(settings.Settings(host="0.0.0.0"), 8000)


async def handshake(context: ssl.SSLContext, known: Path, name: str) -> dict[str, Any]:
    """The certificate that a client of this authority sees under that name."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    client = ssl.create_default_context(cafile=str(known))
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=name)
        seen: dict[str, Any] = writer.get_extra_info("peercert")
        writer.close()
        return seen
    finally:
        server.close()


async def test_the_first_start_makes_a_certificate_that_devices_can_come_to_know(tmp_path: Path) -> None:
    config = settings.Settings(data=tmp_path, host="0.0.0.0")
    tls.prepare(config)
    context = tls.Listening(config).context
    known = local_authority.authority(tmp_path)
    for name in ("localhost", "127.0.0.1"):
        await handshake(context, known, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(context, known, "ailleurs.example")
    for key in (tmp_path / "tls").glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = known.read_bytes(), (tmp_path / "tls/server.pem").read_bytes()
    tls.prepare(config)
    assert before == (known.read_bytes(), (tmp_path / "tls/server.pem").read_bytes())


def test_a_certificate_is_made_again_before_it_ends_and_for_new_names(tmp_path: Path) -> None:
    assert local_authority.prepare(tmp_path, NAMES, NOW)
    assert not local_authority.prepare(tmp_path, NAMES, NOW)
    first = local_authority.authority(tmp_path).read_bytes()
    assert local_authority.prepare(tmp_path, NAMES, NOW + timedelta(days=380))
    assert local_authority.prepare(tmp_path, [*NAMES, "192.168.1.21"], NOW)
    assert local_authority.authority(tmp_path).read_bytes() == first  # devices know it already
    assert local_authority.prepare(tmp_path, [*NAMES, "autre.local"], NOW)
    assert local_authority.authority(tmp_path).read_bytes() != first
    assert local_authority.prepare(tmp_path, [*NAMES, "203.0.113.7"], NOW)


async def test_a_start_that_was_cut_short_is_made_good_by_the_next(tmp_path: Path) -> None:
    config = settings.Settings(data=tmp_path, host="0.0.0.0")
    for lost in ("server.pem", "server.key", "authority.pem", "authority.key"):
        tls.prepare(config)
        (tmp_path / "tls" / lost).unlink()
        tls.prepare(config)
        await handshake(tls.Listening(config).context, local_authority.authority(tmp_path), "localhost")
    for name in ("server.key", "authority.key"):  # the key was written, the certificate not yet
        kept = (tmp_path / "tls" / name).with_suffix(".pem").read_bytes()
        (tmp_path / "tls" / name).unlink()
        tls.prepare(config)
        (tmp_path / "tls" / name).with_suffix(".pem").write_bytes(kept)
        tls.prepare(config)
        await handshake(tls.Listening(config).context, local_authority.authority(tmp_path), "localhost")


async def test_the_local_authority_vouches_for_nothing_outside(tmp_path: Path) -> None:
    """Whoever steals its key cannot stand for another site in front of the devices that know it."""
    local_authority.prepare(tmp_path, NAMES, NOW)
    key = local_authority.load_pem_private_key((tmp_path / "tls/authority.key").read_bytes(), None)
    above = x509.load_pem_x509_certificate(local_authority.authority(tmp_path).read_bytes())
    for name, fits in (("hub.local", True), ("banque.example", False)):
        thief = Authority()
        thief.made = type(thief.made)(above, key)  # type: ignore[arg-type]
        made = thief.gives("CN=x", dns=(name,), usage=ExtendedKeyUsageOID.SERVER_AUTH)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*made.write(tmp_path, "thief"))
        if fits:
            await handshake(context, local_authority.authority(tmp_path), name)
        else:
            with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
                await handshake(context, local_authority.authority(tmp_path), name)


async def test_a_renewed_certificate_is_taken_up_while_the_hub_runs(tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "known.pem").write_bytes(authority.made.pem)

    def gives() -> tuple[Path, Path]:
        made = authority.gives("CN=hub", dns=("hub.test",), usage=ExtendedKeyUsageOID.SERVER_AUTH)
        certificate, key = made.write(tmp_path, "server")
        return Path(certificate), Path(key)

    certificate, key = gives()
    listening = tls.Listening(settings.Settings(tls_certificate=certificate, tls_key=key))

    async def serial() -> str:
        return str((await handshake(listening.context, tmp_path / "known.pem", "hub.test"))["serialNumber"])

    first, old_key = await serial(), key.read_bytes()
    gives()
    new_key = key.read_bytes()
    key.write_bytes(old_key)  # half of the renewal
    listening.look()
    assert await serial() == first
    key.write_bytes(new_key)
    listening.look()
    assert await serial() != first


@pytest.mark.parametrize("missing", ["tls_certificate", "tls_key", "tls_client_ca"])
def test_files_that_are_not_there_are_said_so(tmp_path: Path, missing: str) -> None:
    certificate, key = map(Path, Authority().gives().write(tmp_path, "server"))
    given = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": certificate}
    tls.Listening(settings.Settings(**given))  # type: ignore[arg-type]
    with pytest.raises(errors.Unreadable):
        tls.Listening(settings.Settings(**{**given, missing: tmp_path / "nothing"}))  # type: ignore[arg-type]

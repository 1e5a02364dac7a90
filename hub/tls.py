"""How is https spoken, and when?

When a certificate is set, and else whenever others than this machine can connect: then with one of our own authority
(`hub.local_authority`). TLS 1.2 with forward secrecy, or 1.3. With `tls_client_ca` whoever connects may show a
certificate; who has none comes in as well, since people do. What was shown stands in the scope of the request, as the
ASGI TLS extension writes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

from common import clock, errors
from common.events import Events, emit
from fhir_server.app import ASGI, Scope
from hub import local_authority, settings

LOOK_EVERY_SECONDS = 60.0
# For TLS 1.2; those of 1.3 are all good. A key that is learned later opens nothing that was recorded before.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_MODES = ("auto", "on", "off")


def is_spoken(config: settings.Settings) -> bool:
    """Does the HTTP port speak https? Raises Unreadable for settings that contradict each other."""
    if config.tls not in _MODES:
        raise errors.Unreadable(f"tls : {', '.join(_MODES)}", at="tls")
    if bool(config.tls_certificate) != bool(config.tls_key):
        raise errors.Unreadable("tls_certificate et tls_key vont ensemble", at="tls_key")
    is_on = config.tls == "on" or (config.tls == "auto" and bool(config.tls_certificate or not _is_here(config.host)))
    if is_on and config.public_url and not config.public_url.startswith("https://"):
        raise errors.Unreadable("public_url : https attendu, puisque tls est actif", at="public_url")
    if config.tls_client_ca and not (is_on or config.trusted_proxies):
        raise errors.Unreadable("tls_client_ca demande tls, ou un mandataire dans trusted_proxies", at="tls_client_ca")
    if config.tls_client_crl and not config.tls_client_ca:
        raise errors.Unreadable("tls_client_crl demande tls_client_ca", at="tls_client_crl")
    return is_on


def origin(config: settings.Settings, port: int) -> str:
    """The address that clients reach us at, without a path."""
    if config.public_url:
        return config.public_url.rstrip("/")
    host = socket.gethostname() if config.host in ("0.0.0.0", "::", "") else config.host  # noqa: S104 - compared
    return f"{'https' if is_spoken(config) else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def prepare(config: settings.Settings) -> None:
    """Make a certificate of our own authority when one is needed. Before several processes read it."""
    if not is_spoken(config) or config.tls_certificate:
        return
    if local_authority.prepare(config.data, _names(config), clock.system()):
        emit(Events.HUB_030, authority=str(local_authority.authority(config.data)))


class Listening:
    """The context of the port, whose certificate may be renewed while we run. Raises Unreadable for bad files."""

    def __init__(self, config: settings.Settings) -> None:
        self._files = _files(config)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers(_CIPHERS)
        self.context.set_alpn_protocols(["http/1.1"])
        try:
            self._seen = _state(self._files)
            self.context.load_cert_chain(*self._files)
            if config.tls_client_ca:
                self.context.load_verify_locations(config.tls_client_ca)
                self.context.verify_mode = ssl.CERT_OPTIONAL
                self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # those that are named, not what is above
        except (OSError, ssl.SSLError):
            raise errors.Unreadable("tls : certificat, clé ou autorités illisibles", at="tls_certificate") from None

    async def follow(self, config: settings.Settings, *, renews: bool) -> None:
        """For ever: a certificate that was replaced is the one of new connections, within a minute.

        `renews`: that of our own authority is made again in time. One process alone does it.
        """
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            if renews:
                with contextlib.suppress(OSError):
                    prepare(config)
            self.look()

    def look(self) -> None:
        """Take a new certificate up. While its two files do not fit yet, the old one stays."""
        with contextlib.suppress(OSError):
            if (state := _state(self._files)) == self._seen:
                return
            try:
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*self._files)
            except ssl.SSLError:
                emit(Events.HUB_031)
                return
            self.context.load_cert_chain(*self._files)
            self._seen = state
            emit(Events.HUB_032)


def protocols() -> dict[str, Any]:
    """The options of uvicorn by which the certificate of a connection reaches its requests."""
    return {"http": _telling(AutoHTTPProtocol), "ws": _telling(AutoWebSocketsProtocol)}


def _telling(base: Any) -> Any:
    class Telling(base):  # type: ignore[misc]
        """What uvicorn has, with the certificate of the other end in the scope."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if spoken := transport.get_extra_info("ssl_object"):
                shown = spoken.getpeercert(binary_form=True)
                self.app: Any = partial(_with, self.app, [ssl.DER_cert_to_PEM_cert(shown)] if shown else [])

    return Telling


async def _with(app: ASGI, chain: list[str], scope: Scope, *called: Any) -> None:
    scope["extensions"] = {**scope.get("extensions", {}), "tls": {"client_cert_chain": chain}}
    await app(scope, *called)


def _files(config: settings.Settings) -> tuple[Path, Path]:
    if config.tls_certificate and config.tls_key:
        return config.tls_certificate, config.tls_key
    return local_authority.files(config.data)


def _state(files: tuple[Path, Path]) -> list[tuple[int, int]]:
    return [(one.stat().st_mtime_ns, one.stat().st_ino) for one in files]


def _names(config: settings.Settings) -> list[str]:
    """What the certificate has to name: all that people may write into their browsers here."""
    name = socket.gethostname()
    names = ["localhost", "127.0.0.1", "::1", name, "" if "." in name else f"{name}.local"]
    names += [config.host] if config.host not in ("0.0.0.0", "::", "") else _addresses()  # noqa: S104 - compared
    names.append(urlsplit(config.public_url).hostname or "")
    return [one for one in dict.fromkeys(one.strip("[]").lower() for one in names) if one]


def _addresses() -> list[str]:
    """This machine's own, by which others reach it: nothing is sent to find out."""
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as one:
            one.connect((far, 9))
            found.append(str(one.getsockname()[0]))
    return found


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Which software may sign in, with which keys, and for what at most?

An operator registers it. Its public keys are at an address that it keeps (preferred: it can change them alone) or in
the registration. No secret is ever shared with it (SMART App Launch 2, client-confidential-asymmetric). In place of
keys, or besides them, it may have a certificate (RFC 8705): its subject is registered, so that a new one is good too.
An app that runs where it can keep nothing secret (client-public) has neither: only people open it, and it gets nothing
on its own.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sql

from common import clock, errors
from identity import certificates, key_sets, tables
from identity.answering import answering
from identity.certificates import Certificate

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_OF_PEOPLE = ("user/", "patient/")
# What may stand in a header without a thought: addresses go into Location and into Content-Security-Policy.
_PLAIN = re.compile(r"[A-Za-z0-9._~:/?&=%+@!$-]+")
_HOST = re.compile(r"[A-Za-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class Client:
    """A registered software. `scopes` are the widest that it may be given; at most one of `jwks_url` and `jwks` is set.
    `redirect_uris` are the only addresses to which people who opened it are sent back.

    `psc_clients` are its client ids at Pro Santé Connect: it acts for people by tokens that were given to these. Its
    certificate has that subject (as `certificates.subject` writes it) or names that machine; with neither it has none.
    `bound`: its tokens go with a certificate also when it signs in with a key.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    jwks_url: str = ""
    jwks: str = ""
    psc_clients: tuple[str, ...] = ()
    certificate_subject: str = ""
    certificate_dns: str = ""
    bound: bool = False
    redirect_uris: tuple[str, ...] = ()

    @property
    def is_public(self) -> bool:
        """Has it nothing to prove itself with?"""
        return not (self.jwks_url or self.jwks or self.certificate_subject or self.certificate_dns)

    def has(self, certificate: Certificate) -> bool:
        """Is this a certificate of theirs? Whether it proves anything is not looked at."""
        if self.certificate_subject:
            return self.certificate_subject == certificate.subject
        return bool(self.certificate_dns) and self.certificate_dns in certificate.dns


class Clients:
    """The registrations in the hub's database, a synchronous SQLAlchemy engine. All functions raise Unavailable."""

    def __init__(self, engine: sql.Engine, now: clock.Clock) -> None:
        self._engine = engine
        self._now = now

    def register(
        self,
        name: str,
        scopes: tuple[str, ...],
        *,
        jwks_url: str = "",
        jwks: str = "",
        psc_clients: tuple[str, ...] = (),
        certificate_subject: str = "",
        certificate_dns: str = "",
        bound: bool = False,
        redirect_uris: tuple[str, ...] = (),
    ) -> Client:
        """Take a software in, under a new id. `certificate_subject` is in RFC 4514.

        Raises Unreadable when there is nothing to know it by (an app that people open needs nothing, and then acts for
        nobody but them), when an address is no https one (http only on this machine), when the set holds no usable
        public key, or a private one, or when the subject is none.
        """
        if certificate_subject and certificate_dns:
            raise errors.Unreadable("donnez le sujet du certificat ou son nom DNS, l'un des deux", at="certificate")
        client = Client(
            secrets.token_urlsafe(16),
            name,
            scopes,
            jwks_url,
            jwks,
            psc_clients,
            certificates.subject(certificate_subject) if certificate_subject else "",
            certificate_dns.lower(),
            bound,
            redirect_uris,
        )
        _check_keys(client)
        for one in redirect_uris:
            _check_address(one, at="redirect_uri")
        row = asdict(client) | {"scopes": " ".join(scopes), "psc_clients": " ".join(psc_clients)}
        row["redirect_uris"] = " ".join(redirect_uris)
        row["created"] = clock.micros(self._now())
        with answering(), self._engine.begin() as connection:
            connection.execute(tables.client.insert(), row)
        return client

    def find(self, id: str) -> Client | None:
        """The software of that id."""
        with answering(), self._engine.connect() as connection:
            row = connection.execute(tables.client.select().where(tables.client.c.id == id)).mappings().first()
        return _client(row) if row else None

    def of(self, certificate: Certificate, id: str = "") -> Client:
        """The software that shows this certificate, with several registered the one of that id (RFC 8705 section 2.1).

        Raises Unauthenticated, in English, when that is nobody, or when it proves nothing.
        """
        if certificate.wrong:
            raise errors.Unauthenticated(certificate.wrong)
        columns = tables.client.c
        which = (columns.certificate_subject == certificate.subject) & (columns.certificate_subject != "")
        which |= columns.certificate_dns.in_([one for one in certificate.dns if one])
        with answering(), self._engine.connect() as connection:
            rows = connection.execute(tables.client.select().where(which)).mappings().all()
        found = [_client(row) for row in rows if row["id"] == (id or row["id"])]
        if not found:
            raise errors.Unauthenticated(
                "no software, or another one, is registered with the subject of this certificate"
            )
        if len(found) > 1:
            raise errors.Unauthenticated("several softwares have this certificate: say client_id")
        return found[0]

    def all(self) -> list[Client]:
        """By name."""
        with answering(), self._engine.connect() as connection:
            rows = connection.execute(tables.client.select().order_by(tables.client.c.name)).mappings().all()
        return [_client(row) for row in rows]

    def remove(self, id: str) -> None:
        """Forget a software and all of its tokens. Raises NotFound."""
        with answering(), self._engine.begin() as connection:
            if not connection.execute(tables.client.delete().where(tables.client.c.id == id)).rowcount:
                raise errors.NotFound(f"logiciel inconnu : {id}")
            connection.execute(tables.token.delete().where(tables.token.c.client == id))


def _client(row: Mapping[str, Any] | sql.RowMapping) -> Client:
    return Client(
        row["id"],
        row["name"],
        tuple(row["scopes"].split()),
        row["jwks_url"],
        row["jwks"],
        tuple(row["psc_clients"].split()),
        row["certificate_subject"],
        row["certificate_dns"],
        bool(row["bound"]),
        tuple(row["redirect_uris"].split()),
    )


def _check_keys(client: Client) -> None:
    if (client.jwks_url and client.jwks) or (client.is_public and not client.redirect_uris):
        raise errors.Unreadable("donnez l'adresse des clés (JWKS) ou leur fichier, ou un certificat", at="jwks")
    is_more = client.bound or client.psc_clients or any(not one.startswith(_OF_PEOPLE) for one in client.scopes)
    if client.is_public and is_more:
        raise errors.Unreadable("sans clé ni certificat, un logiciel n'a que des scopes user/ et patient/", at="scope")
    if client.jwks_url:
        _check_address(client.jwks_url, at="jwks_url")
    elif client.jwks:
        key_sets.read(client.jwks.encode())


def _check_address(url: str, *, at: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    schemes = ("https", "http") if host in _LOOPBACK else ("https",)
    if not host or parts.username is not None or parts.scheme not in schemes:
        raise errors.Unreadable(f"{_WHAT[at]} : https attendu", at=at)
    if at == "redirect_uri" and not (_PLAIN.fullmatch(url) and _HOST.fullmatch(host)):
        raise errors.Unreadable(f"{_WHAT[at]} : une adresse simple, sans fragment", at=at)


_WHAT = {"jwks_url": "adresse des clés (JWKS)", "redirect_uri": "adresse de retour"}

"""Which software may sign in, with which keys, and for what at most?

An operator registers it. Its public keys are at an address that it keeps (preferred: it can change them alone) or in
the registration. No secret is ever shared with it (SMART App Launch 2, client-confidential-asymmetric).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sql

from common import clock, errors
from identity import key_sets, tables
from identity.answering import answering

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Client:
    """A registered software. `scopes` are the widest that it may be given; one of `jwks_url` and `jwks` is set.

    `psc_clients` are its client ids at Pro Santé Connect: it acts for people by tokens that were given to these.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    jwks_url: str = ""
    jwks: str = ""
    psc_clients: tuple[str, ...] = ()


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
    ) -> Client:
        """Take a software in, under a new id.

        Raises Unreadable when there is not exactly one source of keys, when the address is no https one (http only on
        this machine), or when the set holds no usable public key, or a private one.
        """
        if bool(jwks_url) == bool(jwks):
            raise errors.Unreadable("donnez l'adresse des clés (JWKS) ou leur fichier, l'un des deux", at="jwks")
        if jwks_url:
            _check_address(jwks_url)
        else:
            key_sets.read(jwks.encode())
        client = Client(secrets.token_urlsafe(16), name, scopes, jwks_url, jwks, psc_clients)
        row = {
            "id": client.id,
            "name": name,
            "scopes": " ".join(scopes),
            "jwks_url": jwks_url,
            "jwks": jwks,
            "psc_clients": " ".join(psc_clients),
            "created": clock.micros(self._now()),
        }
        with answering(), self._engine.begin() as connection:
            connection.execute(tables.client.insert(), row)
        return client

    def find(self, id: str) -> Client | None:
        """The software of that id."""
        with answering(), self._engine.connect() as connection:
            row = connection.execute(tables.client.select().where(tables.client.c.id == id)).mappings().first()
        return _client(row) if row else None

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
    )


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    schemes = ("https", "http") if host in _LOOPBACK else ("https",)
    if not host or parts.username is not None or parts.scheme not in schemes:
        raise errors.Unreadable("adresse des clés (JWKS) : https attendu", at="jwks_url")

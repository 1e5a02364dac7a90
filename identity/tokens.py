"""Whose bearer token is this?

Opaque random tokens, looked up by digest, so that a revoked one stops at once (see docs/decisions). A checked token is
remembered for a few seconds, which bounds how long a revocation takes.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

import sqlalchemy as sql

from common import clock, errors
from identity import certificates, tables
from identity.answering import answering

REMEMBERED_SECONDS = 5.0
REMEMBERED_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    """`kind` is person (somebody acts), client (software on its own) or system (the machine's operator).

    `subject` (`issuer#sub`) and `session` (`issuer#sid`, "" when unknown) name the sign-in elsewhere that it came from,
    which may end there. `delegate` are the PractitionerRole and the Practitioner of who acts for `actor`, blank
    separated, "" when that is the person themselves. `certificate` is the thumbprint of the client certificate that the
    token goes with, "" if none.
    `patient` is the `Patient/x` in whose context a software was opened, if any.
    """

    kind: str
    actor: str = ""
    also: tuple[str, ...] = ()
    client: str = ""
    scopes: tuple[str, ...] = ()
    name: str = ""
    subject: str = ""
    session: str = ""
    delegate: str = ""
    certificate: str = ""
    patient: str = ""

    @property
    def person(self) -> str:
        """Who it really is, under whatever hat: `Practitioner/x`, or a structure; "" for software alone."""
        return self.delegate.partition(" ")[2] or next(iter(self.also), self.actor)


@dataclass(frozen=True, slots=True)
class Told:
    """A token that opens something, and its times in microseconds since 1970."""

    identity: Identity
    created: int
    expires: int


@dataclass(frozen=True, slots=True)
class Session:
    """A token of a person as they are shown it; `id` names it and opens nothing. Times in microseconds since 1970."""

    id: str
    client: str
    name: str
    created: int
    expires: int
    is_this: bool


class Tokens:
    """Tokens in the hub's database. `engine` is a synchronous SQLAlchemy engine; look-ups run in a thread."""

    def __init__(self, engine: sql.Engine, now: clock.Clock) -> None:
        self.engine = engine
        self._now = now
        self._known: dict[str, tuple[float, Identity]] = {}

    def mint(self, identity: Identity, lifetime: timedelta, *, registered: bool = False) -> str:
        """Make and keep a token; only its digest stays in the database.

        `registered`: for a registered software. Raises Unauthenticated when it has been removed meanwhile.
        """
        text = secrets.token_urlsafe(32)
        now = self._now()
        row = {
            "digest": _digest(text),
            "actor": identity.actor,
            "also": " ".join(identity.also),
            "client": identity.client,
            "scopes": " ".join(identity.scopes),
            "name": identity.name,
            "kind": identity.kind,
            "subject": identity.subject,
            "session": identity.session,
            "delegate": identity.delegate,
            "certificate": identity.certificate,
            "patient": identity.patient,
            "created": clock.micros(now),
            "expires": clock.micros(now + lifetime),
        }
        with answering(), self.engine.begin() as connection:
            if not registered:
                connection.execute(tables.token.insert(), row)
            elif not connection.execute(_while_registered(row)).rowcount:
                raise errors.Unauthenticated("this software is no longer registered")
        return text

    def revoke(self, text: str) -> None:
        """Forget a token; unknown ones are ignored."""
        with answering(), self.engine.begin() as connection:
            connection.execute(tables.token.delete().where(tables.token.c.digest == _digest(text)))
        self._known.pop(text, None)

    def end(self, subject: str, session: str = "") -> None:
        """Forget the tokens of a session that ended elsewhere, or all of a subject's when it is not said which.

        A token whose session is unknown ends with each of its subject. Here it is at once, in other processes within
        seconds.
        """
        columns = tables.token.c
        unnamed = columns.subject == subject if subject else sql.false()
        which = (columns.session == session) | (unnamed & (columns.session == "")) if session else unnamed
        with answering(), self.engine.begin() as connection:
            connection.execute(tables.token.delete().where(columns.subject != "", which))
        self._known = {text: known for text, known in self._known.items() if not known[1].subject}

    def sessions(self, text: str) -> list[Session]:
        """The tokens that are good now of the person whose token this is, this one first; of software none."""
        columns = tables.token.c
        now, mine = clock.micros(self._now()), _digest(text)
        with answering(), self.engine.connect() as connection:
            own = connection.execute(tables.token.select().where(columns.digest == mine)).mappings().first()
            if own is None or own["kind"] != "person":
                return []
            same = _same_person(own)
            query = tables.token.select().where(columns.kind == "person", columns.expires > now, same)
            rows = connection.execute(query.order_by(columns.created.desc())).mappings().all()
        found = []
        for row in rows:
            about = (row["client"], row["name"], row["created"], row["expires"])
            found.append(Session(_name(row["digest"]), *about, row["digest"] == mine))
        return sorted(found, key=lambda one: not one.is_this)

    def end_session(self, text: str, id: str) -> None:
        """End one of that person's; others are left alone. Here it is at once, in other processes within seconds."""
        if all(one.id != id for one in self.sessions(text)):
            return
        columns = tables.token.c
        with answering(), self.engine.begin() as connection:
            digests = connection.execute(sql.select(columns.digest).where(columns.kind == "person")).scalars().all()
            ended = [one for one in digests if _name(one) == id]
            connection.execute(tables.token.delete().where(columns.digest.in_(ended)))
        self._known = {known: held for known, held in self._known.items() if _name(_digest(known)) != id}

    def forget_of(self, actor: str) -> None:
        """Ask the database again about the tokens of an actor."""
        self._known = {text: held for text, held in self._known.items() if held[1].actor != actor}

    def remaining(self, digest: bytes) -> timedelta:
        """For how long the token of this SHA-256 is good yet; nothing when it is not."""
        query = sql.select(tables.token.c.expires).where(tables.token.c.digest == digest)
        with answering(), self.engine.connect() as connection:
            expires = connection.execute(query).scalar() or 0
        return max(timedelta(microseconds=expires - clock.micros(self._now())), timedelta())

    async def check(self, text: str) -> Identity:
        """The identity behind a token.

        Raises Unauthenticated when unknown or expired, or when the certificate that it is bound to did not come with it
        (RFC 8705 section 3); Unavailable.
        """
        identity = await self._identity(text)
        if identity.certificate and not certificates.proves(identity.certificate):
            raise errors.Unauthenticated("ce jeton va avec un certificat : présentez celui avec lequel il a été obtenu")
        return identity

    async def _identity(self, text: str) -> Identity:
        found = self._known.get(text)
        if found and found[0] > time.monotonic():
            return found[1]
        told = await asyncio.to_thread(self.told, text)
        if told is None:
            raise errors.Unauthenticated("jeton inconnu ou expiré : demandez-en un nouveau")
        identity = told.identity
        if len(self._known) >= REMEMBERED_TOKENS:
            self._known.clear()
        self._known[text] = (time.monotonic() + REMEMBERED_SECONDS, identity)
        return identity

    def told(self, text: str) -> Told | None:
        """What is kept of a token now, None when it is unknown or has expired."""
        query = tables.token.select().where(tables.token.c.digest == _digest(text))
        with answering(), self.engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        if row is None or row["expires"] <= clock.micros(self._now()):
            return None
        identity = Identity(
            kind=row["kind"],
            actor=row["actor"],
            also=tuple(row["also"].split()),
            client=row["client"],
            scopes=tuple(row["scopes"].split()),
            name=row["name"],
            subject=row["subject"],
            session=row["session"],
            delegate=row["delegate"],
            certificate=row["certificate"],
            patient=row["patient"],
        )
        return Told(identity, row["created"], row["expires"])


def _same_person(own: sql.RowMapping) -> sql.ColumnElement[bool]:
    """Whoever has several hats is one person, also where they act for another; the other sees them too."""
    also, actor, delegate = (tables.token.c[name] for name in ("also", "actor", "delegate"))
    person = own["delegate"].partition(" ")[2] or own["also"]
    return (
        sql.or_(delegate.endswith(f" {person}", autoescape=True), also == person) if person else actor == own["actor"]
    )


def _while_registered(row: Mapping[str, Any]) -> sql.Insert:
    """Keeps a token if its software is there. Whoever removes that waits for this, and then finds the token."""
    columns = [tables.token.c[name] for name in row]
    values = [sql.literal(row[one.name], one.type) for one in columns]
    there = sql.select(*values).select_from(tables.client).where(tables.client.c.id == row["client"])
    return tables.token.insert().from_select(columns, there.with_for_update(read=True, key_share=True))


def again(content: dict[str, Any]) -> Identity:
    """The identity that was written down as JSON (`dataclasses.asdict`)."""
    lists = {name: tuple(one) for name, one in content.items() if isinstance(one, list)}
    return Identity(**{**content, **lists})


def _name(digest: bytes) -> str:
    """What a session is called: a digest of the digest, so that it says nothing of the token."""
    return sha256(b"session" + digest).hexdigest()[:16]


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()

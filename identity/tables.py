"""Where are bearer tokens kept, and the softwares that may ask for them?"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table, Text

metadata = MetaData()

# Only the SHA-256 of a token is kept: a copy of the table opens nothing.
token = Table(
    "token",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("actor", Text, nullable=False),  # PractitionerRole/x, or empty for software alone
    Column("also", Text, nullable=False),  # further references of the same person, blank separated
    Column("client", Text, nullable=False),
    Column("scopes", Text, nullable=False),  # SMART scopes, blank separated; empty: all that the person may do
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),  # person, client, system
    # Of a national sign-in: `issuer#sub`, and `issuer#sid` when the provider names its sessions.
    Column("subject", Text, nullable=False, server_default="", index=True),
    Column("session", Text, nullable=False, server_default=""),
    Column("created", BigInteger, nullable=False),  # microseconds since 1970, UTC
    Column("expires", BigInteger, nullable=False),
)

# Software that signs in by itself (`clients.py`).
client = Table(
    "client",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),  # the widest it may be given, blank separated
    Column("jwks_url", Text, nullable=False),  # where its public keys are, or
    Column("jwks", Text, nullable=False),  # the keys themselves
    Column("psc_clients", Text, nullable=False),  # as what Pro Santé Connect knows it, blank separated
    Column("created", BigInteger, nullable=False),  # microseconds since 1970, UTC
)

# What may happen once, and what has ended (`used.py`).
used = Table(
    "used",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("expires", BigInteger, nullable=False, index=True),  # seconds since 1970, UTC
)


def schema(dialect: str) -> MetaData:
    """The tables of this room, the same for every dialect."""
    return metadata

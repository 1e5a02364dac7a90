"""Where are bearer tokens kept?"""

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
    Column("created", BigInteger, nullable=False),  # microseconds since 1970, UTC
    Column("expires", BigInteger, nullable=False),
)


def schema(dialect: str) -> MetaData:
    """The tables of this room, the same for every dialect."""
    return metadata

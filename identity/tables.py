"""Where are bearer tokens kept, the softwares that may ask for them, and the accounts of people without a card?"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, MetaData, Table, Text, false

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
    # Who acts for `actor`: their PractitionerRole and Practitioner, blank separated; empty: `actor` themselves.
    Column("delegate", Text, nullable=False, server_default=""),
    Column("certificate", Text, nullable=False, server_default=""),  # thumbprint of the one it goes with, if any
    Column("patient", Text, nullable=False, server_default=""),  # Patient/x in whose context a software was opened
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
    # What its certificate says (`certificates.subject`), or which machine it names; "" for none.
    Column("certificate_subject", Text, nullable=False, server_default=""),
    Column("certificate_dns", Text, nullable=False, server_default=""),
    Column("bound", Boolean, nullable=False, server_default=false()),  # its tokens go with a certificate in any case
    Column("psc_clients", Text, nullable=False),  # as what Pro Santé Connect knows it, blank separated
    Column("redirect_uris", Text, nullable=False, server_default=""),  # where people are sent back to, blank separated
    Column("created", BigInteger, nullable=False),  # microseconds since 1970, UTC
)

# What a browser carries from one place to another, once (`errands.py`). Only the SHA-256 of its text is kept.
errand = Table(
    "errand",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("content", Text, nullable=False),  # JSON
    Column("expires", BigInteger, nullable=False, index=True),  # seconds since 1970, UTC
    Column("state", Text, nullable=False),  # waiting, used, repeated
    Column("token", LargeBinary, nullable=False),  # the digest of the token that it gave, b"" before
)

# What may happen once, and what has ended (`used.py`).
used = Table(
    "used",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("expires", BigInteger, nullable=False, index=True),  # seconds since 1970, UTC
)

# Somebody who signs in without a card (`accounts.py`); times in microseconds since 1970, UTC, 0 for never.
account = Table(
    "account",
    metadata,
    Column("id", Text, primary_key=True),
    Column("practitioner", Text, nullable=False, unique=True),  # Practitioner/x
    Column("mail", Text, nullable=False, unique=True),  # folded
    Column("password", Text, nullable=False),  # Argon2id; empty: none
    Column("totp", Text, nullable=False),  # the secret of one-time codes, sealed; empty: none
    Column("step", BigInteger, nullable=False),  # the last time step whose code was used
    Column("created", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),  # the last sign-in
    Column("warned", BigInteger, nullable=False),  # that it will be closed
    Column("closed", BigInteger, nullable=False),
)

# A link that lets somebody set their means of signing in, once.
invitation = Table(
    "invitation",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("account", Text, nullable=False, index=True),
    Column("expires", BigInteger, nullable=False),
)

# Codes on paper, each of which stands once for the second factor.
recovery = Table(
    "recovery",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("account", Text, nullable=False, index=True),
)

# WebAuthn credentials (`passkeys.py`).
passkey = Table(
    "passkey",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("account", Text, nullable=False, index=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("uses", BigInteger, nullable=False),  # the counter of the authenticator
    Column("name", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
)

# Tries that went wrong (`attempts.py`).
attempt = Table(
    "attempt",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("tries", Integer, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),  # seconds since 1970, UTC
)

# Which terms of use a person has accepted, and when (`acceptances.py`).
acceptance = Table(
    "acceptance",
    metadata,
    Column("person", Text, primary_key=True),  # Practitioner/x
    Column("version", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
)

# Who may act for whom (`delegations.py`).
delegation = Table(
    "delegation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("giver", Text, nullable=False, index=True),  # PractitionerRole/x that is acted for
    Column("delegate", Text, nullable=False, index=True),  # PractitionerRole/y that acts
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
)


def schema(dialect: str) -> MetaData:
    """The tables of this room, the same for every dialect."""
    return metadata

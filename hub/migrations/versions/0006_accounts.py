"""People who sign in without a card: accounts, passkeys, acceptances of the terms of use, delegations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = ("account", "invitation", "recovery", "passkey", "attempt", "acceptance", "delegation")


def upgrade() -> None:
    """Create the tables; a token says who acts for its actor."""
    op.add_column("token", sa.Column("delegate", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "account",
        _text("id", primary_key=True),
        _text("practitioner", unique=True),
        _text("mail", unique=True),
        *(_text(name) for name in ("password", "totp")),
        *(_big(name) for name in ("step", "created", "seen", "warned", "closed")),
    )
    op.create_table("invitation", _key("digest"), _text("account", index=True), _big("expires"))
    op.create_table("recovery", _key("digest"), _text("account", index=True))
    op.create_table(
        "passkey",
        _key("id"),
        _text("account", index=True),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        _big("uses"),
        _text("name"),
        *(_big(name) for name in ("created", "used")),
    )
    op.create_table(
        "attempt",
        _key("digest"),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table("acceptance", *(_text(name, primary_key=True) for name in ("person", "version")), _big("at"))
    op.create_table(
        "delegation",
        _text("id", primary_key=True),
        *(_text(name, index=True) for name in ("giver", "delegate")),
        *(_big(name) for name in ("created", "expires")),
    )


def downgrade() -> None:
    """Nobody has an account any more."""
    for name in _TABLES:
        op.drop_table(name)
    op.drop_column("token", "delegate")


def _text(name: str, *, primary_key: bool = False, unique: bool = False, index: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, primary_key=primary_key, unique=unique, index=index)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _key(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, primary_key=True)

"""Software that signs in by itself, the statements that it has used, and sessions of a national sign-in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and the column."""
    for name in ("subject", "session"):
        op.add_column("token", sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.create_index("ix_token_subject", "token", ["subject"])
    op.create_table(
        "client",
        sa.Column("id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("name", "scopes", "jwks_url", "jwks", "psc_clients")),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "used",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_used_expires", "used", ["expires"])


def downgrade() -> None:
    """Forget every software and which session a token is of."""
    op.drop_table("used")
    op.drop_table("client")
    op.drop_index("ix_token_subject", "token")
    op.drop_column("token", "session")
    op.drop_column("token", "subject")

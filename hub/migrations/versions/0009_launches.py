"""Apps that people open: where they are sent back to, in whose context, and what their browsers carry meanwhile."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and the columns."""
    op.add_column("token", sa.Column("patient", sa.Text, nullable=False, server_default=""))
    op.add_column("client", sa.Column("redirect_uris", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "errand",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("token", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_errand_expires", "errand", ["expires"])


def downgrade() -> None:
    """Forget what was under way; tokens that were of one patient go, since nothing would confine them any more."""
    op.drop_table("errand")
    op.drop_column("client", "redirect_uris")
    op.execute("DELETE FROM token WHERE patient <> ''")
    op.drop_column("token", "patient")

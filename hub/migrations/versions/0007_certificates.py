"""Certificates that a software signs in with, and those that tokens are bound to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("token", sa.Column("certificate", sa.Text, nullable=False, server_default=""))
    for name in ("certificate_subject", "certificate_dns"):
        op.add_column("client", sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.add_column("client", sa.Column("bound", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Forget softwares that have nothing else, and the tokens that nobody could hold to a certificate any more."""
    op.execute("DELETE FROM token WHERE certificate <> ''")
    op.execute("DELETE FROM client WHERE jwks_url = '' AND jwks = ''")
    op.drop_column("token", "certificate")
    for name in ("certificate_subject", "certificate_dns", "bound"):
        op.drop_column("client", name)

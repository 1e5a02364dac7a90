"""On PostgreSQL a trace lives beside what was written: its chain is a column, its part that of the resource."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The chain, so far the part; indexes by it instead of keys."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.drop_index("trace_by_time", "trace")
    op.drop_index("trace_of_by_key", "trace_of")
    for name in ("trace", "trace_of"):
        op.drop_constraint(f"{name}_pkey", name)
        op.add_column(name, sa.Column("chain", sa.BigInteger()))
        op.execute(f"UPDATE {name} SET chain = part")
        op.alter_column(name, "chain", nullable=False)
    op.create_index("trace_by_chain", "trace", ["chain", "n"])
    op.create_index("trace_by_time", "trace", ["at", "chain", "n"])
    op.create_index("trace_of_by_key", "trace_of", ["key", "at", "chain", "n"])


def downgrade() -> None:
    """Back to the chain as part."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.drop_index("trace_by_chain", "trace")
    op.drop_index("trace_by_time", "trace")
    op.drop_index("trace_of_by_key", "trace_of")
    for name, key in (("trace", ["part", "n"]), ("trace_of", ["part", "key", "at", "n"])):
        op.execute(f"UPDATE {name} SET part = chain")
        op.drop_column(name, "chain")
        op.create_primary_key(f"{name}_pkey", name, key)
    op.create_index("trace_by_time", "trace", ["at", "part", "n"])
    op.create_index("trace_of_by_key", "trace_of", ["key", "at", "part", "n"])

"""Who did what with whose data: traces, the keys by which they are found, and the seals over them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    spread = op.get_bind().dialect.name == "postgresql"
    _table("trace", ("part", "n", "at"), ("body", "mac", "keys"), key=("part", "n"), rowid=True)
    op.create_index("trace_by_time", "trace", ["at", "part", "n"])
    by_key = ("key", "at", "part", "n")
    _table(
        "trace_of", ("part", "key", "at", "n"), (), key=("part", "key", "at", "n") if spread else by_key, rowid=False
    )
    if spread:
        op.create_index("trace_of_by_key", "trace_of", [*by_key])
    _table("seal", ("part", "k", "at"), ("numbers", "mac"), key=("part", "k"), rowid=False)


def downgrade() -> None:
    """Forget every trace."""
    for name in ("seal", "trace_of", "trace"):
        op.drop_table(name)


def _table(name: str, numbers: tuple[str, ...], blobs: tuple[str, ...], *, key: tuple[str, ...], rowid: bool) -> None:
    op.create_table(
        name,
        *(sa.Column(one, _BIG, nullable=False, autoincrement=False) for one in numbers),
        *(sa.Column(one, sa.LargeBinary(), nullable=False) for one in blobs),
        sa.PrimaryKeyConstraint(*key),
        sqlite_strict=True,
        sqlite_with_rowid=rowid,
    )

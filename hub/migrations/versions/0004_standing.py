"""Whose a resource is and with whom it is shared, on its row; how people stand towards patients.

SQLite keeps columns in the order in which they were made, and reads a row up to the one it wants: the new ones stand
before the body, so its table is made again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")
_COPIED = (
    "part, rid, type, fid, address, version, updated, deleted, sort_date, method, generation, readers, {} eq, body"
)
_RESOURCE = """
CREATE TABLE resource_new (
    part INTEGER NOT NULL, rid INTEGER NOT NULL, type TEXT NOT NULL, fid TEXT NOT NULL, address INTEGER NOT NULL,
    version INTEGER NOT NULL, updated INTEGER NOT NULL, deleted INTEGER NOT NULL, sort_date INTEGER NOT NULL,
    method TEXT NOT NULL, generation INTEGER NOT NULL, readers BLOB NOT NULL, {} eq BLOB NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (rid), CONSTRAINT resource_id UNIQUE (type, fid)
) STRICT
"""


def upgrade() -> None:
    """Add the columns and the table; `hub reindex` fills them for what is there."""
    if op.get_bind().dialect.name == "sqlite":
        _remade("patient, sharing,", "0, 0,", "patient INTEGER NOT NULL, sharing INTEGER NOT NULL,")
    else:
        for name, kind in (("patient", sa.BigInteger()), ("sharing", sa.SmallInteger())):
            op.add_column("resource", sa.Column(name, kind, nullable=False, server_default="0", autoincrement=False))
            op.alter_column("resource", name, server_default=None)
    op.create_table(
        "standing",
        *(sa.Column(name, _BIG, nullable=False, autoincrement=False) for name in ("patient", "who")),
        sa.Column("bit", _SMALL, nullable=False, autoincrement=False),
        *(sa.Column(name, _BIG, nullable=False, autoincrement=False) for name in ("source", "lo", "hi")),
        sa.PrimaryKeyConstraint("patient", "who", "bit", "source", "lo"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("standing_by_source", "standing", ["source"])
    op.create_index("standing_by_person", "standing", ["who", "bit", "patient"])
    against = sa.text("bit IN (4, 8, 16)")
    op.create_index("standing_against", "standing", ["patient"], postgresql_where=against, sqlite_where=against)


def downgrade() -> None:
    """Forget how anything is shared."""
    op.drop_table("standing")
    if op.get_bind().dialect.name == "sqlite":
        _remade("", "", "")
    else:
        op.drop_column("resource", "sharing")
        op.drop_column("resource", "patient")


def _remade(columns: str, values: str, described: str) -> None:
    connection = op.get_bind()
    indexes = [
        row[0]
        for row in connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'resource' AND sql IS NOT NULL"
        )
    ]
    connection.exec_driver_sql(_RESOURCE.format(described))
    copied = _COPIED.format(columns), _COPIED.format(values)
    connection.exec_driver_sql(f"INSERT INTO resource_new ({copied[0]}) SELECT {copied[1]} FROM resource")
    connection.exec_driver_sql("DROP TABLE resource")
    connection.exec_driver_sql("ALTER TABLE resource_new RENAME TO resource")
    for sql in indexes:
        connection.exec_driver_sql(sql)

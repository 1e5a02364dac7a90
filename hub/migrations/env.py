"""What does Alembic work on? The connection and the tables that `run` hands it, never a file of settings."""

from __future__ import annotations

from alembic import context

from fhir_server import tables


def _is_described(name: str | None, kind: str, _: object) -> bool:
    """Full text on SQLite is a virtual table with tables of its own, which no metadata can describe."""
    virtual = connection.dialect.name == "sqlite" and kind == "table" and name is not None
    return not (virtual and str(name).split("_")[0] in tables.VIRTUAL)


connection = context.config.attributes["connection"]

context.configure(
    connection=connection,
    target_metadata=context.config.attributes["metadata"],
    # SQLite changes tables by copying them.
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    include_name=_is_described,
)
with context.begin_transaction():
    context.run_migrations()

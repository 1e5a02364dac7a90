"""What does Alembic work on? The connection and the tables that `run` hands it, never a file of settings."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]

context.configure(
    connection=connection,
    target_metadata=context.config.attributes["metadata"],
    # SQLite changes tables by copying them.
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()

"""The schema in its successive forms, for SQLite and PostgreSQL (Alembic).

`run.upgrade(url)` brings a database to the newest form and is safe to call at every start; `versions/` holds one file
per step, each complete in itself. Tables are described in the rooms that own them (`fhir_server/tables.py` and others
listed in `run.ROOMS`); a test compares the two. It never touches what is stored.
"""

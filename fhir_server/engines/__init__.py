"""The two databases of the record: SQLite and PostgreSQL behind one interface (`engine.Engine`).

`sqlite.Sqlite.open` and `postgres.Postgres.open` give an engine; `sqlite_search` and `postgres_search` turn a Query
into SQL. Nothing else of the hub writes SQL on resources. They hold no rules: no FHIR, no rights beyond the reader
predicate, no clock.
"""

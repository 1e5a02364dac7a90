"""Who did what with whose data? (MODEL-08, fhir-profiles "Traces")

`trace` is the row of one request, `log` writes rows with the answer of a write and within a second of a read and seals
them in chains, `verify` finds what was altered or taken out, `purge` takes what was kept long enough, `events` renders
rows as AuditEvent and `provenance` as Provenance when somebody asks (`door`).
"""

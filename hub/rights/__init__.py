"""What may a profession see and write, under which hat, and why may somebody not see something?

`matrix` is the table of professions and kinds of data (ACC-12), `worn` makes a caller of a hat, `verdict` explains what
the record decides (CONS-06). The decision itself is the record's: `fhir_server/rights/`.
"""

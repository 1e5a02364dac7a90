"""The conductor: the only room that knows all the others.

`serve.run` opens the doors and gives each its flow; `flows/` tells one journey per file (`mail_in.receive`,
`hospital_document.receive`, `deliver.run`); `rules/` is what the product demands of any write, through any door.
It never speaks a protocol itself and never writes a resource except through `store.commit`.
"""

"""What the product demands of any write, through any door.

`everything.rules` lists them in order; `trusted.rule` keeps what others rely on out of reach; `message.rule` gives each
member an inbox entry, `header.rule` keeps conversations whole, `task.rule` guards the ledger. A rule reads the record
and returns changes; it never writes and never answers.
"""

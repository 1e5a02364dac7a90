"""Who signs in: bearer tokens of personas, software and operators, in tables of their own, never FHIR.

`tokens.Tokens.mint` makes one, `tokens.Tokens.check` says whose it is. It decides no rights: those are the record's.
"""

"""Fictitious regions: invented people, test identifiers only.

`small.fill` puts the small demo region into an empty record; `small.PERSONAS` names its cast.
"""

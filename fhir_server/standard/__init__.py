"""The operations that FHIR itself defines, one file each, named like the operation.

`listed.py` names all that every server of ours offers. They use what any interaction uses (the store with the caller's
rights, the search, the bundles) and hold no rule of the hub: the hub's own operations are handed to `app.build_app`.
"""

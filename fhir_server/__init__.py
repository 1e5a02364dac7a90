"""The record: FHIR R4 over HTTP, and the only writer of resources.

`store.Store` is its heart (`read`, `search`, `history`, `commit`), `app.build_app` its HTTP face, `r4.load.definitions`
what it knows of FHIR. It never knows where data came from or where it goes: doors, mail and mappings are the hub's, who
hands in write rules and operations.
"""

"""The web app: server-rendered pages for people, and nothing that the public FHIR API would not also give.

Start at `app.build` (routes, errors, headers), `session.person` (who asks) and `pages.conversation` (the heart).
Every fact on a page comes from a FHIR search or read made in process with the signed-in person's own token; every
action is a FHIR write that the record's rules accept or refuse. This room holds no rule and no data of its own.
"""

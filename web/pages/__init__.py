"""One file per page. Each turns a request into FHIR searches, the answers into values, the values into a template.

Start at `inbox.page`, `conversation.page` and `signin.page`. A page never decides what a person may see: it asks with
the person's token and shows what came back.
"""

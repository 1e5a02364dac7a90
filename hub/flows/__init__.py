"""One file tells one journey, top to bottom: `hospital_document.receive`, `mail_in.receive`, `deliver.run`.

A flow calls the rooms it needs and nobody calls back; the raw bytes are journaled first, the answer goes out after
commit.
"""

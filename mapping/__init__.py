"""Text or tree in, values and FHIR resources out, and back: HL7 v2, CDA and the French code tables.

Read first: `er7.read` (bytes to a lossless message), `v2_document.read` (message to a document with its patient,
people and wishes), `v2_document.to_fhir` (document to resources). Pure: no network, no disk writes, no clock, no
database; the same input gives the same output, and what cannot be understood is a typed refusal with its place.
"""

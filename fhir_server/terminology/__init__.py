"""Which codes are there, what do they mean, and which belong together?

FHIR R4 terminology service (https://hl7.org/fhir/R4/terminology-service.html) over the code systems, value sets and
concept maps of the R4 package and those stored in the record, which count at once. The three to know:
`library.Library` finds a resource by its canonical address, with the rights of who asks; `expand.expand` lists a value
set; `members.Members.has` says whether a code is in one. It never writes, and never answers from what a caller may not
see.
"""

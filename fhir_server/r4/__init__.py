"""FHIR R4 as data: everything the record knows about resource types is compiled from the official definitions.

`load.definitions()` gives the tables, `validate.Validator(definitions).check(resource)` says what is wrong with a
resource, `xml.write` and `xml.read` change its format, `extract.Extractor` takes its search values out.
Nothing here is written type by type, and nothing here touches a database or the network.
"""

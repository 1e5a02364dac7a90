"""FHIRPath over plain resources: `evaluate.evaluate`, `evaluate.compile`, `evaluate.locate`.

FHIRPath N1 (http://hl7.org/fhirpath/N1) with what R4 adds (https://hl7.org/fhir/R4/fhirpath.html), typed by the
compiled R4 tables. `parse` text to tree, `evaluate` tree to function, `functions` and `texts` what can be called,
`operators` the signs between values, `nodes` elements of a resource, `values` numbers, dates and quantities. An
expression is text of a client: its length, depth, steps, time and regular expressions are bounded. It never reads the
record.
"""

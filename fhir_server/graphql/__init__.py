"""GraphQL over the record: `execute.Execution.run`, on what `document.read` understood.

https://hl7.org/fhir/R4/graphql.html, queries only. The library reads the text of a query; its execution is ours, over
the compiled R4 tables, because the data re-organisation of FHIR (@flatten, @slice) fits no fixed schema, and because
every look-up has to pass the store with the caller's rights.
"""

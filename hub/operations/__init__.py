"""Our own FHIR operations, one file each, named like the operation: `dossier.operation`."""

"""Asynchronous work: requests that are answered later, bulk export and bulk import.

R4 async.html and the FHIR Bulk Data Access guide 2.0.
"""

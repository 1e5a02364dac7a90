"""What does a CDA that came alone (a mail, a package) say about itself? The `Paper` that `document_to_fhir` files.

CI-SIS "Structuration minimale": type, title, date, identity and confidentiality are required in the header.
"""

from __future__ import annotations

from mapping import cda, cda_header, contained, document_to_fhir, refusals


def paper(raw: bytes, document: cda.Cda, *, labels: frozenset[str] = frozenset()) -> document_to_fhir.Paper:
    """The document of these CDA bytes. Raises Missing when it has no id or no type."""
    header = document.header
    if header.id is None:
        raise refusals.Missing("le CDA n'a pas d'identifiant", at="ClinicalDocument/id")
    if header.code is None:
        raise refusals.Missing("le CDA n'a pas de type", at="ClinicalDocument/code")
    replaced = next((parent for parent in header.parents if parent.relation == "RPLC"), None)
    return document_to_fhir.Paper(
        type=header.code,
        title=header.title or header.code.display or header.code.code,
        written=header.written,
        unique_id=header.id,
        confidentiality=header.confidentiality if header.confidentiality in cda_header.CONFIDENTIALITY else "N",
        files=files(raw, document),
        labels=labels,
        header=header,
        level=document.level,
        parent_id=replaced.id if replaced else None,
        patient=contained.patient(header.patient),
    )


def files(raw: bytes, document: cda.Cda) -> tuple[document_to_fhir.File, ...]:
    """What a person reads first, the CDA last."""
    whole = document_to_fhir.File(document_to_fhir.CDA, raw)
    if document.body is None or not document.body.data:
        return (whole,)
    return document_to_fhir.File(document.body.media_type, document.body.data), whole

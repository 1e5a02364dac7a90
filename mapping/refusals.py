"""Why is a message that can be read refused all the same?

Each kind carries its code of HL7 table 0357 (ERR-3) and, for 207, of table 0533 (ERR-5): national profile
"Transmission de documents CDA-R2 en HL7v2" 2.1, page error-codes.
"""

from __future__ import annotations

from common import errors


class MissingSegment(errors.Invalid):
    code, hl7 = "missing-segment", "100"


class Missing(errors.Invalid):
    code, hl7 = "missing-field", "101"


class WrongType(errors.Invalid):
    code, hl7 = "wrong-type", "102"


class UnsupportedType(errors.Invalid):
    code, hl7 = "unsupported-message", "200"


class UnsupportedEvent(errors.Invalid):
    code, hl7 = "unsupported-event", "201"


class UnsupportedVersion(errors.Invalid):
    code, hl7 = "unsupported-version", "203"


class Incoherent(errors.Invalid):
    """The message says two things that cannot both be true."""

    code, hl7, hl7_application = "incoherent", "207", "906"


class PatientMismatch(errors.Invalid):
    """The message and the document that it carries name two different persons."""

    code, hl7, hl7_application = "patient-mismatch", "207", "904"


class RoutingForbidden(errors.Invalid):
    """The wished recipients are not allowed by the labels, or cannot be reached."""

    code, hl7, hl7_application = "routing-forbidden", "207", "906"

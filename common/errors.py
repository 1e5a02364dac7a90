"""How does a refusal look outside: in FHIR, in HL7 v2, in mail, on a page?

One small tree, raised deep and translated once, at the door:

    HubError
    ├── Invalid           422  the content parses but breaks a rule; carries every issue found
    ├── Unreadable        400  the bytes or the request itself cannot be understood
    ├── Unauthenticated   401  no token, or one that is unknown or expired
    ├── Forbidden         403  known, but not allowed
    │   └── TermsPending      the terms of use in force are to be accepted first
    ├── NotFound          404  does not exist, or the caller may not know that it does
    │   └── UnknownPatient     HL7 application error 902
    ├── NotAllowed        405  the interaction does not exist here
    ├── NotAcceptable     406  no representation that the client accepts
    ├── Conflict          409  somebody else was first
    ├── Gone              410  deleted
    ├── Stale             412  If-Match or a condition does not hold
    ├── TooLarge          413  over a stated limit
    ├── UnsupportedMedia  415  a content type that is not read here
    └── Unavailable       503  try again later

`docs/errors.md` is printed from this module; a test fails when it is stale.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issue:
    """One line of an OperationOutcome.

    `code` is from the FHIR issue-type value set, `expression` the FHIRPath of the place (empty when the whole
    request is meant), `text` what a person reads. Never patient data in `text` beyond the offending element's name.
    """

    text: str
    expression: str = ""
    code: str = "invalid"
    severity: str = "error"


class HubError(Exception):
    """An expected refusal. `message` says what and what to do, `at` says where (FHIRPath, PID-3, a header name)."""

    code = "refused"  # stable, ours: docs/errors.md
    status = 400  # HTTP
    fhir = "processing"  # issue-type
    hl7 = "207"  # table 0357
    hl7_application = "906"  # table 0533
    smtp = "554 5.6.0"

    def __init__(self, message: str, *, at: str = "", issues: tuple[Issue, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.issues = issues or (Issue(message, at, self.fhir),)


class Invalid(HubError):
    code, status, fhir, hl7 = "invalid", 422, "invalid", "103"


class Unreadable(HubError):
    code, status, fhir, hl7 = "unreadable", 400, "structure", "102"


class Unauthenticated(HubError):
    code, status, fhir, smtp = "unauthenticated", 401, "login", "530 5.7.0"


class Forbidden(HubError):
    code, status, fhir, hl7_application, smtp = "forbidden", 403, "forbidden", "901", "550 5.7.1"


class TermsPending(Forbidden):
    code = "terms-pending"


class NotFound(HubError):
    code, status, fhir, hl7, smtp = "not-found", 404, "not-found", "204", "550 5.1.1"


class UnknownPatient(NotFound):
    code, hl7, hl7_application = "unknown-patient", "207", "902"


class NotAllowed(HubError):
    code, status, fhir, hl7 = "not-allowed", 405, "not-supported", "200"


class NotAcceptable(HubError):
    code, status, fhir = "not-acceptable", 406, "not-supported"


class Conflict(HubError):
    code, status, fhir, hl7, smtp = "conflict", 409, "conflict", "205", "451 4.3.0"


class Gone(HubError):
    code, status, fhir, hl7 = "gone", 410, "deleted", "204"


class Stale(HubError):
    code, status, fhir = "stale", 412, "conflict"


class TooLarge(HubError):
    code, status, fhir, smtp = "too-large", 413, "too-long", "552 5.3.4"


class UnsupportedMedia(HubError):
    code, status, fhir, smtp = "unsupported-media", 415, "not-supported", "554 5.6.1"


class TooMany(HubError):
    code, status, fhir, smtp = "too-many", 429, "throttled", "451 4.3.0"


class Unavailable(HubError):
    code, status, fhir, smtp = "unavailable", 503, "transient", "451 4.3.0"

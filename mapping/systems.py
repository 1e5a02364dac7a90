"""Which OID is which URL, and what do we call our own systems? The one home of canonical names.

Sources: FR Core `fr-core-patient`, `fr-core-practitioner`, `fr-core-organization`; national terminology server (NOS).
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from mapping import codes

HUB = "https://spico-hub.example/fhir"

TASK = f"{HUB}/CodeSystem/task"
INBOX_STATUS = f"{HUB}/CodeSystem/inbox-status"
DELIVERY_STATUS = f"{HUB}/CodeSystem/delivery-status"
CONVERSATION_KIND = f"{HUB}/CodeSystem/conversation"
MEDIUM = f"{HUB}/CodeSystem/medium"
ACCOUNT_STATUS = f"{HUB}/CodeSystem/account-status"
ACCOUNT_CHECK = f"{HUB}/CodeSystem/account-check"
ACCOUNT_INPUT = f"{HUB}/CodeSystem/account-input"
CHECK_RESULT = f"{HUB}/CodeSystem/check-result"
NOTICE = f"{HUB}/CodeSystem/notice"
OFFICE = f"{HUB}/CodeSystem/office"

CONVERSATION = f"{HUB}/NamingSystem/conversation"
REPLY_TOKEN = f"{HUB}/NamingSystem/reply-token"
MESSAGE_ID = f"{HUB}/NamingSystem/message-id"
PATIENT_CONVERSATION = f"{HUB}/NamingSystem/patient-conversation"
ACCOUNT_LINK = f"{HUB}/NamingSystem/account-link"
NOTICE_TO = f"{HUB}/NamingSystem/notice-to"

PREFERRED_CHANNEL = f"{HUB}/StructureDefinition/preferred-channel"
PREPARED_BY = f"{HUB}/StructureDefinition/prepared-by"
ORIGINAL_MAIL = f"{HUB}/StructureDefinition/original-mail"
CHECK_SOURCE = f"{HUB}/StructureDefinition/check-source"
CHECK_TIME = f"{HUB}/StructureDefinition/check-time"
CHECK_LINK = f"{HUB}/StructureDefinition/check-link"

FR_CORE = "https://hl7.fr/ig/fhir/core"
FR_IDENTIFIER_TYPE = f"{FR_CORE}/CodeSystem/fr-core-cs-v2-0203"
FR_RELIABILITY = f"{FR_CORE}/CodeSystem/fr-core-cs-v2-0445"
FR_PATIENT = f"{FR_CORE}/StructureDefinition/fr-core-patient"
FR_PATIENT_INS = f"{FR_CORE}/StructureDefinition/fr-core-patient-ins"
FR_BIRTH_LIST_GIVEN = f"{FR_CORE}/StructureDefinition/fr-core-patient-birth-list-given-name"
FR_IDENTITY_RELIABILITY = f"{FR_CORE}/StructureDefinition/fr-core-identity-reliability"
FR_INSEE_CODE = f"{FR_CORE}/StructureDefinition/fr-core-address-insee-code"
FR_EMAIL_TYPE = f"{FR_CORE}/StructureDefinition/fr-core-contact-point-email-type"
BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"

V2_IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
LOINC = "http://loinc.org"
MAILBOX_TYPE = "https://mos.esante.gouv.fr/NOS/TRE_R256-TypeMessagerie/FHIR/TRE-R256-TypeMessagerie"
MUNICIPALITY = "https://mos.esante.gouv.fr/NOS/TRE_R13-Commune/FHIR/TRE-R13-Commune"
PROFESSION = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
KNOW_HOW = "https://mos.esante.gouv.fr/NOS/TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"
MHD_IDENTIFIER_TYPE = "https://profiles.ihe.net/ITI/MHD/CodeSystem/IHE.MHD.MHDIdentifierType"
FORMAT = "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode"
URI = "urn:ietf:rfc:3986"
RPPS = "https://rpps.esante.gouv.fr"
FINESS = "https://finess.esante.gouv.fr"
SIRENE = "https://sirene.fr"

INS_NIR, INS_NIA = "1.2.250.1.213.1.4.8", "1.2.250.1.213.1.4.9"
INS_TEST, INS_DEMO = "1.2.250.1.213.1.4.10", "1.2.250.1.213.1.4.11"
# INS, "Règles de gestion": a production identity domain never takes a test or demonstration number.
INS_PRODUCTION = frozenset({INS_NIR, INS_NIA})
INS_WITH_TEST = INS_PRODUCTION | {INS_TEST, INS_DEMO}
INS_ALL = INS_WITH_TEST
INS_SYSTEMS = frozenset(f"urn:oid:{oid}" for oid in INS_ALL)
PROFESSIONALS = "1.2.250.1.71.4.2.1"
STRUCTURES = "1.2.250.1.71.4.2.2"


@lru_cache(maxsize=1024)
def of_code(name: str) -> str:
    """The FHIR URL of a code system named by an OID (CDA), an HL7 table (`HL70357`) or a v2 mnemonic (`LN`).

    An unknown OID becomes urn:oid:, an unknown name a system of the hub, an empty name stays empty.
    """
    if row := codes.find("code_system", name):
        return row.target_system
    if is_oid(name):
        return f"urn:oid:{name}"
    if name.startswith("HL7") and name[3:].isdigit():
        return f"http://terminology.hl7.org/CodeSystem/v2-{name[3:]}"
    return local("code", name) if name else ""


@lru_cache(maxsize=1024)
def oid_of(system: str) -> str:
    """The OID behind the FHIR URL of a code system, as CDA and XDS write it; "" when none is known."""
    if system.startswith("urn:oid:"):
        return system.removeprefix("urn:oid:")
    named = (row.source_code for row in codes.rows("code_system") if row.target_system == system)
    return next((one for one in named if is_oid(one)), "")


@lru_cache(maxsize=4096)
def is_oid(text: str) -> bool:
    """Dotted numbers, at least two arcs, first arc 0 to 2, no leading zero."""
    arcs = text.split(".")
    return (
        len(arcs) > 1
        and text.isascii()
        and arcs[0] in ("0", "1", "2")
        and all(arc.isdigit() and (arc == "0" or arc[0] != "0") for arc in arcs)
    )


def local(kind: str, *names: str) -> str:
    """A system of ours for numbers that only make sense beside a local name (application, FINESS number, unit)."""
    return "/".join((f"{HUB}/NamingSystem", kind, *(quote(name, safe="") for name in names)))

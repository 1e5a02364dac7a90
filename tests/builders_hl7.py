"""HL7 v2, CDA and PDF made in code: `an_mdm(...)`, `a_cda(...)`, `a_pdf(...)` give bytes with sane defaults.

The person is invented; her INS is of the national test domain.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

TEST_INS = "248051220200170"
TEST_DOMAIN = "1.2.250.1.213.1.4.10"
HOSPITAL = "1.2.250.1.71.4.2.2.129900040"
DOCUMENTS = f"{HOSPITAL}.1"
PATIENT_NUMBERS = f"{HOSPITAL}.2"
SENDER = "PRT||UC||SB^^participation|899700000067^SOULIE^Anne^^^^^^ASIP-SANTE-PS&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS"
METADATA = (
    "MASQUE_PS INVISIBLE_PATIENT INVISIBLE_REP_LEGAUX CONNEXION_SECRETE MODIF_CONF_CODE "
    "DESTDMP DESTMSSANTEPS DESTMSSANTEPAT ACK_RECEPTION ACK_LECTURE_MSS"
).split()


@dataclass(frozen=True, slots=True)
class Person:
    """Whom the message is about."""

    family: str = "DELMAS"
    given: str = "JEANNE"
    birth_date: str = "19480512"
    gender: str = "F"
    ins: str = TEST_INS
    ins_domain: str = TEST_DOMAIN
    local: str = "IPP000117"
    reliability: str = "VALI"
    birth_place: str = "12202"

    def pid(self) -> str:
        """The PID segment."""
        ins = f"{self.ins}^^^ASIP-SANTE-INS-NIR&{self.ins_domain}&ISO^INS" if self.ins else ""
        local = f"{self.local}^^^CH-DEMO&{PATIENT_NUMBERS}&ISO^PI" if self.local else ""
        numbers = "~".join(number for number in (ins, local) if number)
        name = f"{self.family}^{self.given}^{self.given}^^^^L"
        address = f"3 rue des Tilleuls^^RODEZ^^12000^FRA^H~^^^^^^BDL^^{self.birth_place}"
        fields = {3: numbers, 5: name, 7: self.birth_date, 8: self.gender, 11: address, 32: self.reliability}
        return segment("PID", fields)


@dataclass(frozen=True, slots=True)
class Wishes:
    """Codes set to Y, mail recipients as (IDNPS, family, given, address) and the letter to them."""

    yes: frozenset[str] = frozenset()
    recipients: tuple[tuple[str, str, str, str], ...] = ()
    reply_to: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """How the message presents itself; `order` and `status` None: as the trigger wants, "" to leave them out."""

    trigger: str = "T02"
    order: str | None = None
    status: str | None = None
    profile: str = "2.1^CISIS_CDA_HL7_V2"
    charset: str = "UNICODE UTF-8"
    encoding: str = "utf-8"
    declared: tuple[str, str] = ("text", "XML")


def an_mdm(
    control_id: str = "MSG0001",
    *,
    content: bytes | None = None,
    document_id: str = "",
    parent_id: str = "",
    person: Person = Person(),
    wishes: Wishes = Wishes(),
    header: Header = Header(),
) -> bytes:
    """An MDM of profile 2.1. `content` defaults to a level 1 CDA around a PDF, about the same person.

    `document_id` and `parent_id` are extensions under the hospital's document OID; the first defaults to one made of
    the control id, so that another message is another document.
    """
    document_id = document_id or f"DOC-{control_id}"
    if content is None:
        replaces = parent_id if header.trigger == "T10" else ""
        content = a_cda(document_id, person=person, replaces=replaces)
    order, status = {"T02": ("NW", "F"), "T10": ("RO", "C"), "T04": ("CA", "D")}[header.trigger]
    order = order if header.order is None else header.order
    status = status if header.status is None else header.status
    kind = f"MDM^{header.trigger}^MDM_T02"
    encoded = base64.b64encode(content).decode()
    parent = f"{parent_id}^^{DOCUMENTS}^ISO" if parent_id else ""
    lines = [
        f"MSH|^~\\&|DPI-DEMO|CH-DEMO|SPICO-HUB|REGION|20261120143500||{kind}|{control_id}|P|2.6|||||FRA"
        f"|{header.charset}|||{header.profile}",
        "EVN||20261120143400",
        person.pid(),
        segment("PV1", {1: "1", 2: "I", 19: f"VN000117^^^CH-DEMO&{HOSPITAL}.3&ISO^VN"}),
        f"ORC|{order}|",
        "OBR|1|||34112-3^Lettre de liaison à la sortie^LN|",
        f"TXA|1|34112-3|TEXT|202611201430||||||||{document_id}^^{DOCUMENTS}^ISO|{parent}||||AU",
        f"OBX|1|ED|34112-3^Lettre de liaison à la sortie^LN||^{'^'.join(header.declared)}^Base64^{encoded}"
        f"||||||{status}|",
        *_participants(wishes),
        *_metadata(wishes),
    ]
    return b"".join(line.encode(header.encoding) + b"\r" for line in lines)


def segment(name: str, fields: dict[int, str]) -> str:
    """A segment from its fields by number."""
    return "|".join([name, *(fields.get(number, "") for number in range(1, max(fields) + 1))])


def an_ack(code: str = "AA", control_id: str = "MSG0001") -> bytes:
    """The answer of a receiver."""
    head = "MSH|^~\\&|SPICO-HUB|REGION|DPI-DEMO|CH-DEMO|20261120143501||ACK^T02^ACK|A1|P|2.6|||||FRA|UNICODE UTF-8"
    return f"{head}\rMSA|{code}|{control_id}\r".encode()


def a_cda(
    document_id: str = "DOC-1",
    *,
    person: Person = Person(),
    pdf: bytes | None = None,
    replaces: str = "",
    title: str = "Lettre de liaison à la sortie",
    structured: bool = False,
) -> bytes:
    """A CDA: level 1 around a PDF (one is made when none is given), or level 3 with one section and the PDF copy."""
    data = base64.b64encode(a_pdf(title) if pdf is None else pdf).decode()
    family, given = escape(person.family), escape(person.given)
    identity = f'<id root="{PATIENT_NUMBERS}" extension={quoteattr(person.local)}/>' if person.local else ""
    if person.ins:
        identity += f'<id root="{person.ins_domain}" extension="{person.ins}"/>'
    parent = (
        f'<relatedDocument typeCode="RPLC"><parentDocument><id root="{DOCUMENTS}" extension={quoteattr(replaces)}/>'
        "</parentDocument></relatedDocument>"
        if replaces
        else ""
    )
    template = "1.2.250.1.213.1.1.1.29" if structured else "1.3.6.1.4.1.19376.1.2.20"
    body = _STRUCTURED if structured else _UNSTRUCTURED
    return _CDA.format(
        template=template,
        root=DOCUMENTS,
        document_id=escape(document_id),
        title=escape(title),
        identity=identity,
        family=family,
        given=given,
        gender=person.gender,
        birth_date=person.birth_date,
        place=person.birth_place,
        parent=parent,
        body=body.format(data=data),
    ).encode()


def a_pdf(text: str = "Lettre de liaison", *, size: int = 0) -> bytes:
    """A valid one-page PDF that shows `text`; `size` pads it to about that many bytes."""
    shown = text.encode("cp1252", "replace").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    page = b"BT /F1 14 Tf 72 770 Td (" + shown + b") Tj ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 5 0 R>>>>/Contents 4 0 R>>",
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(page), page),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    if size:
        objects.append(b"<</Length %d>>\nstream\n%s\nendstream" % (size, b"\0" * size))
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


def _participants(wishes: Wishes) -> list[str]:
    lines = [f"{SENDER}|||Centre hospitalier^^^^^ASIP-SANTE-ST&1.2.250.1.71.4.2.2&ISO^FINEG^^^129900040"]
    for number, family, given, address in wishes.recipients:
        is_patient = address.endswith("@patient.mssante.fr")
        authority = f"ASIP-SANTE-INS-NIR&{TEST_DOMAIN}" if is_patient else "ASIP-SANTE-PS&1.2.250.1.71.4.2.1"
        kind = "INS" if is_patient else "IDNPS"
        person = f"{number}^{family}^{given}^^^^^^{authority}&ISO^D^^^{kind}"
        lines.append(segment("PRT", {2: "UC", 4: "RCT^^participation", 5: person, 15: f"^^X.400^{address}"}))
    if wishes.reply_to:
        lines.append(segment("PRT", {2: "UC", 4: "REPLY^^participation", 15: f"^^X.400^{wishes.reply_to}"}))
    return lines


def _metadata(wishes: Wishes) -> list[str]:
    lines = []
    for number, code in enumerate(METADATA, 2):
        value = "Y" if code in wishes.yes else "N"
        lines.append(f"OBX|{number}|CWE|{code}^^MetaDMPMSS||{value}^^expandedYes-NoIndicator||||||F|")
    if wishes.text:
        text = base64.b64encode(wishes.text.encode()).decode()
        lines.append(f"OBX|{len(METADATA) + 2}|ED|CORPSMAIL_PS^^MetaDMPMSS||^text^^Base64^{text}||||||F|")
    return lines


_UNSTRUCTURED = '<nonXMLBody><text mediaType="application/pdf" representation="B64">{data}</text></nonXMLBody>'
_STRUCTURED = """<structuredBody><component><section><code code="55108-5" codeSystem="2.16.840.1.113883.6.1"/>
   <title>Copie du document</title><text>Voir le PDF.</text><entry><organizer classCode="CLUSTER" moodCode="EVN">
   <component><observationMedia classCode="OBS" moodCode="EVN"><value mediaType="application/pdf" representation="B64"
   >{data}</value></observationMedia></component></organizer></entry></section></component></structuredBody>"""
_CDA = """<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <realmCode code="FR"/><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
 <templateId root="2.16.840.1.113883.2.8.2.1"/><templateId root="1.2.250.1.213.1.1.1.1"/><templateId root="{template}"/>
 <id root="{root}" extension="{document_id}"/>
 <code code="34112-3" codeSystem="2.16.840.1.113883.6.1" displayName="Lettre de liaison à la sortie"/>
 <title>{title}</title><effectiveTime value="20261120143000+0100"/>
 <confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25" displayName="Normal"/><languageCode code="fr-FR"/>
 <recordTarget><patientRole>{identity}<patient><name><family qualifier="BR">{family}</family>
  <given>{given}</given><given qualifier="BR">{given}</given></name>
  <administrativeGenderCode code="{gender}" codeSystem="2.16.840.1.113883.5.1"/><birthTime value="{birth_date}"/>
  <birthplace><place><addr><county>{place}</county></addr></place></birthplace></patient></patientRole></recordTarget>
 <author><time value="20261120142500+0100"/><assignedAuthor><id root="1.2.250.1.71.4.2.1" extension="899700000067"/>
  <code code="G15_10/SM04" codeSystem="1.2.250.1.213.1.1.4.5" displayName="Médecin - Cardiologie"/>
  <assignedPerson><name><prefix>MME</prefix><given>Anne</given><family>SOULIE</family><suffix>DR</suffix></name>
  </assignedPerson><representedOrganization><id root="1.2.250.1.71.4.2.2" extension="1129900040"/>
  <name>Centre hospitalier de démonstration</name></representedOrganization></assignedAuthor></author>
 <custodian><assignedCustodian><representedCustodianOrganization><id root="1.2.250.1.71.4.2.2" extension="1129900040"/>
  <name>Centre hospitalier de démonstration</name></representedCustodianOrganization></assignedCustodian></custodian>
 <legalAuthenticator><time value="20261120143000+0100"/><signatureCode code="S"/><assignedEntity>
  <id root="1.2.250.1.71.4.2.1" extension="899700000067"/><assignedPerson><name><prefix>MME</prefix><given>Anne</given>
  <family>SOULIE</family><suffix>DR</suffix></name></assignedPerson></assignedEntity></legalAuthenticator>
 <documentationOf><serviceEvent><code code="IMP" codeSystem="2.16.840.1.113883.5.4" displayName="Hospitalisation"/>
  <effectiveTime><low value="20261116090000+0100"/><high value="20261120140000+0100"/></effectiveTime>
  <performer typeCode="PRF"><assignedEntity><id root="1.2.250.1.71.4.2.1" extension="899700000067"/>
  <representedOrganization><standardIndustryClassCode code="ETABLISSEMENT" codeSystem="1.2.250.1.213.1.1.4.9"
  displayName="Etablissement de santé"/></representedOrganization></assignedEntity></performer>
 </serviceEvent></documentationOf>
 {parent}
 <componentOf><encompassingEncounter><effectiveTime><low value="20261116090000+0100"/></effectiveTime><location>
  <healthCareFacility><code code="SA01" codeSystem="1.2.250.1.71.4.2.4" displayName="Etablissement public de santé"/>
  </healthCareFacility></location></encompassingEncounter></componentOf>
 <component>{body}</component>
</ClinicalDocument>
"""

"""What goes out as XML comes back as the same JSON, and XML that is not safe FHIR is refused with its place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from common import errors
from fhir_server.r4 import load, narrative, xml
from fhir_server.r4.validate import Validator
from tests.fhir_server.r4 import samples
from tests.fhir_server.r4.samples import DIV, a_bundle, a_patient, an_observation

EXTENSION = {"url": "http://example.test/note", "valueString": "x"}


def there_and_back(resource: Any, definitions: load.Definitions) -> Any:
    return xml.read(xml.write(resource, definitions), definitions)


def without_form(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource with its narrative in canonical XML: how XML is written (quotes, <br />) carries no meaning."""
    if "div" not in resource.get("text", {}):
        return resource
    canonical = etree.tostring(narrative.parse(resource["text"]["div"]), method="c14n")
    return resource | {"text": resource["text"] | {"div": canonical}}


def test_a_resource_looks_as_the_specification_says(definitions: load.Definitions) -> None:
    patient = {
        "birthDate": "1955-06-30",
        "_birthDate": {"id": "b", "extension": [EXTENSION]},
        "active": True,
        "name": [{"given": ["A", None], "_given": [None, {"extension": [EXTENSION]}], "id": "n", "family": "É & <Z>"}],
        "text": {"status": "generated", "div": DIV},
        "contained": [{"resourceType": "Organization", "id": "o"}],
        "resourceType": "Patient",
        "id": "1",
        "multipleBirthInteger": 2,
    }
    note = '<extension url="http://example.test/note"><valueString value="x"/></extension>'
    assert xml.write(patient, definitions).decode().partition("\n")[2] == (
        '<Patient xmlns="http://hl7.org/fhir"><id value="1"/>'
        f'<text><status value="generated"/>{DIV}</text>'
        '<contained><Organization><id value="o"/></Organization></contained>'
        '<active value="true"/>'
        f'<name id="n"><family value="É &amp; &lt;Z&gt;"/><given value="A"/><given>{note}</given></name>'
        f'<birthDate id="b" value="1955-06-30">{note}</birthDate>'
        '<multipleBirthInteger value="2"/></Patient>'
    )
    assert there_and_back(patient, definitions) == patient


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": [{"given": [None], "_given": [{"extension": [EXTENSION]}]}]},
        {"name": [{"given": ["A", "B"], "_given": [{"id": "x"}, None]}]},
        {"name": [{"given": ["A", "B"], "_given": [None, {"extension": [EXTENSION]}]}]},
        {"birthDate": None, "_birthDate": {"extension": [EXTENSION]}},
        {"name": [{"text": "two\nlines\tand\r\nmore «\u00a0»  😀 ' \" < & >"}]},
        {"contained": [{"resourceType": "Organization", "id": "a"}, {"resourceType": "Basic", "id": "b"}]},
        {"extension": [{"id": "e", "url": "http://a.test", "extension": [EXTENSION, EXTENSION]}]},
        {"photo": [{"contentType": "text/plain", "data": "QUJD"}]},
        {"deceasedBoolean": None, "deceasedDateTime": "2026-01-31T08:05:00.000+01:00"},
    ],
)
def test_a_patient_comes_back_the_same(definitions: load.Definitions, changes: dict[str, Any]) -> None:
    assert there_and_back(a_patient(**changes), definitions) == a_patient(**changes)


@pytest.mark.parametrize("digits", ["1.00", "72.50", "-0.10", "1E+3", "1.5E-7", "0.000001", "5", "-5", "1" * 30])
def test_a_number_keeps_its_digits(definitions: load.Definitions, digits: str) -> None:
    value = samples.decode(digits.encode())
    back = there_and_back(an_observation(valueQuantity={"value": value}), definitions)["valueQuantity"]["value"]
    assert (str(back), type(back)) == (str(value), type(value))


def test_a_bundle_comes_back_the_same(definitions: load.Definitions) -> None:
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "a", "resource": a_patient()}]}
    bundle = a_bundle(entry=[{"resource": a_patient()}, {"resource": parameters}, {"fullUrl": "urn:oid:1.2.3"}])
    assert there_and_back(bundle, definitions) == bundle


def test_every_definition_of_the_r4_package_comes_back_the_same(definitions: load.Definitions) -> None:
    changed = [
        name
        for name, resource in samples.official()
        if without_form(there_and_back(resource, definitions)) != without_form(resource)
    ]
    assert changed == []


@pytest.mark.parametrize("sample", sorted(samples.EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_the_national_samples_come_back_the_same(definitions: load.Definitions, sample: Path) -> None:
    resource = samples.decode(sample.read_bytes())
    assert without_form(there_and_back(resource, definitions)) == without_form(resource)


def document(content: str, type: str = "Patient", attributes: str = "") -> bytes:
    return f'<{type} xmlns="http://hl7.org/fhir" {attributes}>{content}</{type}>'.encode()


def test_other_ways_of_writing_the_same_are_read(definitions: load.Definitions) -> None:
    prefixed = DIV.replace("<", "<h:").replace("<h:/", "</h:").replace(" xmlns=", " xmlns:x=")
    expected = {"resourceType": "Patient", "text": {"status": "generated", "div": DIV}, "active": True}
    other = f"""\ufeff<?xml version="1.0" encoding="UTF-8"?>
        <!-- a comment -->
        <f:Patient xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml"
                   xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="a b">
          <f:text><f:status value="generated"/>{prefixed}
          </f:text>
          <!-- another --><?instruction x?>
          <f:active value='true'></f:active>
        </f:Patient>"""
    assert xml.read(other.encode(), definitions) == expected


def test_what_surrounds_a_narrative_does_not_stay_in_it(definitions: load.Definitions) -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml">a<!-- c --> b<p>d</p><?x y?> e</div>'
    data = document(f"<text><status value='generated'/>{div} </text>", attributes='xmlns:other="http://a.test"')
    read = xml.read(data, definitions)["text"]["div"]
    assert read == '<div xmlns="http://www.w3.org/1999/xhtml">a b<p>d</p> e</div>'


def test_a_wrong_value_is_left_to_the_validator(definitions: load.Definitions, validator: Validator) -> None:
    content = '<active value="yes"/><birthDate value="2024-02-30"/><multipleBirthInteger value="007"/>'
    content += "<photo><size/></photo>"
    patient = xml.read(document(content), definitions)
    assert (patient["active"], patient["birthDate"], patient["multipleBirthInteger"]) == ("yes", "2024-02-30", "007")
    assert [issue.expression for issue in validator.check(patient)] == [
        "Patient.active",
        "Patient.birthDate",
        "Patient.multipleBirth",
        "Patient.photo[0].size",
    ]


@pytest.mark.parametrize(
    ("content", "place", "word"),
    [
        ('<surname value="x"/>', "Patient.surname", "surname"),
        ('<name><firstname value="x"/></name>', "Patient.name[0].firstname", "firstname"),
        ('<name/><name><given value="a"/><given><x/></given></name>', "Patient.name[1].given[1].x", "Element"),
        ('<birthDate value="2000"/><gender value="male"/>', "Patient.gender", "place"),
        ('<gender value="male"/><gender value="male"/>', "Patient.gender", "qu'une fois"),
        ("<active>true</active>", "Patient.active", "texte"),
        ("text", "Patient", "texte"),
        ('<active value="true"/>text', "Patient", "texte"),
        ('<active value="true" lang="fr"/>', "Patient.active", "lang"),
        ('<name value="x"/>', "Patient.name[0]", "value"),
        ('<name xmlns="http://elsewhere.test"/>', "Patient.name[0]", "espace"),
        ("<div>x</div>", "Patient.div", "div"),
        ('<text><status value="generated"/><div/></text>', "Patient.text.div", "espace"),
        ("<contained/>", "Patient.contained[0]", "une ressource"),
        ("<contained><Basic/><Basic/></contained>", "Patient.contained[0]", "une ressource"),
        ("<contained><HumanName/></contained>", "Patient.contained[0].HumanName", "HumanName"),
        ('<contained><Patient><nom value="x"/></Patient></contained>', "Patient.contained[0].nom", "nom"),
        ('<id url="x" value="1"/>', "Patient.id", "url"),
        ("<url/>", "Patient.url", "url"),
        ('<deceasedDateTime value="2026"><foo/></deceasedDateTime>', "Patient.deceased.foo", "foo"),
    ],
)
def test_what_has_no_place_in_the_tables_is_refused(
    definitions: load.Definitions, content: str, place: str, word: str
) -> None:
    with pytest.raises(errors.Invalid) as refused:
        xml.read(document(content), definitions)
    assert refused.value.at == place
    assert word in refused.value.message
    assert "ligne 1" in refused.value.message


def test_everything_that_has_no_place_is_told_at_once_and_a_hundred_times_at_most(
    definitions: load.Definitions,
) -> None:
    wrong = '<nom value="x"/><active value="true"/><name><nom value="x"/></name><active value="true"/>'
    with pytest.raises(errors.Invalid) as refused:
        xml.read(document(wrong), definitions)
    places = [one.expression for one in refused.value.issues]
    assert places == ["Patient.nom", "Patient.name[0].nom", "Patient.active"]
    with pytest.raises(errors.Invalid) as refused:
        xml.read(document("<name><nom/></name>" * 1000), definitions)
    assert len(refused.value.issues) == xml.MOST_PROBLEMS


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"   ",
        b"{}",
        b"<Patient",
        b"<Patient/>",
        b'<Patient xmlns="http://hl7.org/fhir">',
        b'<Patiant xmlns="http://hl7.org/fhir"/>',
        b'<HumanName xmlns="http://hl7.org/fhir"/>',
        b'<Patient xmlns="http://hl7.org/fhir"/>after',
        b'<Patient xmlns="http://hl7.org/fhir"><id value="&nbsp;"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><id value="\xe9"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><id value="a&#0;"/></Patient>',
        b'<!DOCTYPE Patient><Patient xmlns="http://hl7.org/fhir"/>',
        b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><Patient xmlns="http://hl7.org/fhir">&e;</Patient>',
        '<?xml version="1.0" encoding="UTF-16"?><Patient xmlns="http://hl7.org/fhir"/>'.encode("utf-16"),
    ],
)
def test_bytes_that_are_no_safe_document_are_refused(definitions: load.Definitions, data: bytes) -> None:
    with pytest.raises(errors.Unreadable) as refused:
        xml.read(data, definitions)
    assert refused.value.message.startswith("XML")
    assert "root:" not in refused.value.message


def test_a_declared_encoding_cannot_hide_a_doctype(definitions: load.Definitions) -> None:
    """The document is read as UTF-8 whatever it declares, so the search for DOCTYPE sees what the parser sees."""
    hidden = '<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE a+AD4-' + document("").decode()
    with pytest.raises(errors.Unreadable):
        xml.read(hidden.encode(), definitions)


def test_depth_and_size_are_limited(definitions: load.Definitions) -> None:
    def nested(depth: int) -> bytes:
        return document('<extension url="a">' * depth + "</extension>" * depth)

    assert xml.read(nested(100), definitions)["resourceType"] == "Patient"
    for depth in (150, 100_000):
        with pytest.raises(errors.Unreadable):
            xml.read(nested(depth), definitions)
    with pytest.raises(errors.TooLarge):
        xml.read(b" " * (xml.MAX_BYTES + 1), definitions)


def test_an_invalid_resource_is_not_written(definitions: load.Definitions) -> None:
    wrongs: list[dict[str, Any]] = [
        {"surname": "x"},
        {"name": [{"_firstname": {}}]},
        {"text": {"div": "<div>&nbsp;</div>"}},
    ]
    for wrong in wrongs:
        with pytest.raises(errors.Invalid):
            xml.write({"resourceType": "Patient", **wrong}, definitions)


def test_a_decimal_too_long_to_compute_with_stays_text(definitions: load.Definitions) -> None:
    data = document('<valueQuantity><value value="1E9999999"/></valueQuantity>', "Observation")
    assert xml.read(data, definitions)["valueQuantity"]["value"] == "1E9999999"
    data = document('<valueQuantity><value value="1.0E5"/></valueQuantity>', "Observation")
    assert xml.read(data, definitions)["valueQuantity"]["value"] == Decimal("1.0E5")

"""Does a FHIRPath Patch do what R4 fhirpatch.html says?"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from common import errors
from fhir_server import fhirpath_patch
from fhir_server.r4 import load

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "a",
    "birthDate": "1980",
    "_birthDate": {"extension": [{"url": "http://x.test/e", "valueString": "vers"}]},
    "name": [
        {"use": "usual", "given": ["Do"]},
        {"use": "official", "family": "Pat-Trois", "given": ["Dominique", "Jo"], "_given": [None, {"id": "g2"}]},
    ],
    "identifier": [
        {"system": "http://x.test/a", "value": "1"},
        {"system": "http://x.test/b", "value": "1"},
        {"system": "http://x.test/a", "value": "2"},
    ],
    "extension": [
        {"url": "http://x.test/c", "valueCode": "x"},
        {"url": "http://x.test/d", "extension": [{"url": "in", "valueBoolean": True}]},
    ],
    "deceasedBoolean": False,
}


def operation(type: str, path: str, *, value: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    for name, one in more.items():
        parts.append({"name": name, "valueString" if isinstance(one, str) else "valueInteger": one})
    if value is not None:
        parts.append({"name": "value", **value})
    return {"name": "operation", "part": parts}


def patched(definitions: load.Definitions, *operations: dict[str, Any], of: dict[str, Any] = PATIENT) -> dict[str, Any]:
    read = fhirpath_patch.read({"resourceType": "Parameters", "parameter": list(operations)})
    return fhirpath_patch.apply(copy.deepcopy(of), read, definitions.elements)


def test_add_appends_to_a_list_and_sets_what_is_not_there(definitions: load.Definitions) -> None:
    done = patched(
        definitions,
        operation("add", "Patient", name="gender", value={"valueCode": "female"}),
        operation("add", "Patient", name="telecom", value={"valueContactPoint": {"system": "phone", "value": "1"}}),
        operation("add", "Patient.name.where(use = 'official')", name="given", value={"valueString": "Max"}),
        operation("add", "Patient", name="contact", value={
            "part": [
                {"name": "name", "valueHumanName": {"text": "Une voisine"}},
                {"name": "relationship", "valueCodeableConcept": {"text": "a"}},
                {"name": "relationship", "valueCodeableConcept": {"text": "b"}},
            ]
        }),
        operation("add", "Patient", name="multipleBirth", value={"valueInteger": 2}),
        operation("add", "Patient", name="contained", value={"resource": {"resourceType": "Basic", "id": "b"}}),
    )  # fmt: skip
    assert (done["gender"], done["multipleBirthInteger"]) == ("female", 2)
    assert done["telecom"] == [{"system": "phone", "value": "1"}]
    assert done["name"][1]["given"] == ["Dominique", "Jo", "Max"]
    assert done["name"][1]["_given"] == [None, {"id": "g2"}, None]
    assert done["contact"] == [{"name": {"text": "Une voisine"}, "relationship": [{"text": "a"}, {"text": "b"}]}]
    assert done["contained"] == [{"resourceType": "Basic", "id": "b"}]


def test_an_extension_can_be_added_to_a_primitive(definitions: load.Definitions) -> None:
    extension = {"valueExtension": {"url": "http://x.test/n", "valueCode": "n"}}
    # Extension is no value[x] of R4's Parameters, but the form that other servers and tests use.
    done = patched(
        definitions,
        operation("add", "Patient.name[1].given[0]", name="extension", value=extension),
        operation("add", "Patient.birthDate", name="extension", value={
            "part": [{"name": "url", "valueUri": "http://x.test/f"}, {"name": "value", "valueCode": "z"}]
        }),
    )  # fmt: skip
    assert done["name"][1]["_given"][0] == {"extension": [extension["valueExtension"]]}
    assert done["_birthDate"]["extension"][1] == {"url": "http://x.test/f", "valueCode": "z"}


def test_insert_puts_at_the_index(definitions: load.Definitions) -> None:
    given = {"valueString": "Zoé"}
    done = patched(
        definitions,
        operation("insert", "Patient.name[1].given", value=given, index=1),
        operation("insert", "Patient.photo", value={"valueAttachment": {"title": "t"}}, index=0),
    )
    assert done["name"][1]["given"] == ["Dominique", "Zoé", "Jo"]
    assert done["name"][1]["_given"] == [None, None, {"id": "g2"}]
    assert done["photo"] == [{"title": "t"}]


def test_delete_takes_one_element_and_what_it_leaves_empty(definitions: load.Definitions) -> None:
    done = patched(
        definitions,
        operation("delete", "Patient.birthDate"),
        operation("delete", "Patient.name[1].given[1]"),
        operation("delete", "Patient.name.first().use"),
        operation("delete", "Patient.name.first().given"),
        operation("delete", "Patient.gender"),
        operation("delete", "Patient.extension('http://x.test/d').extension('in')"),
        operation("delete", "Patient.deceased"),
        operation("delete", "Patient.extension('http://x.test/d').value"),
    )
    assert "birthDate" not in done
    assert "_birthDate" not in done
    assert done["name"] == [{"use": "official", "family": "Pat-Trois", "given": ["Dominique"]}]
    assert "deceasedBoolean" not in done
    assert done["extension"] == [PATIENT["extension"][0], {"url": "http://x.test/d"}]


def test_delete_of_the_extension_of_a_primitive_keeps_its_value(definitions: load.Definitions) -> None:
    done = patched(definitions, operation("delete", "Patient.birthDate.extension('http://x.test/e')"))
    assert done["birthDate"] == "1980"
    assert "_birthDate" not in done


def test_replace_takes_the_place_whatever_the_type_of_a_choice(definitions: load.Definitions) -> None:
    done = patched(
        definitions,
        operation("replace", "Patient.birthDate", value={"valueDate": "1981-01-01"}),
        operation("replace", "Patient.deceased", value={"valueDateTime": "2020"}),
        operation("replace", "Patient.name.where(use='official').given[0]", value={"valueString": "D."}),
        operation("replace", "Patient.extension('http://x.test/c').value", value={"valueString": "y"}),
        operation("replace", "Patient.identifier[1]", value={"valueIdentifier": {"value": "9"}}),
    )
    assert done["birthDate"] == "1981-01-01"
    assert "_birthDate" not in done
    assert (done["deceasedDateTime"], "deceasedBoolean" in done) == ("2020", False)
    assert done["name"][1]["given"] == ["D.", "Jo"]
    assert done["extension"][0] == {"url": "http://x.test/c", "valueString": "y"}
    assert [one["value"] for one in done["identifier"]] == ["1", "9", "2"]


def test_move_changes_the_order_of_one_list(definitions: load.Definitions) -> None:
    done = patched(definitions, operation("move", "Patient.identifier", source=2, destination=0))
    assert [(one["system"][-1], one["value"]) for one in done["identifier"]] == [("a", "2"), ("a", "1"), ("b", "1")]
    names = patched(definitions, operation("move", "Patient.name[1].given", source=1, destination=0))["name"][1]
    assert (names["given"], names["_given"]) == (["Jo", "Dominique"], [{"id": "g2"}, None])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Patient.identifier.where(system = 'http://x.test/a' and value = '2').value", "2"),
        ("identifier.where(system='http://x.test/b' or value='2')[1].value", "2"),
        ("Patient.identifier.where(system != 'http://x.test/a').value", "1"),
        ("Patient.identifier.where((value = '2')).value", "2"),
        ("Patient.identifier.last().value", "2"),
        ("Patient.identifier.skip(1).first().value", "1"),
        ("Patient.identifier.tail().take(1).value", "1"),
        ("Patient.identifier.where(system.endsWith('/b')).value", "1"),
        ("Patient.name.where(family.exists()).family", "Pat-Trois"),
        ("Patient.name.where(given.count() = 2).family", "Pat-Trois"),
        ("Patient.name.where(family.empty().not()).family", "Pat-Trois"),
        ("Patient.name.where($this.use = 'official').family", "Pat-Trois"),
        ("Patient.name.given.where($this = 'Jo')", "Jo"),
        ("(Patient.deceased as boolean)", False),
        ("Patient.deceased.ofType(boolean)", False),
        ("Patient.deceased.ofType(FHIR.boolean)", False),
        ("Resource.extension.where(url='http://x.test/d').extension.value", True),
        ("Patient.`birthDate`", "1980"),
        ("Patient.name.where(given.exists($this = 'Jo')).use", "official"),
        (" Patient . id ", "a"),
    ],
)
def test_paths_find_their_element(definitions: load.Definitions, path: str, value: Any) -> None:
    [one] = fhirpath_patch.read({"parameter": [operation("delete", path)]})
    [place] = fhirpath_patch.Finder(copy.deepcopy(PATIENT), definitions.elements).find(one.path)
    assert place.value == value


@pytest.mark.parametrize(
    "wrong",
    [
        operation("add", "Patient.identifier", name="value", value={"valueString": "x"}),
        operation("add", "Patient.telecom", name="value", value={"valueString": "x"}),
        operation("add", "Patient", name="colour", value={"valueString": "x"}),
        operation("add", "Patient", name="deceased", value={"valueString": "x"}),
        operation("add", "Patient", name="birthDate", value={"valueDate": "1980"}),
        operation("add", "Patient", name="gender", value={}),
        operation("add", "Patient", name="multipleBirth", value={"part": []}),
        operation("add", "Patient", name="contact", value={"part": [{"name": "colour", "valueString": "x"}]}),
        operation("insert", "Patient.identifier", index=4, value={"valueIdentifier": {}}),
        operation("insert", "Patient.birthDate", index=0, value={"valueDate": "1980"}),
        operation("insert", "Patient.identifier[0]", index=0, value={"valueIdentifier": {}}),
        operation("insert", "Patient.name.given", index=0, value={"valueString": "x"}),
        operation("delete", "Patient.identifier"),
        operation("delete", "Patient"),
        operation("delete", "Patient.colour"),
        operation("delete", "Observation.status"),
        operation("replace", "Patient", value={"valueString": "x"}),
        operation("replace", "Patient.gender", value={"valueCode": "female"}),
        operation("replace", "Patient.name", value={"valueHumanName": {}}),
        operation("move", "Patient.identifier", source=3, destination=0),
        operation("move", "Patient.identifier", source=0, destination=3),
        operation("delete", "Patient.name.where(given = 'Do').resolve()"),
        operation("delete", "Patient.name.count()"),
        operation("delete", "Patient.name.where(identifier)"),
        operation("delete", "Patient.identifier.where(system).value"),
    ],
)
def test_what_cannot_be_done_is_refused_and_named(definitions: load.Definitions, wrong: dict[str, Any]) -> None:
    fine = operation("delete", "Patient.gender")
    with pytest.raises(errors.Invalid) as caught:
        patched(definitions, fine, wrong)
    assert caught.value.issues[0].expression == "Parameters.parameter[1]"


@pytest.mark.parametrize(
    "wrong",
    [
        5,
        {"name": "other"},
        {"name": "operation"},
        {"name": "operation", "part": [5]},
        {"name": "operation", "part": [{"name": "type", "valueCode": "delete"}] * 2},
        operation("jump", "Patient"),
        operation("add", "Patient"),
        operation("delete", "Patient.gender", name="x"),
        operation("insert", "Patient.identifier", index=-1, value={}),
        operation("insert", "Patient.identifier", index="x", value={}),
        operation("delete", ""),
        operation("delete", "Patient."),
        operation("delete", "Patient.name["),
        operation("delete", "Patient.name[x]"),
        operation("delete", "Patient.name[-1]"),
        operation("delete", "Patient.name;"),
        operation("delete", "Patient.name given"),
        operation("delete", "'text'"),
        operation("delete", "a = b"),
        operation("delete", "(" * 900),
        operation("delete", "a." * 600),
        {"name": "operation", "part": [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueInteger": 5}]},
    ],
)
def test_what_is_no_patch_is_unreadable(wrong: Any) -> None:
    with pytest.raises(errors.Unreadable) as caught:
        fhirpath_patch.read({"parameter": [operation("delete", "Patient.gender"), wrong]})
    assert caught.value.issues[0].expression == "Parameters.parameter[1]"


def test_a_path_that_looks_at_too_much_is_stopped(definitions: load.Definitions) -> None:
    many = {**PATIENT, "identifier": [{"value": str(number)} for number in range(2000)]}
    slow = operation("delete", "Patient.identifier.where(value = 'none')")
    with pytest.raises(errors.TooLarge):
        patched(definitions, *[slow] * 200, of=many)

"""Is the terminology of R4 had quickly from its packed file, and complete?"""

from __future__ import annotations

from pathlib import Path

from fhir_server import access, store
from fhir_server.terminology import expand, members, package
from fhir_server.terminology.library import Library


def test_the_package_is_packed_once_and_read_piece_by_piece(tmp_path: Path) -> None:
    made = package.opened(tmp_path)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    again = package.opened(tmp_path)
    assert file.stat().st_mtime_ns == written
    assert {kind: len(found) for kind, found in again.table.items()} == {
        "CodeSystem": 1062,
        "ValueSet": 1316,
        "ConceptMap": 80,
    }
    url = "http://hl7.org/fhir/administrative-gender"
    found = again.find("CodeSystem", url, "4.0.1")
    assert found == made.find("CodeSystem", url)
    assert found is not None
    assert [one["code"] for one in found["concept"]] == ["male", "female", "other", "unknown"]
    assert again.find("CodeSystem", url, "9") is None


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    package.opened(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert package.opened(tmp_path).find("ValueSet", "http://hl7.org/fhir/ValueSet/administrative-gender")


async def test_bindings_are_answered_yes_no_or_unknown(record: store.Store) -> None:
    library = Library(record, access.SYSTEM)
    for value_set, system, code, expected in (
        ("administrative-gender", None, "male", True),
        ("administrative-gender", "http://x.test", "male", False),
        ("observation-codes", "http://loinc.org", "8310-5", None),
        ("all-languages", "urn:ietf:bcp:47", "fr-FR", True),
        ("mimetypes", None, "text", False),
        ("no-such-value-set", None, "a", None),
    ):
        found = await members.check(library, f"http://hl7.org/fhir/ValueSet/{value_set}", system, code)
        assert found is expected, value_set


async def test_the_inside_of_a_wide_code_system_is_known(record: store.Store) -> None:
    library = Library(record, access.SYSTEM)
    found = await library.value_set("http://terminology.hl7.org/ValueSet/v3-FamilyMember")
    assert found is not None
    listed = (await expand.expand(library, found)).members
    assert ("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "MTH") in listed

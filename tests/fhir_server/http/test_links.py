"""Are the links of a resource found, and only they?"""

from __future__ import annotations

from typing import Any

from fhir_server import links
from fhir_server.r4 import load

URN = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"


def rewritten(definitions: load.Definitions, resource: dict[str, Any]) -> dict[str, Any]:
    for link in list(links.Walker(definitions.elements).links(resource)):
        link.rewrite({URN: "Patient/1"}.get)
    return resource


def test_a_reference_is_rewritten_and_a_like_looking_identifier_is_not(definitions: load.Definitions) -> None:
    found = rewritten(
        definitions,
        {
            "resourceType": "Observation",
            "identifier": [{"system": "urn:ietf:rfc:3986", "value": URN}],
            "subject": {"reference": URN, "display": URN},
            "valueString": URN,
        },
    )
    assert found["subject"] == {"reference": "Patient/1", "display": URN}
    assert found["identifier"][0]["value"] == found["valueString"] == URN


def test_uri_url_and_canonical_elements_are_rewritten(definitions: load.Definitions) -> None:
    found = rewritten(
        definitions,
        {
            "resourceType": "DocumentReference",
            "content": [{"attachment": {"url": f"{URN}#page=2"}}],
            "extension": [{"url": "http://x.test/e", "valueCanonical": URN}, {"url": URN, "valueCode": URN}],
            "meta": {"profile": [URN, "http://x.test/p"]},
        },
    )
    assert found["content"][0]["attachment"]["url"] == "Patient/1#page=2"
    assert found["extension"] == [
        {"url": "http://x.test/e", "valueCanonical": "Patient/1"},
        {"url": "Patient/1", "valueCode": URN},
    ]
    assert found["meta"]["profile"] == ["Patient/1", "http://x.test/p"]


def test_links_in_contained_resources_primitive_extensions_and_nested_extensions_are_rewritten(
    definitions: load.Definitions,
) -> None:
    found = rewritten(
        definitions,
        {
            "resourceType": "Patient",
            "contained": [{"resourceType": "RelatedPerson", "patient": {"reference": URN}}],
            "_birthDate": {"extension": [{"url": "http://x.test/e", "valueReference": {"reference": URN}}]},
            "extension": [{"url": "http://x.test/a", "extension": [{"url": "http://x.test/b", "valueUri": URN}]}],
            "name": [{"given": ["A"], "_given": [None, {"extension": [{"url": "http://x.test/e", "valueUrl": URN}]}]}],
        },
    )
    assert found["contained"][0]["patient"]["reference"] == "Patient/1"
    assert found["_birthDate"]["extension"][0]["valueReference"]["reference"] == "Patient/1"
    assert found["extension"][0]["extension"][0]["valueUri"] == "Patient/1"
    assert found["name"][0]["_given"][1]["extension"][0]["valueUrl"] == "Patient/1"


def test_links_in_the_narrative_are_rewritten_in_both_quotes(definitions: load.Definitions) -> None:
    div = f"<div><a href=\"{URN}\">{URN}</a><img src='{URN}' alt='{URN}'/><a href='http://x.test'>x</a></div>"
    found = rewritten(definitions, {"resourceType": "Patient", "text": {"status": "generated", "div": div}})
    assert found["text"]["div"] == (
        f"<div><a href=\"Patient/1\">{URN}</a><img src='Patient/1' alt='{URN}'/><a href='http://x.test'>x</a></div>"
    )


def test_bundles_and_parameters_are_walked_into(definitions: load.Definitions) -> None:
    inner = {"resourceType": "Observation", "subject": {"reference": URN}}
    found = rewritten(
        definitions,
        {"resourceType": "Parameters", "parameter": [{"name": "a", "part": [{"name": "b", "resource": inner}]}]},
    )
    assert found["parameter"][0]["part"][0]["resource"]["subject"]["reference"] == "Patient/1"


def test_what_r4_does_not_know_is_passed_over(definitions: load.Definitions) -> None:
    odd: dict[str, Any] = {
        "resourceType": "Patient",
        "unknown": {"reference": URN},
        "name": "not a list",
        "managingOrganization": {"reference": 5},
        "contained": [{"resourceType": "Nothing", "patient": {"reference": URN}}, 7, {"resourceType": ["x"]}],
        "text": {"div": 5},
    }
    assert rewritten(definitions, odd)["unknown"] == {"reference": URN}


def test_a_second_rewrite_starts_from_what_the_client_wrote(definitions: load.Definitions) -> None:
    resource = {"resourceType": "Observation", "subject": {"reference": URN}}
    [link] = links.Walker(definitions.elements).links(resource)
    link.rewrite({URN: "Patient/1"}.get)
    link.rewrite({URN: "Patient/2"}.get)
    assert resource["subject"] == {"reference": "Patient/2"}
    link.rewrite(lambda _: None)
    assert resource["subject"] == {"reference": URN}

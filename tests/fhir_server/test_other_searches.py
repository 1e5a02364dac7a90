"""Searches by place, sound, address, type of identifier and meta, and the order of what they find."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from common import errors
from fhir_server import conditions, index_values
from tests.fhir_server.searching import coded, finds, found, measured, parse

# ---- places ---------------------------------------------------------------------------------------------------------

PARIS = {"position": {"latitude": Decimal("48.8566"), "longitude": Decimal("2.3522")}}


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("48.8566|2.3522", True), ("48.8566|2.3522|0", True), ("48.95|2.3522", False), ("48.94|2.3522", True),
        ("45.7640|4.8357|391|km", False), ("45.7640|4.8357|392|km", True), ("45.7640|4.8357|392", True),
        ("45.7640|4.8357|392000|m", True), ("45.7640|4.8357|243|[mi_i]", False), ("45.7640|4.8357|244|mi", True),
        ("48.8566|2.3522|1|kms", True), ("-48.8566|2.3522|5000", False), ("-48.8566|-177.6478|20016", True),
        ("1|1|1,48.85|2.35|5", True), ("90|0|4600", True), ("90|0|4500", False),
    ],
)  # fmt: skip
def test_places_near_a_point(asked: str, match: bool) -> None:
    assert finds(f"Location?near={asked}", **PARIS) == match


def test_the_line_of_the_date_is_no_border() -> None:
    fiji = {"position": {"latitude": Decimal("-17.0"), "longitude": Decimal("179.9")}}
    assert finds("Location?near=-17|-179.9|25|km", **fiji)
    assert not finds("Location?near=-17|-179.9|20|km", **fiji)
    assert finds("Location?near:missing=false", **fiji)
    assert finds("Location?near:missing=true")
    nowhere = {"position": {"latitude": Decimal("1E+99999999"), "longitude": Decimal(0)}}
    assert not finds("Location?near=0|0|30000", **nowhere)


@pytest.mark.parametrize("asked", ["", "1", "x|1", "91|0", "0|181", "1|1|-1", "1|1|1|kg", "1|1|1|km|x", "1|1|1e999"])
def test_what_is_no_place_is_refused_in_words(asked: str) -> None:
    with pytest.raises(errors.Unreadable, match="near : "):
        parse(f"Location?near={asked}")


@given(
    st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180), st.floats(0, 20_100)
)  # fmt: skip
def test_the_boxes_hold_all_that_is_near(lat: float, lon: float, at: float, on: float, distance: float) -> None:
    assume(all(abs(one) > 1e-9 or one == 0 for one in (lat, lon, at, on, distance)))
    asked = f"{at:.9f}|{on:.9f}|{distance:.9f}"
    position = {"latitude": Decimal(f"{lat:.9f}"), "longitude": Decimal(f"{lon:.9f}")}
    (near,) = parse(f"Location?near={asked}").query.where[0].ways[0]  # type: ignore[union-attr]
    place = [index_values.billionths(position[name]) for name in ("latitude", "longitude")]
    boxed = any(s <= place[0] <= n and w <= place[1] <= e for s, n, w, e in near.boxes)
    if finds(f"Location?near={asked}", position=position):
        assert boxed


# ---- sounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("Dupond", "Dupont"), ("lefebvre", "Lefèvre"), ("Maier", "MEYER"), ("Filip", "Philippe"),
        ("Gautier", "Gauthier"),
        ("Natali", "Nathalie"), ("Rousso", "Rousseau"), ("Smith", "Smyth"), ("Kristof", "Christophe"),
        ("Durand", "Durant"),
        ("muller", "Müller"), ("philippe dupond", "Dupont Filippe"), ("x,durant", "Durand"),
    ],
)  # fmt: skip
def test_names_that_sound_alike(asked: str, name: str) -> None:
    assert finds(f"Patient?phonetic={asked}", name=[{"text": name}])
    assert finds(f"Organization?phonetic={asked}", name=name)


def test_names_that_sound_different() -> None:
    assert not finds("Patient?phonetic=martin", name=[{"family": "Durand", "given": ["Marc"]}])
    assert not finds("Patient?phonetic=anne martin", name=[{"family": "Martin"}])
    assert finds("Patient?phonetic:missing=false", name=[{"family": "Martin"}])
    assert finds("Patient?phonetic:missing=true")


# ---- addresses, types of identifiers --------------------------------------------------------------------------------

TREE = [
    {"resourceType": "ValueSet", "id": id, "url": url}
    for id, url in (
        ("a", "http://x.example/vs"), ("b", "http://x.example/vs/1"), ("c", "http://x.example/vs/1/2"),
        ("d", "http://x.example/vsx"), ("e", "http://x.example/"), ("f", "urn:oid:1.2"), ("g", "urn:oid:1.2.3"),
        ("h", "http://x.example/VS"), ("i", "http://x.example"),
    )
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ("url=http://x.example/vs", "a"), ("url:below=http://x.example/vs", "abc"),
        ("url:below=http://x.example/vs/", "abc"), ("url:below=http://x.example/v", ""),
        ("url:below=http://x.example", "abcdehi"), ("url:above=http://x.example/vs/1/2", "abcei"),
        ("url:above=http://x.example/vs/1/2/3", "abcei"), ("url:above=http://x.example/vsx", "dei"),
        ("url:below=urn:oid:1.2", "f"), ("url:above=urn:oid:1.2.3", "g"),
        ("url:below=http://x.example/vs/1,urn:oid:1.2.3", "bcg"), ("url:missing=true", ""),
    ],
)  # fmt: skip
def test_addresses_above_and_below(asked: str, ids: str) -> None:
    assert "".join(sorted(found(f"ValueSet?{asked}", *TREE))) == ids


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ("_profile=http://x.example/p", "abcd"), ("_profile=http://x.example/p|1.0", "a"),
        ("_profile:below=http://x.example/p", "abcdef"), ("_profile:below=http://x.example/p|1", "abd"),
        ("_profile:below=http://x.example/p|1.0", "a"), ("_profile:above=http://x.example/p|1.0", "abcd"),
        ("_profile:below=http://x.example/p/q", "ef"),
    ],
)  # fmt: skip
def test_profiles_by_version(asked: str, ids: str) -> None:
    profiles = ("p|1.0", "p|1.1", "p|12", "p|1", "p/q", "p/q|1", "px")
    people = [
        {"resourceType": "Patient", "id": id, "meta": {"profile": [f"http://x.example/{profile}"]}}
        for id, profile in zip("abcdefg", profiles, strict=True)
    ]
    assert "".join(sorted(found(f"Patient?{asked}", *people))) == ids


def test_what_the_meta_says_can_be_asked() -> None:
    meta = {
        "source": "http://x.example/feed#1",
        "tag": [{"system": "s", "code": "t"}],
        "security": [{"system": "s", "code": "R"}],
        "profile": ["http://x.example/p"],
    }
    for asked in ("_source=http://x.example/feed#1", "_tag=s|t", "_security=R", "_profile=http://x.example/p"):
        assert finds(f"Patient?{asked}", meta=meta), asked
        assert not finds(f"Patient?{asked}x", meta=meta), asked
        assert not finds(f"Patient?{asked.partition('=')[0]}:missing=true", meta=meta), asked


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("t|MR|123", True), ("t|MR|456", False), ("t|DL|123", False), ("u|MR|123", False), ("|MR|123", False),
        ("t|DL|456", True), ("x|y|z,t|DL|456", True),
    ],
)  # fmt: skip
def test_identifiers_by_their_type(asked: str, match: bool) -> None:
    identifier = [
        {"type": coded("MR", "t"), "system": "a", "value": "123"},
        {"type": coded("DL", "t"), "system": "b", "value": "456"},
        {"value": "789"},
    ]
    assert finds(f"Patient?identifier:of-type={asked}", identifier=identifier) == match


@pytest.mark.parametrize("asked", ["", "a", "a|b", "|b|", "a||c", "a|b|c|d"])
def test_what_is_no_typed_identifier_is_refused_in_words(asked: str) -> None:
    with pytest.raises(errors.Unreadable, match="identifier:of-type : "):
        parse(f"Patient?identifier:of-type={asked}")


# ---- order ----------------------------------------------------------------------------------------------------------


def test_sorting_by_every_kind_of_value() -> None:
    shared = {"resourceType": "Observation"}
    three = [
        {**shared, "id": "a", "status": "final", **measured(5), "subject": {"reference": "Patient/2"}},
        {**shared, "id": "b", "status": "amended", **measured(-7), "subject": {"reference": "Patient/1"}},
        {**shared, "id": "c", "component": [{**measured(9)}, {**measured(1)}]},
    ]
    assert found("Observation?_sort=status", *three) == ["b", "a", "c"]
    assert found("Observation?_sort=-status", *three) == ["a", "b", "c"]
    assert found("Observation?_sort=value-quantity", *three) == ["b", "a", "c"]
    assert found("Observation?_sort=-value-quantity", *three) == ["a", "b", "c"]
    assert found("Observation?_sort=combo-value-quantity", *three) == ["b", "c", "a"]
    assert found("Observation?_sort=-combo-value-quantity", *three) == ["c", "a", "b"]
    assert found("Observation?_sort=subject", *three) == ["b", "a", "c"]
    sets = [{"resourceType": "ValueSet", "id": id, "url": url} for id, url in (("x", "http://b"), ("y", "http://a"))]
    assert found("ValueSet?_sort=url", *sets) == ["y", "x"]


def test_several_codes_count_by_the_smallest_or_the_largest() -> None:
    many = [
        {"resourceType": "Patient", "id": "a", "identifier": [{"value": "2"}, {"value": "8"}]},
        {"resourceType": "Patient", "id": "b", "identifier": [{"value": "3"}, {"value": "5"}]},
    ]
    assert found("Patient?_sort=identifier", *many) == ["a", "b"]
    assert found("Patient?_sort=-identifier", *many) == ["a", "b"]
    assert parse("Patient?_sort=gender,-_id").query.sort[1] == conditions.Sort("id", descending=True)


def test_a_birth_in_a_multiple_birth() -> None:
    assert finds("Patient?birthOrderBoolean=true", multipleBirthBoolean=True)
    assert not finds("Patient?birthOrderBoolean=true", multipleBirthInteger=2)

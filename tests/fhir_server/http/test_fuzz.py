"""Whatever is sent, the answer is an answer: no 5xx, and an OperationOutcome on every error."""

from __future__ import annotations

import asyncio
import shutil
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server import app, store
from fhir_server.r4 import load
from tests.fhir_server.http.callers import OPERATIONS, authenticate
from tests.fhir_server.http.samples import BASE, a_patient, an_observation

# The operation that fails on purpose is not part of this.
SOUND = tuple(one for one in OPERATIONS if one.name != "explode")
FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))

Answer = tuple[int, dict[bytes, bytes], bytes]


class Door:
    """The application on a loop of its own, called as a server would call it."""

    def __init__(self, path: Path, definitions: load.Definitions) -> None:
        self._runner = asyncio.Runner()
        self._store = self._runner.run(store.Store.open(path, definitions, base=BASE))
        self.bugs: list[BaseException] = []
        self._app = app.build_app(
            self._store, authenticate=authenticate, operations=SOUND, on_error=lambda bug, _: self.bugs.append(bug)
        )

    def ask(self, method: str, path: str, *, query: bytes = b"", body: bytes = b"", **headers: bytes) -> Answer:
        """One request; header names are written with underscores."""
        sent: list[Any] = []
        given = {b"host": b"hub.test", b"authorization": b"Bearer system"}
        given |= {name.replace("_", "-").encode(): value for name, value in headers.items()}
        scope = {"type": "http", "method": method, "path": path, "query_string": query, "scheme": "http"}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        self._runner.run(self._app({**scope, "headers": list(given.items())}, receive, send))
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    def check(self, answer: Answer, *, is_head: bool = False) -> None:
        """No bug; errors are outcomes; a header holds no line break."""
        status, headers, body = answer
        assert status < 500, (status, body, self.bugs)
        assert not any(b"\n" in value or b"\r" in value for value in headers.values())
        if status >= 400 and not is_head and b"json" in headers.get(b"content-type", b""):
            assert msgspec.json.decode(body)["resourceType"] == "OperationOutcome"

    def close(self) -> None:
        self._runner.run(self._store.close())
        self._runner.close()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, empty_record: Path, definitions: load.Definitions) -> Iterator[Door]:
    path = tmp_path_factory.mktemp("fuzz") / "record.sqlite"
    shutil.copy(empty_record, path)
    opened = Door(path, definitions)
    opened.ask("PUT", "/fhir/Patient/p", body=msgspec.json.encode(a_patient(id="p")), content_type=b"application/json")
    yield opened
    opened.close()


METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "X"])
WORDS = [
    "Patient",
    "Observation",
    "Binary",
    "Bundle",
    "p",
    "_history",
    "_search",
    "metadata",
    "$double",
    "$touch",
    "*",
    "",
]
SEGMENT = st.one_of(st.sampled_from(WORDS), st.text(max_size=12), st.integers().map(str))
PATHS = st.lists(SEGMENT, max_size=6).map(lambda parts: "/fhir/" + "/".join(parts))
NAMES = ["_id", "family", "birthdate", "identifier", "_sort", "_count", "_include", "_after", "_lastUpdated", "_format"]
PAIR = st.tuples(st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), st.text(max_size=20))
QUERIES = st.one_of(
    st.binary(max_size=60),
    st.lists(PAIR, max_size=4).map(
        lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode("utf-8", "surrogatepass")
    ),
)
HEADER = st.one_of(
    st.binary(max_size=40), st.sampled_from([b"*", b'W/"1"', b"return=minimal", b"application/fhir+xml"])
)
HEADERS = st.dictionaries(
    st.sampled_from(
        "accept content_type if_match if_none_match if_modified_since if_none_exist prefer x_request_id host "
        "authorization content_length content_encoding x_security_context".split()
    ),
    HEADER,
    max_size=4,
)
JSON_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
ELEMENTS = st.sampled_from(
    "id meta text extension name identifier birthDate active gender contact link subject code status value contained "
    "valueQuantity resourceType reference managingOrganization generalPractitioner effectiveDateTime".split()
)
RESOURCES = st.one_of(
    st.dictionaries(ELEMENTS, JSON_VALUE, max_size=6).map(lambda more: {**a_patient(id="p"), **more}),
    st.dictionaries(ELEMENTS, JSON_VALUE, max_size=6).map(lambda more: {**an_observation("Patient/p"), **more}),
    st.dictionaries(ELEMENTS, JSON_VALUE, max_size=6),
)


@FEW
@given(method=METHODS, path=PATHS, query=QUERIES, headers=HEADERS, body=st.binary(max_size=50))
def test_random_requests_never_break_the_server(
    door: Door, method: str, path: str, query: bytes, headers: dict[str, bytes], body: bytes
) -> None:
    door.check(door.ask(method, path, query=query, body=body, **headers), is_head=method == "HEAD")


@FEW
@given(
    url=st.sampled_from(["/fhir/Patient", "/fhir/Observation", "/fhir/Binary", "/fhir", "/fhir/Patient/_search"]),
    content_type=st.sampled_from(
        [b"application/fhir+json", b"application/fhir+xml", b"application/x-www-form-urlencoded"]
    ),
    body=st.binary(max_size=200),
)
def test_random_bodies_never_break_the_server(door: Door, url: str, content_type: bytes, body: bytes) -> None:
    door.check(door.ask("POST", url, body=body, content_type=content_type))


@FEW
@given(
    resource=RESOURCES, method=st.sampled_from(["POST", "PUT"]), accept=st.sampled_from([b"", b"application/fhir+xml"])
)
def test_random_resources_are_taken_or_refused(door: Door, resource: Any, method: str, accept: bytes) -> None:
    url = "/fhir/Patient/p" if method == "PUT" else f"/fhir/{'Observation' if 'code' in resource else 'Patient'}"
    body = msgspec.json.encode(resource)
    door.check(door.ask(method, url, body=body, content_type=b"application/fhir+json", accept=accept))
    door.check(door.ask("GET", "/fhir/Patient/p", accept=accept))


@FEW
@given(
    kind=st.sampled_from(["transaction", "batch"]),
    entries=st.lists(
        st.fixed_dictionaries(
            {
                "request": st.fixed_dictionaries(
                    {
                        "method": st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"]),
                        "url": st.sampled_from(
                            ["Patient", "Patient/p", "Observation", "Patient?_id=p", "", "$double", "x/y"]
                        ),
                    },
                    optional={
                        "ifMatch": st.text(max_size=6),
                        "ifNoneExist": st.sampled_from(["_id=p", "", "?", "é=1"]),
                    },
                )
            },
            optional={
                "resource": RESOURCES,
                "fullUrl": st.sampled_from(["urn:uuid:1", "Patient/p", "http://x/Patient/p", ""]),
            },
        ),
        max_size=4,
    ),
)
def test_random_bundles_are_taken_or_refused(door: Door, kind: str, entries: list[Any]) -> None:
    body = msgspec.json.encode({"resourceType": "Bundle", "type": kind, "entry": entries})
    status, _, answer = found = door.ask("POST", "/fhir", body=body, content_type=b"application/fhir+json")
    door.check(found)
    if status == 200:
        assert len(msgspec.json.decode(answer).get("entry", ())) == len(entries)


@FEW
@given(query=QUERIES, lenient=st.booleans())
def test_random_searches_are_answered_or_refused(door: Door, query: bytes, lenient: bool) -> None:
    prefer = b"handling=lenient" if lenient else b"handling=strict"
    for type in ("Patient", "Observation"):
        door.check(door.ask("GET", f"/fhir/{type}", query=query, prefer=prefer))


PATIENT = msgspec.json.encode(a_patient(id="p"))
POINTERS = st.lists(st.one_of(ELEMENTS, st.sampled_from(["0", "1", "-", "div", "family"])), max_size=4).map(
    lambda steps: "".join(f"/{step}" for step in steps)
)
PATCH_VALUES = st.one_of(JSON_VALUE, st.sampled_from([{"reference": "Patient?_id=p"}, [{"family": "A"}], "1980"]))
JSON_PATCHES = st.lists(
    st.one_of(
        JSON_VALUE,
        st.fixed_dictionaries(
            {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": POINTERS},
            optional={"value": PATCH_VALUES, "from": POINTERS},
        ),
    ),
    max_size=4,
)
PATH_PARTS = st.sampled_from(
    "Patient . name birthDate [0] where ( ) 'x' = and given extension('x') first() exists() value as ofType(string) "
    "$this $ % @2020 meta contained resolve()".split()
)
PATCH_PATHS = st.one_of(
    st.sampled_from(["Patient", "Patient.name", "Patient.name[0].given", "Patient.birthDate", "Patient.extension"]),
    st.lists(PATH_PARTS, max_size=6).map("".join),
    st.text(max_size=10),
)
PART = st.one_of(
    st.fixed_dictionaries({"name": st.just("path"), "valueString": PATCH_PATHS}),
    st.fixed_dictionaries(
        {"name": st.just("type"), "valueCode": st.sampled_from(["add", "insert", "delete", "replace", "move", "x"])}
    ),
    st.fixed_dictionaries({"name": st.just("name"), "valueString": ELEMENTS}),
    st.fixed_dictionaries(
        {"name": st.just("value")},
        optional={"valueString": JSON_VALUE, "_valueString": JSON_VALUE, "resource": RESOURCES, "part": JSON_VALUE},
    ),
    st.fixed_dictionaries(
        {"name": st.sampled_from(["index", "source", "destination"]), "valueInteger": st.integers(-1, 2)}
    ),
)
FHIRPATH_PATCHES = st.lists(
    st.fixed_dictionaries({"name": st.just("operation"), "part": st.lists(PART, max_size=5)}), max_size=3
).map(lambda found: {"resourceType": "Parameters", "parameter": found})


@FEW
@given(patch=st.one_of(JSON_PATCHES, JSON_VALUE))
def test_random_json_patches_are_taken_or_refused(door: Door, patch: Any) -> None:
    door.ask("PUT", "/fhir/Patient/p", body=PATIENT, content_type=b"application/json")
    body = msgspec.json.encode(patch)
    for query in (b"", b"_id=p"):
        url = "/fhir/Patient" if query else "/fhir/Patient/p"
        door.check(door.ask("PATCH", url, query=query, body=body, content_type=b"application/json-patch+json"))
    data = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": b64encode(body).decode()}
    entry = {"request": {"method": "PATCH", "url": "Patient/p"}, "resource": data}
    sent = msgspec.json.encode({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    door.check(door.ask("POST", "/fhir", body=sent, content_type=b"application/fhir+json"))
    read = door.ask("GET", "/fhir/Patient/p")
    assert (read[0], msgspec.json.decode(read[2])["id"]) == (200, "p")


@FEW
@given(patch=st.one_of(FHIRPATH_PATCHES, JSON_VALUE))
def test_random_fhirpath_patches_are_taken_or_refused(door: Door, patch: Any) -> None:
    door.ask("PUT", "/fhir/Patient/p", body=PATIENT, content_type=b"application/json")
    body = msgspec.json.encode(patch)
    door.check(door.ask("PATCH", "/fhir/Patient/p", body=body, content_type=b"application/fhir+json"))
    entry = {"request": {"method": "PATCH", "url": "Patient?_id=p"}, "resource": patch}
    sent = msgspec.json.encode({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    door.check(door.ask("POST", "/fhir", body=sent, content_type=b"application/fhir+json"))

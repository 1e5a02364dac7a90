"""What a caller may not see does not exist: every answer is the same as for an id that nobody uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir_server import access, store
from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import a_patient, bundle, entry, issue

Client = httpx.AsyncClient
Ask = Callable[[Client, str], Any]

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)

UNKNOWN = "unknown-1"
KINDS = ["given", "chosen", "deleted"]
ETAGS = [{}, {"If-Match": 'W/"1"'}, {"If-Match": 'W/"7"'}, {"If-Match": "*"}, {"If-None-Match": "*"}]
CONDITIONS = [{}, {"ifMatch": 'W/"1"'}, {"ifMatch": 'W/"7"'}, {"ifMatch": "*"}, {"ifNoneMatch": "*"}]
READS = ["", "/_history/1", "/_history/2", "/_history/9", "/_history", "/_history?_count=1", "/_history?_before=1"]


def _put(headers: dict[str, str], **more: Any) -> Ask:
    return lambda client, id: client.put(f"/Patient/{id}", json=a_patient(id=id, **more), headers=headers)


def _read(method: str, tail: str, headers: dict[str, str]) -> Ask:
    return lambda client, id: client.request(method, f"/Patient/{id}{tail}", headers=headers)


def _bundle(kind: str, method: str, condition: dict[str, str]) -> Ask:
    def ask(client: Client, id: str) -> Any:
        resource = (
            a_patient(id=id) if method == "PUT" else {"resourceType": "Parameters"} if method == "PATCH" else None
        )
        extra = entry("POST", "Patient", a_patient())
        return client.post("", json=bundle(kind, entry(method, f"Patient/{id}", resource, **condition), extra))

    return ask


def _patch(headers: dict[str, str], url: str = "/Patient/{id}") -> Ask:
    sent = {"content": b"[]", "headers": {"Content-Type": "application/json-patch+json", **headers}}
    return lambda client, id: client.patch(url.format(id=id), **sent)


def _delete_found(client: Client, id: str) -> Any:
    return client.delete(f"/Patient?_id={id}")


ASKED: dict[str, Ask] = {
    **{f"PUT {one}": _put(one) for one in ETAGS},
    **{f"PATCH {one}": _patch(one) for one in ETAGS},
    "conditional PATCH": _patch({}, "/Patient?_id={id}"),
    "conditional DELETE": _delete_found,
    "PUT that is not valid": _put({}, gender="robot"),
    **{f"{method} {tail}": _read(method, tail, {}) for method in ("GET", "HEAD") for tail in READS},
    "GET If-None-Match": _read("GET", "", {"If-None-Match": 'W/"1"'}),
    "GET If-Modified-Since": _read("GET", "", {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}),
    **{f"DELETE {one}": _read("DELETE", "", one) for one in ETAGS},
    "DELETE told": _read("DELETE", "", {"Prefer": "return=OperationOutcome"}),
    **{f"{kind} PUT {one}": _bundle(kind, "PUT", one) for kind in ("batch", "transaction") for one in CONDITIONS},
    **{f"{kind} PATCH {one}": _bundle(kind, "PATCH", one) for kind in ("batch", "transaction") for one in CONDITIONS},
    **{f"{kind} DELETE {one}": _bundle(kind, "DELETE", one) for kind in ("batch", "transaction") for one in CONDITIONS},
    **{f"{kind} GET": _bundle(kind, "GET", {}) for kind in ("batch", "transaction")},
}


@pytest.fixture
async def hidden(fhir: Client) -> dict[str, str]:
    """Patients that only the system sees, by how they came to be: two versions each."""
    created = (await fhir.post("/Patient", json=a_patient())).json()["id"]
    found = {"given": created, "chosen": "chosen-1", "deleted": "deleted-1"}
    for id in found.values():
        for active in (True, False):
            await fhir.put(f"/Patient/{id}", json=a_patient(id=id, active=active))
    await fhir.put("/Patient/chosen-1", json=a_patient(id="chosen-1", active=True))
    await fhir.delete("/Patient/deleted-1")
    return found


def _told(answer: httpx.Response, id: str) -> tuple[int, list[tuple[str, str]], str]:
    """Everything that the client receives, but for what is never twice the same: ids and times."""
    made = {id: "ID", answer.headers["x-request-id"]: "REQUEST"}
    if answer.content and answer.json()["resourceType"] == "Bundle":
        for one in answer.json().get("entry", ()):
            if location := one["response"].get("location"):
                made[location.split("/")[-3]] = "NEW"
                made[one["response"]["lastModified"]] = "NOW"
    text = answer.text
    for given, name in made.items():
        text = text.replace(given, name)
    headers = [(name, value) for name, value in answer.headers.items() if name not in ("date", "x-request-id")]
    # Ids differ in length.
    shown = [(name, "" if name == "content-length" else value) for name, value in headers]
    return answer.status_code, shown, text


@pytest.mark.parametrize("kind", KINDS)
async def test_the_unseen_and_the_unknown_have_the_same_answers(
    as_: Callable[..., Client], record: store.Store, hidden: dict[str, str], kind: str
) -> None:
    id, nadia = hidden[kind], as_("nadia")
    before = await record.history("Patient", id, caller=access.SYSTEM)
    for name, ask in ASKED.items():
        unseen, unknown = await ask(nadia, id), await ask(nadia, UNKNOWN)
        assert _told(unseen, id) == _told(unknown, UNKNOWN), name
    assert await record.history("Patient", id, caller=access.SYSTEM) == before


@pytest.mark.parametrize("headers", ETAGS)
async def test_a_person_chooses_no_id(
    as_: Callable[..., Client], hidden: dict[str, str], headers: dict[str, str]
) -> None:
    for id in (UNKNOWN, *hidden.values()):
        answer = await _put(headers)(as_("nadia"), id)
        assert (answer.status_code, issue(answer)["code"]) == (404, "not-found")
        said = f"Patient/{id} n'existe pas ; l'identifiant est attribué par le serveur : créez par POST"
        assert issue(answer)["details"]["text"] == said
    assert (await _read("GET", "", {})(as_("system"), UNKNOWN)).status_code == 404


async def test_a_person_chooses_no_id_in_a_bundle_either(as_: Callable[..., Client], fhir: Client) -> None:
    batch = (await _bundle("batch", "PUT", {})(as_("nadia"), UNKNOWN)).json()
    assert [one["response"]["status"][:3] for one in batch["entry"]] == ["404", "201"]
    transaction = await _bundle("transaction", "PUT", {})(as_("nadia"), UNKNOWN)
    assert (transaction.status_code, issue(transaction)["expression"]) == (404, ["Bundle.entry[0].resource.id"])
    assert (await fhir.get(f"/Patient/{UNKNOWN}")).status_code == 404


async def test_the_conditions_of_what_a_person_sees_are_told_apart(as_: Callable[..., Client]) -> None:
    nadia = as_("nadia")
    id = (await nadia.post("/Patient", json=a_patient())).json()["id"]
    statuses = [(await _put({"If-None-Match": "*"})(nadia, id)).status_code]
    statuses.append((await _put({"If-Match": 'W/"7"'})(nadia, id)).status_code)
    statuses.append((await _put({"If-Match": 'W/"1"'}, birthDate="1980")(nadia, id)).status_code)
    statuses.append((await nadia.delete(f"/Patient/{id}")).status_code)
    statuses.append((await nadia.get(f"/Patient/{id}")).status_code)
    statuses.append((await _put({})(nadia, id)).status_code)
    assert statuses == [412, 412, 200, 204, 410, 410]


async def test_a_patient_scope_without_a_launch_covers_nothing(as_: Callable[..., Client], fhir: Client) -> None:
    id = (await as_("nadia").post("/Patient", json=a_patient())).json()["id"]
    for method, url in [
        ("GET", f"/Patient/{id}"),
        ("GET", "/Patient"),
        ("POST", "/Patient"),
        ("DELETE", f"/Patient/{id}"),
    ]:
        answer = await as_("launched").request(method, url, json=a_patient())
        assert (answer.status_code, issue(answer)["code"]) == (403, "forbidden"), (method, url)
    assert (await as_("mixed").get("/Patient")).status_code == 403
    assert (await as_("mixed").get("/Observation")).status_code == 200
    assert (await as_("patients").get(f"/Patient/{id}")).status_code == 200
    assert (await as_("reader").get(f"/Patient/{id}")).status_code == 200

"""Bulk import, through HTTP: files of the import folder, lines in the body, what is wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from fhir_server import store
from fhir_server.jobs import aside, importing
from fhir_server.jobs.lines import Line
from tests.fhir_server.http.bulk import ASYNC, NDJSON, exported, finished, lines, ndjson, read, refs, serving
from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import a_patient, an_observation, entries, issue

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)

As = Callable[[str], httpx.AsyncClient]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


@pytest_asyncio.fixture
async def as_(record: store.Store, tmp_path: Path, folder: Path) -> AsyncIterator[As]:
    async with serving(record, tmp_path / "jobs", imports=folder) as clients:
        yield clients


def asked(*inputs: dict[str, str], format: str = "application/fhir+ndjson") -> dict[str, Any]:
    parts = [{"name": "inputFormat", "valueCode": format}]
    made: list[dict[str, Any]] = [
        {"name": "input", "part": [{"name": name, "valueString": value} for name, value in one.items()]}
        for one in inputs
    ]
    return {"resourceType": "Parameters", "parameter": [*parts, *made]}


async def test_lines_in_the_body_keep_their_ids_and_are_found_at_once(as_: As) -> None:
    fhir = as_("system")
    sent = ndjson(a_patient(id="one"), an_observation("Patient/one", id="o"))
    answer = await finished(fhir, await fhir.post("$import", content=sent, headers=NDJSON))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["output"] == [{"inputUrl": "request body", "count": 2}]
    assert told["error"] == []
    found = (await fhir.get("Observation?patient=one")).json()
    assert refs(entries(found)) == ["Observation/o"]
    assert (await fhir.get("Patient/one")).json()["meta"]["versionId"] == "1"


async def test_files_of_the_folder_are_read_by_name(as_: As, folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "p.ndjson").write_bytes(ndjson(a_patient(id="one")) + b"\n")
    (folder / "deep" / "o.ndjson").write_bytes(ndjson(an_observation("Patient/one", id="o")).rstrip())
    fhir = as_("system")
    sent = asked({"type": "Patient", "url": "p.ndjson"}, {"type": "Observation", "url": "file:deep/o.ndjson"})
    answer = await finished(fhir, await fhir.post("$import", json=sent, headers=ASYNC))
    assert [(one["type"], one["count"]) for one in answer.json()["output"]] == [("Patient", 1), ("Observation", 1)]
    assert (await fhir.get("Observation/o")).status_code == 200


async def test_what_is_there_gets_a_new_version_only_when_something_is_new(as_: As) -> None:
    fhir = as_("system")
    await fhir.put("Patient/gone", json=a_patient(id="gone"))
    await fhir.delete("Patient/gone")
    sent = ndjson(a_patient(id="one"), a_patient(id="two"), a_patient(id="one", active=False), a_patient(id="gone"))
    for _ in range(2):
        answer = await finished(fhir, await fhir.post("$import", content=sent, headers=NDJSON))
        assert answer.json()["output"][0]["count"] == 4
    versions = [(await fhir.get(f"Patient/{id}")).json()["meta"]["versionId"] for id in ("one", "two", "gone")]
    assert versions == ["4", "1", "3"]  # "one" went back and forth
    assert (await fhir.get("Patient/one")).json()["active"] is False


async def test_wrong_lines_are_told_by_number_and_stop_no_other(as_: As) -> None:
    fhir = as_("system")
    wrong = [
        b'{"resourceType": "Patient", "id": "a", "gender": "blue"}\n',
        b"not json\n",
        b"\n",
        b'{"resourceType": "Fridge", "id": "a"}\n',
        b'{"resourceType": "Patient"}\n',
        b'{"resourceType": "Patient", "id": "a/b"}\n',
    ]
    sent = ndjson(*(a_patient(id=f"p{n}") for n in range(500))) + b"".join(wrong) + ndjson(a_patient(id="last"))
    answer = await finished(fhir, await fhir.post("$import", content=sent, headers=NDJSON))
    told = answer.json()
    assert told["output"][0]["count"] == 501
    (errors,) = told["error"]
    assert (errors["type"], errors["count"]) == ("OperationOutcome", 5)
    found = list(read((await fhir.get(errors["url"])).content))
    told_lines = [one["issue"][0]["diagnostics"] for one in found]
    assert told_lines == [f"request body: line {n}" for n in (501, 502, 504, 505, 506)]
    assert found[0]["issue"][0]["expression"] == ["Patient.gender"]
    assert (await fhir.get("Patient/last")).status_code == 200


@pytest.mark.parametrize("name", ["nadia", "software"])
async def test_only_those_who_see_everything_import(as_: As, name: str) -> None:
    answer = await as_(name).post("$import", content=ndjson(a_patient(id="x")), headers=NDJSON)
    assert answer.status_code == 403
    assert (await as_("system").get("Patient/x")).status_code == 404


async def test_a_scope_that_only_reads_imports_nothing(as_: As) -> None:
    async def lines_never_read() -> AsyncIterator[bytes]:
        raise AssertionError("nothing is taken from who may create nothing")
        yield b""

    answer = await as_("reader").post("$import", content=lines_never_read(), headers=NDJSON)
    assert answer.status_code == 403
    assert (await as_("system").get("Patient/x")).status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "../x.ndjson",
        "/etc/passwd",
        "file:///etc/passwd",
        "missing.ndjson",
        "https://x.test/p.ndjson",
        "file://h/p",
        "a%00b",
    ],
)
async def test_nothing_outside_the_folder_is_read(as_: As, tmp_path: Path, url: str) -> None:
    (tmp_path / "x.ndjson").write_bytes(ndjson(a_patient(id="x")))
    answer = await as_("system").post("$import", json=asked({"type": "Patient", "url": url}), headers=ASYNC)
    assert answer.status_code == 400
    assert issue(answer)["expression"] == ["Parameters.parameter[1]"]


@pytest.mark.parametrize(
    "sent",
    [
        {"resourceType": "Patient"},
        {"resourceType": "Parameters"},
        asked(),
        asked({"type": "Fridge", "url": "p.ndjson"}),
        asked({"url": "p.ndjson", "colour": "red"}),
        asked({"type": "Patient", "url": "p.ndjson"}, format="text/csv"),
        {"resourceType": "Parameters", "parameter": [{"name": "colour"}, 3]},
    ],
)
async def test_what_cannot_be_followed_is_refused(as_: As, folder: Path, sent: dict[str, Any]) -> None:
    (folder / "p.ndjson").write_bytes(ndjson(a_patient(id="x")))
    answer = await as_("system").post("$import", json=sent, headers=ASYNC)
    assert answer.status_code == 400
    assert issue(answer)["severity"] == "error"


async def test_a_body_larger_than_memory_allows_goes_to_disk_up_to_a_limit(record: store.Store, tmp_path: Path) -> None:
    sent = ndjson(
        *(
            a_patient(
                id=f"p{n}",
                text={"status": "empty", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{"x" * 3000}</div>'},
            )
            for n in range(400)
        )
    )
    assert len(sent) > 1024 * 1024  # what any other request may carry here
    async with serving(record, tmp_path / "jobs") as clients:
        fhir = clients("system")
        answer = await finished(fhir, await fhir.post("$import", content=sent, headers=NDJSON))
        assert answer.json()["output"][0]["count"] == 400
    async with serving(record, tmp_path / "less", upload_bytes=1000) as clients:
        assert (await clients("system").post("$import", content=sent, headers=NDJSON)).status_code == 413
        assert list((tmp_path / "less").iterdir()) == []


async def test_an_import_that_is_stopped_goes_on_where_it_was(
    record: store.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_SAVE_SECONDS", 0)
    monkeypatch.setattr(importing, "BATCH", 50)
    monkeypatch.setattr("fhir_server.jobs.runner._STOP_SECONDS", 0.1)
    commit, commits, is_again = type(record).commit, 0, False

    async def slow(self: store.Store, changes: Any, **more: Any) -> Any:
        nonlocal commits
        commits += 1
        if not is_again and "p500" in {one.id for one in changes}:  # of the eleventh fifty
            await asyncio.sleep(3600)
        return await commit(self, changes, **more)

    monkeypatch.setattr(type(record), "commit", slow)
    sent = b"not json\n" + ndjson(*(a_patient(id=f"p{n}") for n in range(1000)))
    async with serving(record, tmp_path / "jobs") as clients:
        started = await clients("system").post("$import", content=sent, headers=NDJSON)
        said = ""
        for _ in range(500):
            said = (await clients("system").get(started.headers["content-location"])).headers["x-progress"]
            if said == "499 resources imported, 1 refused":
                break
            await asyncio.sleep(0.02)
        assert said == "499 resources imported, 1 refused"  # the ten commits before the one that hangs
    commits, is_again = 0, True
    async with serving(record, tmp_path / "jobs") as clients:
        fhir = clients("system")
        told = (await finished(fhir, started)).json()
        assert (told["output"][0]["count"], told["error"][0]["count"]) == (1000, 1)
        assert commits <= 12  # it has not begun again
        (wrong,) = read((await fhir.get(told["error"][0]["url"])).content)
        assert wrong["issue"][0]["diagnostics"] == "request body: line 1"
        found = await exported(fhir, _type="Patient")
        assert len(await lines(fhir, found["output"])) == 1000


class _Witness(aside.Aside):
    """Tells which of its lines another process read, and can lose it."""

    kills_at = 0

    def __init__(self, store: store.Store) -> None:
        super().__init__(store)
        self.elsewhere: list[bool] = []
        witnesses.append(self)

    async def read(self, lines: Sequence[bytes], type: str | None) -> list[Line]:
        while self._starting and not self._starting.done() and not self.elsewhere:
            await asyncio.sleep(0.01)
        if self.kills_at and len(self.elsewhere) >= self.kills_at and self._process and self._is_ready:
            self._process.kill()
            await self._process.wait()
        found = await super().read(lines, type)
        self.elsewhere.append(self._is_ready)
        return found


witnesses: list[_Witness] = []


@pytest.mark.parametrize("kills_at", [0, 2])
async def test_a_large_file_is_read_beside_the_server_and_here_when_that_process_dies(
    as_: As, monkeypatch: pytest.MonkeyPatch, kills_at: int
) -> None:
    witnesses.clear()
    monkeypatch.setattr(_Witness, "kills_at", kills_at)
    monkeypatch.setattr(importing, "Aside", _Witness)
    monkeypatch.setattr(importing, "WORTH_A_PROCESS", 1000)
    monkeypatch.setattr(importing, "BATCH", 20)
    fhir = as_("system")
    system = "urn:oid:1.2.250.1.999.1.1"
    made = [a_patient(id=f"p{n}", identifier=[{"system": system, "value": f"{n:05d}"}]) for n in range(100)]
    sent = ndjson(*made[:50]) + b'{"resourceType": "Patient", "id": "a", "gender": "blue"}\n' + ndjson(*made[50:])
    told = (await finished(fhir, await fhir.post("$import", content=sent, headers=NDJSON))).json()
    assert told["output"][0]["count"] == 100
    (wrong,) = read((await fhir.get(told["error"][0]["url"])).content)
    assert wrong["issue"][0]["diagnostics"] == "request body: line 51"
    assert wrong["issue"][0]["expression"] == ["Patient.gender"]
    stored = (await fhir.get("Patient/p7")).json()
    assert {name: value for name, value in stored.items() if name != "meta"} == {**made[7], "id": "p7"}
    assert stored["meta"]["versionId"] == "1"
    since = stored["meta"]["lastUpdated"]
    assert since > "2020"
    assert refs(entries((await fhir.get("Patient?identifier=00007")).json())) == ["Patient/p7"]
    assert (await fhir.get(f"Patient?_lastUpdated=lt{since}&_summary=count")).json()["total"] < 100
    (witness,) = witnesses
    assert witness.elsewhere[:2] == [True, True]
    assert all(witness.elsewhere) is not bool(kills_at)
    assert witness._process and witness._process.returncode is not None  # it ended with the import


async def test_five_thousand_resources_go_in_and_come_out(as_: As) -> None:
    fhir = as_("system")
    made = [a_patient(id=f"p{n}") for n in range(500)]
    made += [an_observation(f"Patient/p{n % 500}", id=f"o{n}") for n in range(4500)]
    answer = await finished(fhir, await fhir.post("$import", content=ndjson(*made), headers=NDJSON), seconds=100)
    assert answer.json()["output"][0]["count"] == 5000
    told = await exported(fhir, "Patient/$export")
    found = await lines(fhir, told["output"])
    assert refs(found) == refs(made)
    without = [{name: value for name, value in one.items() if name != "meta"} for one in found]
    assert sorted(map(str, without)) == sorted(str({**one, "id": one["id"]}) for one in _in_order(made))


def _in_order(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With resourceType and id first, as stored."""
    first = ("resourceType", "id")
    return [
        {**{name: one[name] for name in first}, **{n: v for n, v in one.items() if n not in first}} for one in resources
    ]

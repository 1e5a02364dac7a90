"""The calls of a benchmark: the same for everyone who is measured, and good FHIR."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from bench import record, workload

KNOWN = workload.Known(
    patients=tuple(f"p{number}" for number in range(20)),
    observations=tuple(f"o{number}" for number in range(20 * workload.OBSERVATIONS_PER_PATIENT)),
    identifiers=("s|1", "s|2"),
    families=("A",),
)


@pytest.mark.parametrize("case", [*record.ASKING, *record.WRITING])
def test_the_same_seed_gives_the_same_calls_and_another_seed_others(case: str) -> None:
    first = workload.calls(case, KNOWN, count=20, seed=1)
    assert first == workload.calls(case, KNOWN, count=20, seed=1)
    assert first != workload.calls(case, KNOWN, count=20, seed=2) or case in ("search_name", "chain")


def test_a_population_is_loaded_by_transactions_of_fifty_resources() -> None:
    bundles = [json.loads(call.body) for call in workload.loading(20)]
    assert [len(one["entry"]) for one in bundles] == [workload.BUNDLE] * 4
    kinds = Counter(entry["resource"]["resourceType"] for one in bundles for entry in one["entry"])
    assert kinds == {"Patient": 20, "Observation": 180}


def test_the_ids_of_a_server_are_taken_from_its_answers_in_order() -> None:
    places = ["Patient/a/_history/1", "http://host/fhir/Observation/b/_history/1", "Patient/c/_history/1"]
    answer = {"entry": [{"response": {"status": "201", "location": place}} for place in places]}
    known = workload.known(2, [answer])
    assert (known.patients, known.observations) == (("a", "c"), ("b",))
    assert known.identifiers[1] == f"{workload.IDENTIFIERS}|000000001"


def test_an_update_keeps_the_patient_of_its_observation() -> None:
    for call in workload.calls("update", KNOWN, count=50, seed=3):
        body = json.loads(call.body)
        number = int(body["id"][1:])
        assert call.target == f"/Observation/o{number}"
        assert body["subject"]["reference"] == f"Patient/p{number // workload.OBSERVATIONS_PER_PATIENT}"


def test_seven_patients_share_a_family_name() -> None:
    names = Counter(workload.patient(number)["name"][0]["family"] for number in range(700))
    assert set(names.values()) == {7}

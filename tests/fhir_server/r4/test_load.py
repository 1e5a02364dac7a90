"""The definitions come from the installed package, are complete, and are cached for processes that start together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fhir_server.r4 import elements, load

ROOT = Path(__file__).parents[3]


def test_all_146_concrete_resource_types_are_known(definitions: load.Definitions) -> None:
    assert len(definitions.types) == 146
    assert {"Patient", "Observation", "Bundle", "Parameters", "Binary"} <= set(definitions.types)
    assert not {"Resource", "DomainResource"} & set(definitions.types)


def test_the_cache_can_be_built_in_a_process_of_its_own(tmp_path: Path, definitions: load.Definitions) -> None:
    load.prepare(tmp_path)
    [cached] = tmp_path.iterdir()
    written = cached.stat().st_mtime_ns
    load.prepare(tmp_path)
    assert load.definitions(tmp_path).elements == definitions.elements
    assert cached.stat().st_mtime_ns == written


def test_every_type_that_an_element_may_have_has_its_table(definitions: load.Definitions) -> None:
    used = {kind.structure for table in definitions.elements.values() for one in table.elements for kind in one.types}
    assert used - definitions.elements.keys() == set()


def test_a_table_keeps_order_cardinality_choice_binding_and_targets(definitions: load.Definitions) -> None:
    patient = {one.name: one for one in definitions.elements["Patient"].elements}
    assert list(patient)[:8] == [
        "id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension",
    ]  # fmt: skip
    assert patient["id"].types == (elements.Type("id", "id"),)
    assert patient["name"].many
    assert not patient["gender"].many
    assert patient["gender"].binding == "http://hl7.org/fhir/ValueSet/administrative-gender"
    assert [name for name, _ in elements.json_names(patient["deceased"])] == ["deceasedBoolean", "deceasedDateTime"]
    [practitioner] = patient["generalPractitioner"].types
    assert set(practitioner.targets) == {"Organization", "Practitioner", "PractitionerRole"}
    assert patient["active"].summary
    assert patient["active"].modifier
    observation = {one.name: one for one in definitions.elements["Observation"].elements}
    assert observation["status"].min == observation["code"].min == 1


def test_a_reused_structure_points_to_its_first_definition(definitions: load.Definitions) -> None:
    items = {one.name: one for one in definitions.elements["Questionnaire.item"].elements}
    assert items["item"].types[0].structure == "Questionnaire.item"


def test_a_simple_quantity_has_no_comparator(definitions: load.Definitions) -> None:
    assert "comparator" in {one.name for one in definitions.elements["Quantity"].elements}
    assert "comparator" not in {one.name for one in definitions.elements["SimpleQuantity"].elements}


def test_required_value_sets_are_expanded_except_those_that_nobody_can_list(definitions: load.Definitions) -> None:
    wanted = {one.binding for table in definitions.elements.values() for one in table.elements if one.binding}
    left_out = {url.rpartition("/")[2] for url in wanted - definitions.value_sets.keys()}
    assert left_out == {"currencies", "mimetypes", "ucum-units", "LL379-9"}
    assert definitions.value_sets["http://hl7.org/fhir/ValueSet/administrative-gender"] == {
        "http://hl7.org/fhir/administrative-gender": frozenset({"male", "female", "other", "unknown"})
    }


def test_every_cycle_of_types_passes_an_edge_that_is_counted(definitions: load.Definitions) -> None:
    """Otherwise a hostile body could nest without limit."""
    below = {
        name: {kind.structure for one in table.elements for kind in one.types if not elements.nests(name, kind)}
        for name, table in definitions.elements.items()
        if table.kind != "primitive"
    }
    while free := {name for name, children in below.items() if not children & below.keys()}:
        below = {name: children for name, children in below.items() if name not in free}
    assert below == {}


def test_a_second_start_reads_the_cache_and_finds_the_same(definitions: load.Definitions, cache: Path) -> None:
    [file] = cache.iterdir()
    written = file.stat().st_mtime_ns
    again = load.definitions(cache)
    assert file.stat().st_mtime_ns == written
    assert again.types == definitions.types
    assert again.elements == definitions.elements
    assert again.value_sets == definitions.value_sets
    assert again.search == definitions.search


@pytest.mark.parametrize("damage", [b"", msgspec.msgpack.encode({"types": []})], ids=["empty", "other"])
def test_a_damaged_cache_is_built_again(
    definitions: load.Definitions, cache: Path, tmp_path: Path, damage: bytes
) -> None:
    [good] = cache.iterdir()
    (tmp_path / good.name).write_bytes(damage)
    assert load.definitions(tmp_path).types == definitions.types
    assert (tmp_path / good.name).read_bytes() == good.read_bytes()


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert len(load.definitions(tmp_path / "file").types) == 146


def test_processes_that_start_together_leave_one_whole_file(definitions: load.Definitions, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fhir_server.r4 import load; "
        "print(len(load.definitions(Path(sys.argv[1])).types))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [one.communicate()[0].strip() for one in running] == [b"146"] * 3
    assert len(list(tmp_path.iterdir())) == 1
    assert load.definitions(tmp_path).elements == definitions.elements


def test_the_cache_is_in_the_user_s_cache_folder_and_the_library_is_never_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from fhir_server.r4 import load; load.definitions(); "
        "print([name for name in sys.modules if name.startswith('google')])"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
    assert len(list((tmp_path / "spico-hub").glob("r4-*.msgpack"))) == 1


def test_raw_definitions_are_at_hand() -> None:
    assert len(load.raw_search_parameters()) == 1400
    assert {one["code"] for one in load.raw_compartments()} >= {"Patient", "Encounter", "Practitioner"}

"""Which rows a ViewDefinition makes: one test for each thing that SQL on FHIR v2 describes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from common import errors
from fhir_server import views
from fhir_server.fhirpath.parse import Unusable
from fhir_server.r4 import load

PATIENTS: list[dict[str, Any]] = [
    {
        "resourceType": "Patient", "id": "un", "active": True, "birthDate": "1980-05-11",
        "name": [{"family": "Pat-Un", "given": ["Ana", "Lou"], "use": "official"}, {"given": ["Nana"], "use": "usual"}],
        "telecom": [{"system": "phone", "value": "01"}, {"system": "email", "value": "a@x.test"}],
        "managingOrganization": {"reference": "Organization/org"},
        "contact": [{"name": {"family": "Mère"}, "telecom": [{"system": "phone", "value": "02"}]}],
    },
    {"resourceType": "Patient", "id": "deux", "active": False, "name": [{"family": "Pat-Deux"}]},
    {"resourceType": "Patient", "id": "trois"},
]  # fmt: skip
NOW = datetime(2026, 11, 25, tzinfo=UTC)

Rows = list[dict[str, Any]]


def column(*names: str, **paths: str) -> list[dict[str, str]]:
    return [{"name": one, "path": one} for one in names] + [{"name": one, "path": path} for one, path in paths.items()]


def view(*select: dict[str, Any], resource: str = "Patient", **more: Any) -> dict[str, Any]:
    return {"resourceType": "ViewDefinition", "status": "active", "resource": resource, "select": list(select), **more}


def rows(definitions: load.Definitions, definition: dict[str, Any], resources: Rows | None = None) -> Rows:
    return list(views.compile(definition, definitions).rows(resources or PATIENTS, now=NOW))


def test_columns_are_values_of_paths_and_null_where_there_is_none(definitions: load.Definitions) -> None:
    found = rows(definitions, view({"column": column("id", "birthDate", family="name.first().family")}))
    assert found == [
        {"id": "un", "birthDate": "1980-05-11", "family": "Pat-Un"},
        {"id": "deux", "birthDate": None, "family": "Pat-Deux"},
        {"id": "trois", "birthDate": None, "family": None},
    ]


def test_resources_of_other_types_give_no_row(definitions: load.Definitions) -> None:
    assert rows(definitions, view({"column": column("id")}, resource="Observation")) == []


def test_where_keeps_what_holds(definitions: load.Definitions) -> None:
    definition = view({"column": column("id")}, where=[{"path": "active.exists()"}, {"path": "active"}])
    assert rows(definitions, definition) == [{"id": "un"}]
    with pytest.raises(Unusable, match="booléen"):
        rows(definitions, view({"column": column("id")}, where=[{"path": "name.family"}]))


def test_for_each_gives_a_row_for_each_element_and_none_without(definitions: load.Definitions) -> None:
    each = {"forEach": "name", "column": column("use", "family")}
    assert rows(definitions, view({"column": column("id")}, each)) == [
        {"id": "un", "use": "official", "family": "Pat-Un"},
        {"id": "un", "use": "usual", "family": None},
        {"id": "deux", "use": None, "family": "Pat-Deux"},
    ]


def test_for_each_or_null_keeps_resources_without_the_element(definitions: load.Definitions) -> None:
    each = {"forEachOrNull": "name.given", "column": column(given="$this")}
    found = rows(definitions, view({"column": column("id")}, each))
    assert [(one["id"], one["given"]) for one in found] == [
        ("un", "Ana"), ("un", "Lou"), ("un", "Nana"), ("deux", None), ("trois", None),
    ]  # fmt: skip


def test_selects_beside_each_other_multiply(definitions: load.Definitions) -> None:
    found = rows(
        definitions,
        view({"forEach": "name", "column": column("use")}, {"forEach": "telecom", "column": column("system")}),
    )
    assert [(one["use"], one["system"]) for one in found] == [
        ("official", "phone"), ("official", "email"), ("usual", "phone"), ("usual", "email"),
    ]  # fmt: skip


def test_selects_nest_on_the_element_they_stand_in(definitions: load.Definitions) -> None:
    inner = {"forEach": "telecom", "column": column("value")}
    outer = {"forEach": "contact", "column": column(family="name.family"), "select": [inner]}
    assert rows(definitions, view({"column": column("id")}, outer)) == [{"id": "un", "family": "Mère", "value": "02"}]


def test_union_all_puts_rows_after_each_other(definitions: load.Definitions) -> None:
    union = [
        {"forEach": "telecom", "column": column("value")},
        {"forEach": "contact.telecom", "column": column("value")},
    ]
    found = rows(definitions, view({"column": column("id"), "unionAll": union}))
    assert [(one["id"], one["value"]) for one in found] == [("un", "01"), ("un", "a@x.test"), ("un", "02")]


def test_repeat_follows_paths_as_deep_as_they_go(definitions: load.Definitions) -> None:
    answers = {
        "resourceType": "QuestionnaireResponse", "id": "q", "item": [
            {"linkId": "1", "item": [{"linkId": "1.1", "answer": [{"item": [{"linkId": "1.1.1"}]}]}]}, {"linkId": "2"},
        ],
    }  # fmt: skip
    select = {"repeat": ["item", "answer.item"], "column": column("linkId")}
    found = rows(definitions, view(select, resource="QuestionnaireResponse"), [answers])
    assert [one["linkId"] for one in found] == ["1", "1.1", "1.1.1", "2"]


def test_constants_are_variables_of_their_type(definitions: load.Definitions) -> None:
    constants = [
        {"name": "use", "valueCode": "usual"},
        {"name": "limit", "valueDate": "1990-01-01"},
        {"name": "count", "valueInteger": 2},
    ]
    paths = column(given="name.where(use = %use).given", young="birthDate > %limit", many="name.count() = %count")
    [found, *_] = rows(definitions, view({"column": paths}, constant=constants))
    assert found == {"given": "Nana", "young": False, "many": True}


def test_a_collection_is_a_list_and_several_values_need_it(definitions: load.Definitions) -> None:
    given = [{"name": "given", "path": "name.given", "collection": True}]
    assert [one["given"] for one in rows(definitions, view({"column": given}))] == [["Ana", "Lou", "Nana"], [], []]
    with pytest.raises(Unusable, match="collection"):
        rows(definitions, view({"column": column(given="name.given")}))


def test_keys_join_views(definitions: load.Definitions) -> None:
    paths = column(
        key="getResourceKey()",
        org="managingOrganization.getReferenceKey()",
        other="managingOrganization.getReferenceKey(Patient)",
    )
    assert rows(definitions, view({"column": paths}))[0] == {"key": "un", "org": "org", "other": None}


def test_values_of_choices_keep_their_digits(definitions: load.Definitions) -> None:
    observation = {"resourceType": "Observation", "valueQuantity": {"value": Decimal("1.50"), "unit": "g"}}
    paths = column(value="value.ofType(Quantity).value", low="value.ofType(Quantity).value.lowBoundary(3)")
    found = rows(definitions, view({"column": paths}, resource="Observation"), [observation])
    assert [str(one) for one in found[0].values()] == ["1.50", "1.495"]


BAD: list[tuple[Any, str]] = [
    ("x", "ViewDefinition"),
    ({"resourceType": "Patient"}, "ViewDefinition"),
    (view({"column": column("id")}, resource="Nothing"), "ViewDefinition.resource"),
    (view(), "ViewDefinition.select"),
    (view({"column": column("id")}, {"column": column("id")}), "ViewDefinition.select"),
    (view({"column": column(id="name.(")}), "ViewDefinition.select[0].column[0].path"),
    (view({"column": [{"name": "1x", "path": "id"}]}), "ViewDefinition.select[0].column[0].name"),
    (view({"column": column("id"), "foreach": "name"}), "ViewDefinition.select[0]"),
    (view({"column": column("id"), "forEach": "name", "forEachOrNull": "name"}), "ViewDefinition.select[0]"),
    (view({"unionAll": [{"column": column("id")}, {"column": column("active")}]}), "ViewDefinition.select[0]"),
    (view({"column": column("id")}, constant=[{"name": "x"}]), "ViewDefinition.constant[0]"),
    (view({"column": column("id")}, where=[{}]), "ViewDefinition.where[0].path"),
    (view({"column": column("id")}, whereever=[{}]), "ViewDefinition"),
    (view({"column": "id"}), "ViewDefinition.select[0].column"),
]


@pytest.mark.parametrize(("definition", "place"), BAD)
def test_a_view_that_cannot_be_run_is_refused_with_its_places(
    definitions: load.Definitions, definition: Any, place: str
) -> None:
    with pytest.raises(errors.Unreadable) as caught:
        views.compile(definition, definitions)
    assert place in [one.expression for one in caught.value.issues]


@pytest.mark.parametrize("select", [{"repeat": ["$this"], "column": column("id")}])
def test_a_view_that_never_ends_is_stopped(definitions: load.Definitions, select: dict[str, Any]) -> None:
    with pytest.raises(Unusable):
        rows(definitions, view(select))


def test_rows_do_not_multiply_without_end(definitions: load.Definitions) -> None:
    many = {"resourceType": "Patient", "name": [{"given": ["a"] * 50}] * 50}
    select = [{"forEach": "name.given", "column": column(**{f"c{number}": "$this"})} for number in range(4)]
    with pytest.raises(Unusable):
        rows(definitions, view(*select), [many])

"""What does a GraphQL query select?

https://spec.graphql.org and https://hl7.org/fhir/R4/graphql.html. The text becomes plain selections: variables are put
in, fragments unfolded, @include and @skip decided. Sizes are bounded, since fragments can unfold without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common import errors

if TYPE_CHECKING:
    import graphql

MOST_CHARACTERS = 50_000
MOST_TOKENS = 10_000
MOST_SELECTIONS = 3_000
MOST_LEVELS = 25

# Directive -> the arguments it may have.
_DIRECTIVES: dict[str, frozenset[str]] = {
    "flatten": frozenset(),
    "first": frozenset(),
    "singleton": frozenset(),
    "slice": frozenset({"path", "fhirpath"}),
    "include": frozenset({"if"}),
    "skip": frozenset({"if"}),
}


class Wrong(errors.Unreadable):
    """A query that cannot be answered; `line` and `column` of its place, 0 when it has none."""

    def __init__(self, text: str, place: Place | None = None, *, code: str = "invalid") -> None:
        super().__init__(text, issues=(errors.Issue(text, "", code),))
        self.place = place


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in the text, from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `selections` None: none were asked for, which is right for primitives alone."""

    name: str
    alias: str
    arguments: dict[str, Any]
    directives: dict[str, dict[str, Any]]
    selections: tuple[Selection, ...] | None
    place: Place


@dataclass(frozen=True, slots=True)
class On:
    """Selections for one type only; None for every type."""

    type: str | None
    selections: tuple[Selection, ...]


Selection = Field | On


def read(text: str, variables: dict[str, Any], operation: str | None = None) -> tuple[Selection, ...]:
    """The selections of the query of that name, or of the only one. Raises Wrong."""
    import graphql  # here, because it costs 100 ms that no start-up should pay

    if len(text) > MOST_CHARACTERS:
        raise Wrong(f"requête de plus de {MOST_CHARACTERS} caractères", code="too-costly")
    try:
        document = graphql.parse(text, max_tokens=MOST_TOKENS)
    except graphql.GraphQLError as problem:
        places = problem.locations or []
        raise Wrong("requête GraphQL illisible", Place(*places[0]) if places else None) from None
    except RecursionError:
        raise Wrong("requête imbriquée trop profondément", code="too-costly") from None
    return _Reader(document, variables).query(operation)


class _Reader:
    def __init__(self, document: graphql.DocumentNode, variables: dict[str, Any]) -> None:
        self._fragments: dict[str, Any] = {}
        self._operations: list[Any] = []
        self._given = variables
        self._values: dict[str, Any] = {}
        self._left = MOST_SELECTIONS
        for one in document.definitions:
            if one.kind == "fragment_definition":
                self._fragments[one.name.value] = one  # type: ignore[attr-defined]
            elif one.kind == "operation_definition":
                self._operations.append(one)
            else:
                raise Wrong("seules des requêtes et des fragments sont lus ici", _place(one))

    def query(self, name: str | None) -> tuple[Selection, ...]:
        found = [one for one in self._operations if name is None or (one.name and one.name.value == name)]
        if len(found) != 1:
            raise Wrong("operationName doit désigner une des requêtes" if found else "aucune requête à exécuter")
        [query] = found
        if query.operation.value != "query":
            raise Wrong(
                f"{query.operation.value} n'est pas pris en charge : écrivez par l'API FHIR",
                _place(query),
                code="not-supported",
            )
        for one in query.variable_definitions or ():
            self._define(one)
        self._directives(query)
        return self._selections(query.selection_set, 1, frozenset())

    def _define(self, one: Any) -> None:
        name = one.variable.name.value
        if name in self._given:
            self._values[name] = self._given[name]
        elif one.default_value is not None:
            self._values[name] = self._value(one.default_value)
        elif one.type.kind == "non_null_type":
            raise Wrong(f"variable sans valeur : ${name[:60]}", _place(one), code="required")
        else:
            self._values[name] = None

    def _selections(self, chosen: Any, level: int, inside: frozenset[str]) -> tuple[Selection, ...]:
        if level > MOST_LEVELS:
            raise Wrong(f"requête de plus de {MOST_LEVELS} niveaux", _place(chosen), code="too-costly")
        found: list[Selection] = []
        if not chosen.selections:
            raise Wrong("aucun champ choisi", _place(chosen))
        for one in chosen.selections:
            self._left -= 1
            if self._left < 0:
                raise Wrong(f"plus de {MOST_SELECTIONS} champs", _place(one), code="too-costly")
            directives = self._directives(one)
            if directives.pop("skip", {}).get("if") or not directives.pop("include", {"if": True}).get("if"):
                continue
            if one.kind == "field":
                found.append(self._field(one, directives, level, inside))
            else:
                found.append(self._fragment(one, directives, level, inside))
        return tuple(found)

    def _field(self, one: Any, directives: dict[str, dict[str, Any]], level: int, inside: frozenset[str]) -> Field:
        chosen = one.selection_set
        return Field(
            one.name.value,
            one.alias.value if one.alias else one.name.value,
            self._arguments(one),
            directives,
            self._selections(chosen, level + 1, inside) if chosen else None,
            _place(one),
        )

    def _fragment(self, one: Any, directives: dict[str, Any], level: int, inside: frozenset[str]) -> On:
        if directives:
            raise Wrong("cette directive va sur un champ, pas sur un fragment", _place(one))
        if one.kind == "inline_fragment":
            type = one.type_condition.name.value if one.type_condition else None
            return On(type, self._selections(one.selection_set, level, inside))
        name = one.name.value
        fragment = self._fragments.get(name)
        if fragment is None or name in inside:
            raise Wrong(f"fragment inconnu ou dans lui-même : {name[:60]}", _place(one))
        return On(fragment.type_condition.name.value, self._selections(fragment.selection_set, level, inside | {name}))

    def _directives(self, one: Any) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for each in one.directives or ():
            name = each.name.value
            arguments = self._arguments(each)
            if name not in _DIRECTIVES or not arguments.keys() <= _DIRECTIVES[name]:
                raise Wrong(f"directive inconnue, ou avec un argument inconnu : @{name[:60]}", _place(each))
            if name in ("include", "skip") and not isinstance(arguments.get("if"), bool):
                raise Wrong(f"@{name} demande « if », un booléen", _place(each))
            found[name] = arguments
        return found

    def _arguments(self, one: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for each in one.arguments or ():
            name = each.name.value
            if name in found:
                raise Wrong(f"argument donné deux fois : {name[:60]}", _place(each))
            found[name] = self._value(each.value)
        return found

    def _value(self, node: Any) -> Any:
        match node.kind:
            case "variable":
                name = node.name.value
                if name not in self._values:
                    raise Wrong(f"variable inconnue : ${name[:60]}", _place(node))
                return self._values[name]
            case "list_value":
                return [self._value(one) for one in node.values]
            case "null_value":
                return None
            case "int_value":
                return int(node.value) if len(node.value) <= 18 else node.value
            case "object_value":
                raise Wrong("aucun argument n'est un objet ici", _place(node))
        return node.value  # text, enum, boolean, and decimals with their digits


def _place(node: Any) -> Place:
    start = node.loc.start_token
    return Place(start.line, start.column)

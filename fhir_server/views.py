"""Which rows does a ViewDefinition make of a resource?

SQL on FHIR v2 (https://sql-on-fhir.org/ig/StructureDefinition-ViewDefinition.html#processing-algorithm). A view is
compiled once, with all its problems told at once; then each resource gives its rows: columns beside nested selects
(their product), `forEach` and `repeat` (one row set for each element), `unionAll` (one after the other).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common import errors
from fhir_server.changes import Resource
from fhir_server.fhirpath import evaluate, values
from fhir_server.fhirpath.nodes import Item, Items, Node
from fhir_server.fhirpath.parse import Unusable
from fhir_server.fhirpath.running import Budget, Run, as_json
from fhir_server.r4 import load

MOST_LEVELS = 10
MOST_COLUMNS = 500
MOST_REPEATS = 100
MOST_ROWS = 100_000  # of one resource

Row = dict[str, Any]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,254}", re.ASCII)
_VIEW = frozenset(
    "resourceType id meta implicitRules language text contained extension modifierExtension url identifier version "
    "name title status experimental date publisher contact description useContext jurisdiction purpose copyright "
    "copyrightLabel versionAlgorithmString versionAlgorithmCoding resource profile fhirVersion constant select "
    "where".split()
)
_SELECT = frozenset("id extension modifierExtension column select forEach forEachOrNull repeat unionAll".split())
_COLUMN = frozenset("id extension modifierExtension path name description collection type tag".split())
_MOMENTS = ("Date", "DateTime", "Instant", "Time")


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    path: evaluate.Expression
    is_list: bool


@dataclass(frozen=True, slots=True)
class _Select:
    """One `select`; `names` are all its columns in order, its own first."""

    columns: tuple[_Column, ...]
    selects: tuple[_Select, ...]
    unions: tuple[_Select, ...]
    each: evaluate.Expression | None
    is_outer: bool  # forEachOrNull: a row of nothing where there is no element
    repeats: tuple[evaluate.Expression, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A compiled view: the type it is about and the names of its columns in order."""

    type: str
    names: tuple[str, ...]
    _select: _Select
    _where: tuple[evaluate.Expression, ...]
    _constants: dict[str, Any]
    _definitions: load.Definitions

    def rows(self, resources: Iterable[Resource], *, now: datetime) -> Iterator[Row]:
        """The rows of some resources of the type. Raises Unusable when a path does not fit what it meets."""
        model = evaluate.model(self._definitions)
        budget = Budget()  # for all of them: many resources cost no more than one that is large
        for resource in resources:
            root = model.root(resource)
            if root.type == self.type:
                run = evaluate.run(root, model, now=now, variables=self._constants, budget=budget)
                if all(self._holds(one, root, run) for one in self._where):
                    yield from _rows(self._select, root, run)

    def _holds(self, condition: evaluate.Expression, root: Node, run: Run) -> bool:
        found = [run.model.plain(one) for one in condition.nodes(root, run)]
        if len(found) > 1 or not all(isinstance(one, bool) for one in found):
            raise Unusable(f"where : un booléen est attendu de « {condition.text[:100]} »")
        return found == [True]


def compile(definition: Any, definitions: load.Definitions) -> View:
    """A view of its JSON. Raises Unreadable with everything that is wrong with it."""
    return _Compiler(definitions).view(definition)


# ---- compiling -----------------------------------------------------------------------------------------------------


class _Compiler:
    def __init__(self, definitions: load.Definitions) -> None:
        self._definitions = definitions
        self._issues: list[errors.Issue] = []

    def view(self, given: Any) -> View:
        if not isinstance(given, dict) or given.get("resourceType") != "ViewDefinition":
            self._wrong("une ressource ViewDefinition est attendue", "ViewDefinition")
            raise self._refusal()
        self._only(given, _VIEW, "ViewDefinition")
        type = given.get("resource")
        if type not in self._definitions.types:
            self._wrong("« resource » : un type de ressource de R4 est attendu", "ViewDefinition.resource")
        constants = self._constants(given)
        where = [
            self._expression(one.get("path"), f"ViewDefinition.where[{index}].path")
            for index, one in enumerate(self._list(given, "where", "ViewDefinition"))
        ]
        select = self._select({"select": given.get("select")}, "ViewDefinition", 0)
        twice = sorted({name for name in select.names if select.names.count(name) > 1})
        if twice:
            self._wrong(f"colonne nommée deux fois : {', '.join(twice)[:200]}", "ViewDefinition.select")
        if not select.names or len(select.names) > MOST_COLUMNS:
            self._wrong(f"une vue a de 1 à {MOST_COLUMNS} colonnes", "ViewDefinition.select")
        if self._issues:
            raise self._refusal()
        return View(str(type), select.names, select, tuple(_known(where)), constants, self._definitions)

    def _select(self, given: Resource, path: str, level: int) -> _Select:
        if level > MOST_LEVELS:
            self._wrong(f"plus de {MOST_LEVELS} niveaux de select", path)
            return _Select((), (), (), None, False, (), ())
        if level:
            self._only(given, _SELECT, path)
        columns = [
            self._column(one, f"{path}.column[{index}]") for index, one in enumerate(self._list(given, "column", path))
        ]
        selects, unions = (
            [
                self._select(one, f"{path}.{name}[{index}]", level + 1)
                for index, one in enumerate(self._list(given, name, path))
            ]
            for name in ("select", "unionAll")
        )
        if len({one.names for one in unions}) > 1:
            self._wrong("les branches de unionAll doivent avoir les mêmes colonnes, dans le même ordre", path)
        names = [one.name for one in _known(columns)] + [name for one in selects for name in one.names]
        names += unions[0].names if unions else ()
        each, repeats = self._unnested(given, path)
        is_outer = "forEachOrNull" in given
        return _Select(tuple(_known(columns)), tuple(selects), tuple(unions), each, is_outer, repeats, tuple(names))

    def _unnested(
        self, given: Resource, path: str
    ) -> tuple[evaluate.Expression | None, tuple[evaluate.Expression, ...]]:
        ways = [name for name in ("forEach", "forEachOrNull", "repeat") if name in given]
        if len(ways) > 1:
            self._wrong(f"{' et '.join(ways)} s'excluent", path)
        each = self._expression(given[ways[0]], f"{path}.{ways[0]}") if ways and ways[0] != "repeat" else None
        repeat = given.get("repeat", [])
        if not isinstance(repeat, list) or ("repeat" in given and not repeat):
            self._wrong("repeat est une liste de chemins", f"{path}.repeat")
            repeat = []
        return each, tuple(_known([self._expression(one, f"{path}.repeat") for one in repeat]))

    def _column(self, given: Resource, path: str) -> _Column | None:
        self._only(given, _COLUMN, path)
        name, is_list = given.get("name"), given.get("collection", False)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self._wrong("« name » : une lettre, puis lettres, chiffres ou _", f"{path}.name")
            name = ""
        if not isinstance(is_list, bool):
            self._wrong("« collection » : true ou false", f"{path}.collection")
        expression = self._expression(given.get("path"), f"{path}.path")
        return _Column(name, expression, is_list is True) if expression and name else None

    def _constants(self, given: Resource) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for index, one in enumerate(self._list(given, "constant", "ViewDefinition")):
            path = f"ViewDefinition.constant[{index}]"
            name = one.get("name")
            keys = [key for key in one if key.startswith("value")]
            if not isinstance(name, str) or not _NAME.fullmatch(name) or len(keys) != 1:
                self._wrong("une constante a un nom et une valeur", path)
                continue
            value: Any = one[keys[0]]
            if keys[0][5:] in _MOMENTS and isinstance(value, str):
                value = values.moment(value, keys[0][5].lower() + keys[0][6:])
            if value is None or isinstance(value, (dict, list)):
                self._wrong("la valeur d'une constante est un type primitif", f"{path}.{keys[0]}")
            found[name] = value
        return found

    def _expression(self, text: Any, path: str) -> evaluate.Expression | None:
        if not isinstance(text, str) or not text:
            self._wrong("un chemin FHIRPath est attendu", path)
            return None
        try:
            return evaluate.compile(text)
        except Unusable as problem:
            self._wrong(problem.message, path)
            return None

    def _list(self, given: Resource, name: str, path: str) -> list[Resource]:
        found = given.get(name)
        if found is None:
            return []
        if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
            self._wrong(f"« {name} » est une liste d'objets", f"{path}.{name}")
            return []
        return found

    def _only(self, given: Resource, names: frozenset[str], path: str) -> None:
        for name in given.keys() - names:
            if name.removeprefix("_") not in names:
                self._wrong(f"élément inconnu : {name[:60]}", path)

    def _wrong(self, text: str, path: str) -> None:
        self._issues.append(errors.Issue(text, path, "invalid"))

    def _refusal(self) -> errors.Unreadable:
        return errors.Unreadable("ViewDefinition inutilisable", at="ViewDefinition", issues=tuple(self._issues))


def _known(found: Iterable[Any]) -> list[Any]:
    """Without those that a problem left out."""
    return [one for one in found if one is not None]


# ---- running -------------------------------------------------------------------------------------------------------


def _rows(select: _Select, node: Item, run: Run) -> list[Row]:
    if select.each is not None:
        foci: Items = select.each.nodes(node, run)
    elif select.repeats:
        foci = _repeated(select.repeats, node, run)
    else:
        foci = [node]
    if not foci and select.is_outer:
        return [dict.fromkeys(select.names)]
    rows: list[Row] = []
    for focus in foci:
        rows += _of_focus(select, focus, run)
        if len(rows) > MOST_ROWS:
            raise Unusable(f"plus de {MOST_ROWS} lignes pour une ressource", code="too-costly")
    return rows


def _of_focus(select: _Select, focus: Item, run: Run) -> list[Row]:
    parts = [[{one.name: _value(one, focus, run) for one in select.columns}]]
    parts += [_rows(one, focus, run) for one in select.selects]
    if select.unions:
        parts.append([row for one in select.unions for row in _rows(one, focus, run)])
    count = 1
    for part in parts:
        count *= len(part)
    run.spend(count)
    if count > MOST_ROWS:
        raise Unusable(f"plus de {MOST_ROWS} lignes pour une ressource", code="too-costly")
    rows = []
    for combined in itertools.product(*parts):
        row: Row = {}
        for part_row in combined:
            row.update(part_row)
        rows.append(row)
    return rows


def _repeated(paths: tuple[evaluate.Expression, ...], node: Item, run: Run, depth: int = 0) -> Items:
    """Every element that the paths lead to, then what they lead to from there, parents before children."""
    if depth > MOST_REPEATS:
        raise Unusable(f"repeat sur plus de {MOST_REPEATS} niveaux", code="too-costly")
    found: Items = []
    for path in paths:
        for one in path.nodes(node, run):
            run.spend(1)
            found.append(one)
            found += _repeated(paths, one, run, depth + 1)
    return found


def _value(column: _Column, focus: Item, run: Run) -> Any:
    found = [as_json(one) for one in column.path.nodes(focus, run)]
    if column.is_list:
        return found
    if len(found) > 1:
        raise Unusable(f"colonne {column.name} : plusieurs valeurs ; ajoutez « collection » ou first()")
    return found[0] if found else None

"""Which invariants of R4 does this resource break, and where does it leave an extensible value set?

https://hl7.org/fhir/R4/validation.html. The validator of every write has those of severity error by hand, and
skips them where the parts are unsound; here all are evaluated as the definitions state them, for `$validate` alone: it
costs a hundred times more than a write does.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from common import errors
from fhir_server.fhirpath import evaluate
from fhir_server.fhirpath.nodes import Items, Node
from fhir_server.fhirpath.parse import Unusable
from fhir_server.fhirpath.running import Run
from fhir_server.r4 import constraints, load
from fhir_server.r4 import invariants as by_hand

# Known to r4/report.py and r4/narrative.py, which say more; the expression of que-7 holds for no answer at all.
_LEFT_TO_THE_REPORT = frozenset({"dom-2", "dom-3", "dom-4", "dom-5", "ref-1", "txt-1", "txt-2", "que-7"})
_BEST_PRACTICE = frozenset({"dom-6"})
_TEXTS = {
    "dom-6": "une ressource devrait porter un texte lisible (« text.div »)",
    "con-3": "« clinicalStatus » devrait être renseigné pour un problème de la liste",
    "ctm-1": "« onBehalfOf » n'a de sens que pour un praticien",
    "nor-1": "renseignez « oralDiet », « supplement » ou « enteralFormula »",
    "cpb-0": "« name » devrait pouvoir servir de nom dans un programme : une majuscule, puis lettres, chiffres ou _",
}


class Checker:
    """The check of one resource."""

    def __init__(self, definitions: load.Definitions, rules: constraints.Rules) -> None:
        self._model = evaluate.model(definitions)
        self._rules = rules
        self._issues: list[errors.Issue] = []

    def run(self, resource: dict[str, Any]) -> list[errors.Issue]:
        """The issues, in document order: errors, warnings, and information for best practices."""
        root = self._model.root(resource)
        shared = evaluate.run(root, self._model, is_trusted=True)
        try:
            self._walk(root, root.type, shared)
        except Unusable as problem:
            text = f"les invariants n'ont pas tous été vérifiés : {problem.message}"
            self._issues.append(errors.Issue(text, root.type, "too-costly", "warning"))
        return self._issues

    def _walk(self, node: Node, path: str, run: Run) -> None:
        if isinstance(node.value, dict) and "resourceType" in node.value:
            run = self._inside(node, path, run)
        self._check(node.type, node, path, run)
        for name, child in self._model.named(node):
            place = f"{path}.{name}" if child.index is None else f"{path}.{name}[{child.index}]"
            element = f"{node.type}.{name}"
            if child.type != element:  # a backbone element is its own structure
                self._check(element, child, place, run)
            if url := self._rules.loose.get(element):
                self._bound(child, place, url)
            self._walk(child, place, run)

    def _inside(self, node: Node, path: str, run: Run) -> Run:
        """The variables of a resource: a contained one has its container as root resource."""
        known: dict[str, Items] = {**run.known, "resource": [node]}
        if ".contained[" not in path:
            known["rootResource"] = [node]
        return run.inside(known)

    def _check(self, name: str, node: Node, path: str, run: Run) -> None:
        for one in self._rules.constraints.get(name, ()):
            if one.key not in _LEFT_TO_THE_REPORT and not self._holds(one, node, run):
                self._issues.append(_issue(one, name, path))

    def _holds(self, one: constraints.Constraint, node: Node, run: Run) -> bool:
        scoped = run.inside({**run.known, "context": [node]})
        try:
            return evaluate.holds(evaluate.compile(one.expression).nodes(node, scoped), self._model) is not False
        except Unusable as problem:
            if problem.issues[0].code == "too-costly":
                raise
            return True  # tim-9 compares a list with `in`: it says nothing where there are several

    def _bound(self, node: Node, path: str, url: str) -> None:
        codings = list(_codings(node.value))
        codes = self._rules.codes[url]
        if codings and not any(code in codes.get(system, ()) for system, code in codings):
            text = f"aucun code du jeu de valeurs extensible {url} : prenez-en un s'il convient"
            self._issues.append(errors.Issue(text, path, "code-invalid", "warning"))


@lru_cache(maxsize=1024)
def _by_hand(name: str, key: str) -> str:
    """What the validator says of this rule, for the type of a structure or element."""
    type = name.partition(".")[0]
    own = (rules for structure, rules in by_hand.RULES.items() if structure.partition(".")[0] == type)
    return next((rule.text for rules in own for rule in rules if rule.key == key), "")


def _codings(value: Any) -> Iterator[tuple[str, str]]:
    """System and code of a CodeableConcept or a Coding; a bare code has no system to compare."""
    if isinstance(value, dict):
        for one in value.get("coding", [value]):
            if isinstance(one, dict) and isinstance(one.get("code"), str):
                yield str(one.get("system", "")), one["code"]


def _issue(one: constraints.Constraint, name: str, path: str) -> errors.Issue:
    if one.key.endswith("-0"):
        told = _TEXTS["cpb-0"]
    else:
        told = _TEXTS.get(one.key) or _by_hand(name, one.key) or f"règle non respectée : {one.expression[:300]}"
    severity = "information" if one.key in _BEST_PRACTICE else "error" if one.is_error else "warning"
    return errors.Issue(f"{one.key} : {told}", path, "invariant", severity)


def broken(resource: dict[str, Any], definitions: load.Definitions, rules: constraints.Rules) -> list[errors.Issue]:
    """The issues of a resource whose structure is sound. It may take seconds: call it in a thread."""
    return Checker(definitions, rules).run(resource)

"""What does a JSON Patch make of a resource?

RFC 6902 with the pointers of RFC 6901, on decoded JSON: decimals keep their digits, `test` compares numbers by value.
Everything is bounded (operations, depth, what `copy` may multiply). What a removal leaves empty goes away with it, for
FHIR has no empty arrays and objects (R4 json.html); an empty value that the patch itself sets stays, and is refused by
the validator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from common import errors
from fhir_server.changes import Resource

MOST_OPERATIONS = 1000
MOST_LEVELS = 100
# Nodes and characters that all `copy` together may add: a resource that doubles again and again stops here.
MOST_COPIED = 1_000_000

AT = "http.body"

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_ESCAPE = re.compile(r"~(?![01])")
_MEMBERS = {
    "add": ("path", "value"), "remove": ("path",), "replace": ("path", "value"),
    "move": ("from", "path"), "copy": ("from", "path"), "test": ("path", "value"),
}  # fmt: skip
# Names under which a value of a patch is a link; a patch has no element types to tell by.
_LINKS = frozenset({"reference", "url", "valueUri", "valueUrl", "valueCanonical", "valueOid", "valueUuid"})


@dataclass(slots=True)
class Operation:
    """One operation: its pointers split and unescaped, `given` the object that was sent."""

    index: int
    op: str
    path: list[str]
    source: list[str]
    given: dict[str, Any]

    @property
    def value(self) -> Any:
        """A copy of the value: what is built from it may be changed by the operations after."""
        return copied(self.given["value"])


def read(body: bytes) -> list[Operation]:
    """The operations of a patch document. Raises Unreadable with every problem, TooLarge."""
    try:
        sent = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError, RecursionError):
        raise errors.Unreadable("JSON Patch : JSON illisible", at=AT) from None
    if not isinstance(sent, list):
        raise errors.Unreadable("JSON Patch : un tableau d'opérations est attendu", at=AT)
    if len(sent) > MOST_OPERATIONS:
        raise errors.TooLarge(f"JSON Patch : {MOST_OPERATIONS} opérations au plus", at=AT)
    weigh(sent, None)
    found: list[Operation] = []
    issues: list[errors.Issue] = []
    for index, one in enumerate(sent):
        try:
            found.append(_operation(index, one))
        except errors.Unreadable as problem:
            issues += problem.issues
    if issues:
        raise errors.Unreadable(issues[0].text, at=AT, issues=tuple(issues))
    return found


def apply(resource: Resource, operations: list[Operation]) -> Any:
    """`resource` changed in place by all operations in turn, and given back (another value when the root is replaced).

    Raises Invalid for the first operation that cannot be done.
    """
    document = _Document({"": resource})
    for one in operations:
        try:
            _DO[one.op](document, one)
        except (LookupError, TypeError, ValueError):
            raise refusal(one, "le chemin ne mène à rien dans la ressource") from None
    document.clear_emptied()
    weigh(document.root[""], None)
    return document.root[""]


def links(operations: list[Operation]) -> Iterator[tuple[Any, str, str]]:
    """Each place in the values that may hold a link: its holder, its key, and the name of the element."""
    for one in operations:
        if "value" not in one.given:
            continue
        todo: list[tuple[Any, str, str]] = [(one.given, "value", one.path[-1] if one.path else "")]
        while todo:
            holder, key, name = todo.pop()
            value = holder[key]
            if isinstance(value, str) and name in _LINKS:
                yield holder, key, name
            elif isinstance(value, dict):
                todo += [(value, child, child) for child in value]
            elif isinstance(value, list):
                todo += [(value, place, name) for place in range(len(value))]  # type: ignore[misc]


def refusal(one: Operation, why: str) -> errors.Invalid:
    """What is wrong with an operation, without what stands in the resource."""
    pointer = str(one.given.get("path", ""))[:100]
    text = f"JSON Patch, opération {one.index} ({one.op} {pointer}) : {why}"
    return errors.Invalid(text, at=AT, issues=(errors.Issue(text, AT, "processing"),))


def weigh(value: Any, most: int | None) -> int:
    """Nodes and characters of a value. Raises TooLarge above `most`, Unreadable when it nests too deeply."""
    weight = 0
    todo = [(value, 1)]
    while todo:
        node, level = todo.pop()
        weight += 1 + (len(node) if isinstance(node, str) else 0)
        if most is not None and weight > most:
            raise errors.TooLarge("Patch : les copies demandées sont trop volumineuses", at=AT)
        if level > MOST_LEVELS:
            raise errors.Unreadable(f"Patch : plus de {MOST_LEVELS} niveaux", at=AT)
        if isinstance(node, dict):
            todo += [(child, level + 1) for child in node.values()]
        elif isinstance(node, list):
            todo += [(child, level + 1) for child in node]
    return weight


def copied(value: Any) -> Any:
    """The same JSON value, sharing no object or array with it."""
    if isinstance(value, dict):
        return {name: copied(child) for name, child in value.items()}
    return [copied(child) for child in value] if isinstance(value, list) else value


@dataclass(slots=True)
class _Document:
    """The document under its own name "", so that the root is a child like any other."""

    root: dict[str, Any]
    left: int = MOST_COPIED
    emptied: list[Any] = field(default_factory=list)

    def parent(self, path: list[str]) -> tuple[Any, str]:
        """What holds the last step of a pointer. Raises LookupError, TypeError."""
        node: Any = self.root
        for step in ["", *path][:-1]:
            node = child(node, step)
        return node, ["", *path][-1]

    def get(self, path: list[str]) -> Any:
        """The value there."""
        return child(*self.parent(path))

    def add(self, path: list[str], value: Any) -> None:
        """Set a member, or insert before an item (`-`: after the last)."""
        holder, key = self.parent(path)
        if isinstance(holder, list):
            place = len(holder) if key == "-" else position(key)
            if place > len(holder):
                raise LookupError(key)
            holder.insert(place, value)
        else:
            _members(holder)[key] = value

    def remove(self, path: list[str]) -> Any:
        """Take out what is there."""
        if not path:
            raise LookupError("the whole resource")
        holder, key = self.parent(path)
        value = child(holder, key)
        del holder[position(key) if isinstance(holder, list) else key]
        if not holder:
            self.emptied.append(holder)
        return value

    def clear_emptied(self) -> None:
        """Drop what removals left empty, and what that leaves empty."""
        if self.emptied:
            weigh(self.root, None)
            _drop_empty(self.root, {id(one) for one in self.emptied})


def child(node: Any, step: str) -> Any:
    """A member or an item. Raises LookupError, TypeError."""
    return node[position(step)] if isinstance(node, list) else _members(node)[step]


def position(step: str) -> int:
    """An array index of RFC 6901: no sign, no leading zero. Raises LookupError."""
    if not _INDEX.fullmatch(step):
        raise LookupError(step)
    return int(step)


def _members(node: Any) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise TypeError("no object")
    return node


def _drop_empty(node: Any, emptied: set[int]) -> bool:
    """Is the node empty because of a removal? Its children that are go away."""
    if isinstance(node, dict):
        gone: list[Any] = [name for name, value in node.items() if _drop_empty(value, emptied)]
        for name in gone:
            del node[name]
    elif isinstance(node, list):
        gone = [place for place, value in enumerate(node) if _drop_empty(value, emptied)]
        for place in reversed(gone):
            del node[place]
    else:
        return False
    return not node and (bool(gone) or id(node) in emptied)


def _operation(index: int, sent: Any) -> Operation:
    where = f"JSON Patch, opération {index}"
    if not isinstance(sent, dict) or not isinstance(op := sent.get("op"), str) or op not in _MEMBERS:
        raise errors.Unreadable(f"{where} : op attendu parmi {', '.join(_MEMBERS)}", at=AT)
    if missing := [name for name in _MEMBERS[op] if name not in sent]:
        raise errors.Unreadable(f"{where} ({op}) : {', '.join(missing)} manque", at=AT)
    pointers = {name: _pointer(sent[name], f"{where} : {name}") for name in _MEMBERS[op] if name != "value"}
    return Operation(index, op, pointers["path"], pointers.get("from", []), sent)


def _pointer(text: Any, where: str) -> list[str]:
    if not isinstance(text, str) or (text and text[0] != "/") or _ESCAPE.search(text):
        raise errors.Unreadable(f"{where} n'est pas un pointeur JSON (RFC 6901), par exemple /name/0/given", at=AT)
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


def _add(document: _Document, one: Operation) -> None:
    document.add(one.path, one.value)


def _remove(document: _Document, one: Operation) -> None:
    document.remove(one.path)


def _replace(document: _Document, one: Operation) -> None:
    holder, key = document.parent(one.path)
    child(holder, key)
    holder[position(key) if isinstance(holder, list) else key] = one.value


def _move(document: _Document, one: Operation) -> None:
    if one.source == one.path[: len(one.source)]:
        if one.source == one.path:
            document.get(one.source)
            return
        raise refusal(one, "un élément ne se déplace pas en lui-même")
    document.add(one.path, document.remove(one.source))


def _copy(document: _Document, one: Operation) -> None:
    value = document.get(one.source)
    document.left -= weigh(value, document.left)
    document.add(one.path, copied(value))


def _test(document: _Document, one: Operation) -> None:
    if not same(document.get(one.path), one.given["value"]):
        raise refusal(one, "la valeur n'est pas celle attendue")


def same(one: Any, other: Any) -> bool:
    """Equal as RFC 6902 4.6 says: numbers by value, objects whatever their order; true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


_DO = {"add": _add, "remove": _remove, "replace": _replace, "move": _move, "copy": _copy, "test": _test}

"""What does the text of a FHIRPath Patch path say?

The part of FHIRPath (https://hl7.org/fhirpath/N1) that names places in a resource: names, `[n]`, functions, and in
their arguments literals, `=`, `!=`, `and`, `or`, parentheses and `as`. Anything else is refused, never guessed at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from common import errors

MOST_CHARACTERS = 1000

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<name>[A-Za-z_]\w*|\$this|%resource|`[^`]+`)
      | (?P<text>'(?:[^'\\]|\\.)*')
      | (?P<date>@[0-9T:.+Z-]+)
      | (?P<number>[0-9]+(?:\.[0-9]+)?)
      | (?P<sign>!=|[=().,\[\]])
    )""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}


@dataclass(frozen=True, slots=True)
class Child:
    """`.name`"""

    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """`[number]`"""

    number: int


@dataclass(frozen=True, slots=True)
class Call:
    """`.name(arguments)`"""

    name: str
    arguments: tuple[Expression, ...]


Step = Child | Index | Call


@dataclass(frozen=True, slots=True)
class Path:
    """Steps from the resource, or from `$this` inside a criterion."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, a number, a boolean; a date as its text."""

    value: Any


@dataclass(frozen=True, slots=True)
class Compare:
    """`left = right`, or `!=` when it `differs`."""

    left: Expression
    right: Expression
    differs: bool


@dataclass(frozen=True, slots=True)
class Logic:
    """Parts joined by `and` or by `or`."""

    word: str
    parts: tuple[Expression, ...]


Expression = Path | Literal | Compare | Logic


def read(text: str) -> Path:
    """The path that a text says. Raises Invalid."""
    if len(text) > MOST_CHARACTERS:
        raise _unclear(f"{MOST_CHARACTERS} caractères au plus")
    try:
        found = _Reader(text).whole()
    except RecursionError:
        raise _unclear("trop de parenthèses") from None
    if not isinstance(found, Path):
        raise _unclear("une suite d'éléments est attendue, par exemple Patient.name[0].given")
    return found


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            if (found := _TOKEN.match(text, at)) is None:
                raise _unclear(f"caractère inattendu à la position {at + 1}")
            self._tokens.append((found.lastgroup or "", found[found.lastgroup or 0]))
            at = found.end()
        self._tokens.append(("end", ""))
        self._next = 0

    def whole(self) -> Expression:
        """The whole text as one expression."""
        found = self._logic("or")
        if self._tokens[self._next][0] != "end":
            raise self._unexpected()
        return found

    def _take(self, *texts: str) -> str:
        """The next token when it is one of these, "" when not."""
        kind, text = self._tokens[self._next]
        if kind not in ("sign", "name") or text not in texts:
            return ""
        self._next += 1
        return text

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected()

    def _logic(self, word: str) -> Expression:
        parts = [self._logic("and") if word == "or" else self._comparison()]
        while self._take(word):
            parts.append(self._logic("and") if word == "or" else self._comparison())
        return parts[0] if len(parts) == 1 else Logic(word, tuple(parts))

    def _comparison(self) -> Expression:
        left = self._typed()
        sign = self._take("=", "!=")
        return Compare(left, self._typed(), sign == "!=") if sign else left

    def _typed(self) -> Expression:
        found = self._operand()
        while self._take("as"):
            wanted = self._operand()
            if not isinstance(found, Path):
                raise self._unexpected()
            found = Path((*found.steps, Call("as", (wanted,))))
        return found

    def _operand(self) -> Expression:
        kind, text = self._tokens[self._next]
        if kind in ("text", "date", "number") or text in ("true", "false"):
            self._next += 1
            return Literal(_literal(kind, text))
        if self._take("("):
            inner = self._logic("or")
            self._need(")")
            return self._steps(inner) if isinstance(inner, Path) else inner
        if kind != "name":
            raise self._unexpected()
        return self._steps(Path((self._named(),)))

    def _steps(self, path: Path) -> Path:
        steps = list(path.steps)
        while sign := self._take(".", "["):
            if sign == ".":
                steps.append(self._named())
            else:
                kind, text = self._tokens[self._next]
                if kind != "number" or not text.isdigit() or len(text) > 9:
                    raise self._unexpected()
                self._next += 1
                self._need("]")
                steps.append(Index(int(text)))
        return Path(tuple(steps))

    def _named(self) -> Child | Call:
        kind, text = self._tokens[self._next]
        if kind != "name":
            raise self._unexpected()
        self._next += 1
        if not self._take("("):
            return Child(text.strip("`"))
        arguments: list[Expression] = []
        while not self._take(")"):
            if arguments:
                self._need(",")
            arguments.append(self._logic("or"))
        return Call(text, tuple(arguments))

    def _unexpected(self) -> errors.Invalid:
        kind, text = self._tokens[self._next]
        return _unclear("il s'arrête trop tôt" if kind == "end" else f"« {text[:40]} » n'est pas attendu ici")


def _literal(kind: str, text: str) -> Any:
    if kind == "text":
        return _ESCAPE.sub(_unescaped, text[1:-1])
    if kind == "date":
        return text[1:]
    if kind == "number":
        return Decimal(text) if "." in text else int(text)
    return text == "true"


def _unescaped(found: re.Match[str]) -> str:
    letter = found[1]
    return chr(int(letter[1:], 16)) if len(letter) > 1 else _ESCAPED.get(letter, letter)


def _unclear(why: str) -> errors.Invalid:
    return errors.Invalid(f"chemin du patch : {why}", issues=(errors.Issue(f"chemin du patch : {why}", "", "invalid"),))

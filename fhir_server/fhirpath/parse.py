"""What does the text of a FHIRPath expression say?

http://hl7.org/fhirpath/N1/#grammar. Text in, tree out; a parser of binding powers, because one generated from the
grammar costs 40 ms to import and milliseconds for each expression.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

from common import errors
from fhir_server.fhirpath import values

MOST_CHARACTERS = 4000
MOST_LEVELS = 120

_AT = "expression"


class Unusable(errors.Unreadable):
    """A FHIRPath expression that cannot be read, or cannot be evaluated on what it met."""

    def __init__(self, text: str, *, code: str = "invalid") -> None:
        super().__init__(f"FHIRPath : {text}", at=_AT, issues=(errors.Issue(f"FHIRPath : {text}", _AT, code),))


class Literal(NamedTuple):
    """One value, or none for `{}`."""

    value: values.Value | None


class Name(NamedTuple):
    """A child element, or a type at the start of a path."""

    text: str


class Special(NamedTuple):
    """`$this`, `$index` or `$total`, without the sign."""

    name: str


class External(NamedTuple):
    """`%name`."""

    name: str


class Call(NamedTuple):
    """A function, with its arguments not yet evaluated."""

    name: str
    arguments: tuple[Tree, ...]


class Path(NamedTuple):
    """`source.step`: the step runs on what the source gave."""

    source: Tree
    step: Name | Special | Call


class At(NamedTuple):
    """`source[index]`."""

    source: Tree
    place: Tree


class Sign(NamedTuple):
    """`-operand` or `+operand`."""

    sign: str
    operand: Tree


class Binary(NamedTuple):
    """`left sign right`."""

    sign: str
    left: Tree
    right: Tree


class Typed(NamedTuple):
    """`operand is type` or `operand as type`; the type is `Patient` or `FHIR.Patient`."""

    sign: str
    operand: Tree
    type: str


Tree = Literal | Name | Special | External | Call | Path | At | Sign | Binary | Typed


def parse(text: str) -> Tree:
    """The tree of an expression. Raises Unusable with the place of what cannot be read."""
    if len(text) > MOST_CHARACTERS:
        raise Unusable(f"expression de plus de {MOST_CHARACTERS} caractères", code="too-long")
    return _Parser(text).whole()


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


_TOKENS = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<moment>@T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?
        |@\d{4}(?:-\d\d(?:-\d\d)?)?(?:T(?:\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:\d\d)?)?)?)
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<special>\$(?:this|index|total)\b)
    |(?P<external>%(?:[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`))
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<quoted>`(?:[^`\\]|\\.)*`)
    |(?P<sign><=|>=|!=|!~|[=~<>+\-*/&|.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPES = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_MEANT = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}

_POWERS = {
    "implies": 1, "or": 2, "xor": 2, "and": 3, "in": 4, "contains": 4, "=": 5, "~": 5, "!=": 5, "!~": 5,
    "is": 6, "as": 6, "<": 7, ">": 7, "<=": 7, ">=": 7, "|": 8, "+": 9, "-": 9, "&": 9,
    "*": 10, "/": 10, "div": 10, "mod": 10, "[": 12, ".": 13,
}  # fmt: skip
_SIGN_POWER = 11
_ALSO_NAMES = frozenset({"as", "contains", "in", "is"})  # words of the grammar that may name an element
_RESERVED = frozenset({"and", "div", "implies", "mod", "or", "xor", "true", "false"})


def unescape(quoted: str) -> str:
    """The text between quotes, its escapes resolved."""
    return _ESCAPES.sub(lambda one: chr(int(one[1], 16)) if one[1] else _MEANT.get(one[2], one[2]), quoted[1:-1])


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._level = 0

    def whole(self) -> Tree:
        tree = self._expression(0)
        if self._peek().kind != "end":
            raise self._unexpected()
        return tree

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _has(self, sign: str) -> bool:
        """Take the sign when it comes next."""
        token = self._peek()
        if token.kind == "sign" and token.text == sign:
            self._next += 1
            return True
        return False

    def _need(self, sign: str) -> None:
        if not self._has(sign):
            raise self._unexpected(f", « {sign} » attendu")

    def _unexpected(self, wanted: str = "") -> Unusable:
        token = self._peek()
        found = f"« {token.text[:40]} » inattendu" if token.kind != "end" else "fin inattendue"
        return Unusable(f"{found} au caractère {token.place + 1}{wanted}")

    def _expression(self, least: int) -> Tree:
        self._level += 1
        if self._level > MOST_LEVELS:
            raise Unusable(f"expression de plus de {MOST_LEVELS} niveaux", code="too-costly")
        before = self._level
        left = self._start()
        while (sign := self._operator()) and _POWERS[sign] > least:
            self._take()
            left = self._continued(left, sign)
            self._level += 1  # a long chain is a deep tree
            if self._level > MOST_LEVELS:
                raise Unusable(f"expression de plus de {MOST_LEVELS} niveaux", code="too-costly")
        self._level = before - 1
        return left

    def _operator(self) -> str:
        token = self._peek()
        return token.text if token.kind in ("sign", "word") and token.text in _POWERS else ""

    def _continued(self, left: Tree, sign: str) -> Tree:
        if sign == ".":
            return Path(left, self._step())
        if sign == "[":
            index = self._expression(0)
            self._need("]")
            return At(left, index)
        if sign in ("is", "as"):
            return Typed(sign, left, self._type())
        return Binary(sign, left, self._expression(_POWERS[sign]))

    def _start(self) -> Tree:
        token = self._peek()
        if token.kind == "sign":
            if token.text in "+-":
                self._take()
                return Sign(token.text, self._expression(_SIGN_POWER))
            if self._has("("):
                inside = self._expression(0)
                self._need(")")
                return inside
            if self._has("{"):
                self._need("}")
                return Literal(None)
            raise self._unexpected()
        if token.kind == "external":
            self._take()
            return External(unescape(token.text[1:]) if token.text[1] in "'`" else token.text[1:])
        return self._literal() or self._step()

    def _literal(self) -> Literal | None:
        token = self._peek()
        if token.kind == "word" and token.text in ("true", "false"):
            value: values.Value = token.text == "true"
        elif token.kind == "string":
            value = unescape(token.text)
        elif token.kind == "number":
            return Literal(self._number())
        elif token.kind == "moment":
            moment = values.literal_moment(token.text)
            if moment is None:
                raise Unusable(f"date impossible au caractère {token.place + 1}")
            value = moment
        else:
            return None
        self._take()
        return Literal(value)

    def _number(self) -> values.Value:
        text = self._take().text
        unit = self._peek()
        if unit.kind == "string":
            self._take()
            return values.Quantity(Decimal(text), unescape(unit.text))
        if unit.kind == "word" and unit.text in values.CALENDAR:
            self._take()
            return values.Quantity(Decimal(text), values.CALENDAR[unit.text])
        return Decimal(text) if "." in text else values.whole(text)

    def _step(self) -> Name | Special | Call:
        token = self._peek()
        if token.kind == "special":
            self._take()
            return Special(token.text[1:])
        name = self._name()
        if not self._has("("):
            return Name(name)
        arguments: list[Tree] = []
        if not self._has(")"):
            arguments.append(self._expression(0))
            while self._has(","):
                arguments.append(self._expression(0))
            self._need(")")
        return Call(name, tuple(arguments))

    def _name(self) -> str:
        token = self._peek()
        if token.kind == "quoted":
            self._take()
            return unescape(token.text)
        if token.kind != "word" or token.text in _RESERVED or (token.text in _POWERS and token.text not in _ALSO_NAMES):
            raise self._unexpected()
        self._take()
        return token.text

    def _type(self) -> str:
        first = self._name()
        return f"{first}.{self._name()}" if self._has(".") else first


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    place = 0
    while place < len(text):
        match = _TOKENS.match(text, place)
        if match is None:
            raise Unusable(f"« {text[place]} » illisible au caractère {place + 1}")
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(_Token(kind, match[0], place))
        place = match.end()
    return [*found, _Token("end", "", len(text))]

r"""What does this HL7 v2 message say, byte for byte?

ER7 (HL7 v2.5 chapter 2) read without loss: fields stay the bytes that came, and are decoded and unescaped only when
somebody asks for text, so that a 20 MB document is never scanned for escapes. Separators come from MSH and the
character set from MSH-18 (IHE PAM France: `8859/15` or `UNICODE UTF-8`). CR, LF and CRLF all end a segment.
Samples: fr-doc/v2.0_oru_init_two_docs_stub (repetition U+02DC), intl/lfh_sample_* (doubled escape character).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, Literal

from mapping import er7_syntax
from mapping.er7_syntax import Malformed as Malformed
from mapping.er7_syntax import NotEr7 as NotEr7
from mapping.er7_syntax import Syntax as Syntax
from mapping.tolerance import Tolerance, note


class _Sentinel(Enum):
    DELETE = '""'


DELETE: Final = _Sentinel.DELETE  # `""`: remove the value at the receiver; not the same as absent
Value = str | Literal[_Sentinel.DELETE] | None


@dataclass(frozen=True, slots=True, repr=False)
class Repetition:
    """One repetition of a field, cut at its component separators. Numbers count from 1; sub-component 0 is the whole
    component."""

    components: tuple[bytes, ...]
    syntax: Syntax

    @property
    def data(self) -> bytes:
        """The bytes as they came."""
        return self.syntax.component.join(self.components)

    def raw(self, component: int = 1, sub: int = 0) -> bytes:
        """The bytes of a part as they came, b"" when absent."""
        part = self.components[component - 1] if component <= len(self.components) else b""
        if not sub or not part:
            return part
        inner = _split(part, self.syntax.subcomponent)
        return inner[sub - 1] if sub <= len(inner) else b""

    def get(self, component: int = 1, sub: int = 0) -> Value:
        """Text, DELETE, or None when there is nothing between the separators."""
        raw = self.raw(component, sub)
        if not raw:
            return None
        return DELETE if raw == b'""' else self.syntax.text(raw)

    def text(self, component: int = 1, sub: int = 0) -> str:
        """Text without the blanks around it; "" for nothing and for DELETE."""
        value = self.get(component, sub)
        return value.strip() if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True, repr=False)
class Segment:
    """One line. `fields[n]` are the bytes of SEG-n (MSH-1 is the field separator itself), `rank` counts its name."""

    name: str
    rank: int
    fields: tuple[bytes, ...]
    syntax: Syntax

    def raw(self, field: int) -> bytes:
        """The whole field as it came, b"" when absent."""
        return self.fields[field] if field < len(self.fields) else b""

    def repetitions(self, field: int) -> tuple[Repetition, ...]:
        """The repetitions that hold something."""
        parts = _split(self.raw(field), self.syntax.repetition)
        return tuple(repetition(part, self.syntax) for part in parts if part)

    def first(self, field: int) -> Repetition:
        """The first repetition, which may be empty."""
        return repetition(_split(self.raw(field), self.syntax.repetition)[0], self.syntax)

    def get(self, field: int, component: int = 1, sub: int = 0) -> Value:
        return self.first(field).get(component, sub)

    def text(self, field: int, component: int = 1, sub: int = 0) -> str:
        return self.first(field).text(component, sub)

    def at(self, field: int, component: int = 0, repetition: int = 1) -> str:
        """The place as errors and ERR-2 name it: `PID-3`, `OBX[2]-5.4`, `PID-3(2)`."""
        rank = f"[{self.rank}]" if self.rank > 1 else ""
        turn = f"({repetition})" if repetition > 1 else ""
        return f"{self.name}{rank}-{field}{turn}" + (f".{component}" if component else "")


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """A message as it came: `all` segments in order, MSH first."""

    all: tuple[Segment, ...]
    syntax: Syntax
    tolerances: tuple[Tolerance, ...] = ()

    def segments(self, name: str) -> tuple[Segment, ...]:
        return tuple(segment for segment in self.all if segment.name == name)

    def segment(self, name: str) -> Segment | None:
        return next((segment for segment in self.all if segment.name == name), None)

    def get(self, path: str) -> Value:
        """The value at `PID-5.1`; in full `OBX[2]-5(1).4.1`. ValueError for a path of another form."""
        name, rank, field, turn, component, sub = _path(path)
        for segment in self.all:
            if segment.name == name and segment.rank == rank:
                parts = _split(segment.raw(field), self.syntax.repetition)
                return repetition(parts[turn - 1], self.syntax).get(component, sub) if turn <= len(parts) else None
        return None

    def text(self, path: str) -> str:
        """As `get`, "" for nothing and for DELETE, without the blanks around it."""
        value = self.get(path)
        return value.strip() if isinstance(value, str) else ""

    def _header(self, field: int, component: int = 1, sub: int = 0) -> str:
        return self.all[0].text(field, component, sub)

    @property
    def sending_application(self) -> str:
        return self._header(3, 1, 1)

    @property
    def sending_facility(self) -> str:
        return self._header(4, 1, 1)

    @property
    def receiving_application(self) -> str:
        return self._header(5, 1, 1)

    @property
    def receiving_facility(self) -> str:
        return self._header(6, 1, 1)

    @property
    def sent(self) -> str:
        """MSH-7 as it came (HL7 TS)."""
        return self._header(7)

    @property
    def type(self) -> str:
        return self._header(9, 1)

    @property
    def trigger(self) -> str:
        return self._header(9, 2)

    @property
    def structure(self) -> str:
        """The last component of MSH-9: one official example writes `MDM^T02^MDM^T02^MDM_T02`."""
        parts = self.all[0].first(9).components
        return self.syntax.text(parts[-1]).strip() if len(parts) > 2 else ""

    @property
    def control_id(self) -> str:
        return self._header(10)

    @property
    def processing(self) -> str:
        """P production, T training, D debugging."""
        return self._header(11)

    @property
    def version(self) -> str:
        return self._header(12)

    @property
    def charset(self) -> str:
        return self._header(18)

    @property
    def profile(self) -> str:
        """MSH-21 as it came: `2.1^CISIS_CDA_HL7_V2`."""
        return self.all[0].first(21).data.decode(self.syntax.encoding, "replace").strip()

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the message at its sender: MSH-3, MSH-4, MSH-10."""
        return self.sending_application, self.sending_facility, self.control_id


def repetition(data: bytes, syntax: Syntax) -> Repetition:
    """One repetition from its bytes."""
    return Repetition(tuple(_split(data, syntax.component)), syntax)


def read(raw: bytes) -> Message:
    """A message from its bytes, without MLLP framing. Raises Malformed (NotEr7 for XML, batches and UTF-16)."""
    tolerances = []
    if raw.startswith(b"\xef\xbb\xbf"):
        raw = raw[3:]
        tolerances.append(note("byte-order-mark", "MSH-1"))
    er7_syntax.refuse_floods(raw, b"\r\n")
    lines = [line for line in raw.splitlines() if line.strip()]
    syntax, oddities = er7_syntax.read(lines)
    er7_syntax.refuse_floods(raw, syntax.separators)
    ranks: dict[str, int] = {}
    segments = tuple(_segment(line, number, ranks, syntax) for number, line in enumerate(lines, 1))
    return Message(segments, syntax, (*tolerances, *oddities))


def write(message: Message) -> bytes:
    """The bytes of a message, each segment ended by CR: what was read, line ends aside."""
    return b"".join(_line(segment) + b"\r" for segment in message.all)


def head(raw: bytes) -> Message | None:
    """Only the MSH of bytes that may be broken further on; None when even that cannot be read."""
    start = raw[:65_536].find(b"MSH")
    if start < 0:
        return None
    try:
        return read(raw[start:65_536].splitlines()[0])
    except Malformed:
        return None


_PATH = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d+)])?-(\d+)(?:\((\d+)\))?(?:\.(\d+)(?:\.(\d+))?)?", re.ASCII)


@lru_cache(maxsize=1024)
def _path(path: str) -> tuple[str, int, int, int, int, int]:
    found = _PATH.fullmatch(path)
    if not found:
        raise ValueError(f"not an HL7 v2 path: {path!r}")
    name, *numbers = found.groups()
    rank, field, repetition, component, sub = (
        int(n) if n else d for n, d in zip(numbers, (1, 0, 1, 1, 0), strict=True)
    )
    return str(name), rank, field, max(repetition, 1), max(component, 1), sub


def _split(data: bytes, separator: bytes) -> list[bytes]:
    return data.split(separator) if separator else [data]


def _segment(line: bytes, number: int, ranks: dict[str, int], syntax: Syntax) -> Segment:
    head, mark = line[:3], line[3:4]
    if len(head) < 3 or not (head.isalnum() and head.isascii() and head.isupper() and head[:1].isalpha()):
        raise Malformed(f"la ligne {number} ne commence pas par un nom de segment", at=f"ligne {number}")
    if mark and mark != syntax.field:
        raise Malformed(f"la ligne {number} n'a pas de séparateur après le nom du segment", at=f"ligne {number}")
    name = head.decode("ascii")
    if name == "MSH" and number > 1:
        raise Malformed("deux segments MSH dans un même message", at=f"ligne {number}")
    ranks[name] = ranks.get(name, 0) + 1
    fields = line.split(syntax.field)
    if name == "MSH":
        fields.insert(1, syntax.field)
    return Segment(name, ranks[name], tuple(fields), syntax)


def _line(segment: Segment) -> bytes:
    mark = segment.syntax.field
    if segment.name == "MSH":
        return b"MSH" + mark + mark.join(segment.fields[2:])
    return mark.join(segment.fields)

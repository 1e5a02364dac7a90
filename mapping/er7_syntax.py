"""Which separators and which character set does this message use? MSH-1, MSH-2 and MSH-18.

HL7 v2.5 2.5.4 and table 0211, IHE PAM France on MSH-18. Samples: fr-doc/v2.0_oru_init_two_docs_stub (repetition
U+02DC, two bytes in UTF-8), intl/lfh_sample_* (doubled escape character).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from common import errors
from mapping import codes, er7_text
from mapping.tolerance import Tolerance, note

_MAX_PARTS = 500_000  # no real message comes near; without it 25 MB of separators become gigabytes of objects


class Malformed(errors.Unreadable):
    """The bytes are not an HL7 v2 message; `at` says where reading stopped."""

    code = "malformed-hl7"


class NotEr7(Malformed):
    """Another encoding of HL7 v2 (XML), a batch file, or UTF-16."""

    code, hl7 = "not-er7", "203"


@dataclass(frozen=True, slots=True)
class Syntax:
    """The separators of one message, as bytes of its character set (Python codec name). Empty means unused."""

    encoding: str = "utf-8"
    field: bytes = b"|"
    component: bytes = b"^"
    repetition: bytes = b"~"
    escape: bytes = b"\\"
    subcomponent: bytes = b"&"

    @property
    def separators(self) -> bytes:
        """The first byte of each separator, to count parts with."""
        return self.field + self.component[:1] + self.repetition[:1] + self.subcomponent[:1]

    def text(self, raw: bytes) -> str:
        """Decoded and unescaped."""
        text = raw.decode(self.encoding, "replace")
        return er7_text.unescape(text, _marks(self)) if self.escape and self.escape in raw else text

    def raw(self, text: str) -> bytes:
        """Escaped and encoded; what the character set does not hold becomes a question mark."""
        return er7_text.escape(text, _marks(self)).encode(self.encoding, "replace")


@lru_cache(maxsize=64)
def _marks(syntax: Syntax) -> er7_text.Marks:
    parts = (syntax.escape, syntax.field, syntax.component, syntax.repetition, syntax.subcomponent)
    escape, field, component, repetition, sub = (part.decode(syntax.encoding, "replace") for part in parts)
    return er7_text.Marks(escape, field, component, repetition, sub, syntax.encoding)


def read(lines: Sequence[bytes]) -> tuple[Syntax, list[Tolerance]]:
    """The syntax that the first line declares and all lines keep. Raises Malformed, NotEr7."""
    header = _checked_header(lines[0] if lines else b"")
    field = header[3:4]
    encoding, doubts = _encoding(_declared(header, field), lines)
    syntax, oddities = _syntax(header, field, encoding)
    return syntax, [*doubts, *oddities]


def refuse_floods(raw: bytes, marks: bytes) -> None:
    """Raises Malformed when the marks occur more often than in any real message."""
    if sum(raw.count(mark) for mark in set(marks)) > _MAX_PARTS:
        raise Malformed("le message contient trop de séparateurs pour être un vrai message")


def _checked_header(line: bytes) -> bytes:
    if line[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in line[:8]:
        raise NotEr7("le message est en UTF-16 : envoyer en UTF-8 ou en 8859/15", at="MSH-18")
    if line.lstrip()[:1] == b"<":
        raise NotEr7("le message est en XML : seul l'encodage ER7 (barres verticales) est lu", at="MSH-1")
    if line[:3] in (b"FHS", b"BHS"):
        raise NotEr7("un lot (FHS, BHS) n'est pas lu : envoyer les messages un par un", at="MSH-1")
    if line[:3] != b"MSH":
        raise Malformed("le message ne commence pas par un segment MSH", at="MSH-1")
    mark = line[3:4]
    if not mark or mark.isalnum() or not 0x21 <= mark[0] <= 0x7E:
        raise Malformed("le séparateur de champs (MSH-1) est absent ou interdit", at="MSH-1")
    return line


def _declared(header: bytes, field: bytes) -> str:
    """MSH-18, first repetition, before the character set is known: its own characters are ASCII."""
    fields = header.split(field)
    if len(fields) < 18:
        return ""
    marks, value = fields[1], fields[17]
    ends = [at for at in (value.find(mark) for mark in {marks[i : i + 1] for i in range(len(marks))}) if at >= 0]
    return value[: min(ends, default=len(value))].decode("latin-1").strip().upper()


def _encoding(declared: str, lines: Sequence[bytes]) -> tuple[str, list[Tolerance]]:
    """The codec of the message. Where MSH-18 says nothing useful, valid UTF-8 wins, else 8859/15, which reads any byte.

    Bytes that contradict a declared UTF-8 are refused: a name guessed wrong would live on in the record.
    """
    row = codes.find("charset", declared) if declared else None
    tolerances = []
    if not declared:
        tolerances.append(note("charset-missing", "MSH-18"))
    elif row is None:
        tolerances.append(note("charset-unknown", "MSH-18"))
    named = row.target_code if row else ""
    if named in ("", "utf-8"):
        if _is_utf8(lines):
            return "utf-8", tolerances
        if named:
            raise Malformed("le message est déclaré en UTF-8 et n'en est pas", at="MSH-18")
        named = "iso8859-15"
    return named, tolerances


def _is_utf8(lines: Sequence[bytes]) -> bool:
    try:
        for line in lines:
            if not line.isascii():
                line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _syntax(header: bytes, field: bytes, encoding: str) -> tuple[Syntax, list[Tolerance]]:
    """The separators of MSH-2: characters, not bytes, and in one official sample a character of two bytes."""
    declared = header[4:].split(field, 1)[0].decode(encoding, "replace").strip()
    marks = "".join(mark for place, mark in enumerate(declared) if declared[place - 1 : place] != mark)
    separators = [mark.encode(encoding) for mark in marks[:4]] + [b""] * (4 - len(marks))
    wanted = [field, *(mark for mark in separators if mark)]
    if not marks or len(marks) > 5 or len(set(wanted)) < len(wanted) or any(map(_is_content, marks)):
        raise Malformed("les séparateurs de MSH-2 sont absents, répétés ou interdits", at="MSH-2")
    tolerances = [note("separator-doubled", "MSH-2")] if marks != declared else []
    component, repetition, escape, subcomponent = separators
    return Syntax(encoding, field, component, repetition, escape, subcomponent), tolerances


def _is_content(mark: str) -> bool:
    """A separator that text could hold unescaped would make every field ambiguous."""
    return mark.isalnum() or mark.isspace() or not mark.isprintable() or mark in '"\ufffd'

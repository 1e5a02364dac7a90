"""What is in this composite value? CX, XPN, XAD, XTN, XCN, XON, CWE and HD as dataclasses, one repetition at a time.

HL7 v2.5 chapter 2.A as constrained by Interop'Santé, "Contraintes sur les types de données" 1.8.2. Names of
authorities are never compared: samples write `ASIP-SANTE- PS` with a blank; OIDs are.
"""

from __future__ import annotations

from dataclasses import dataclass

from mapping import er7, systems


@dataclass(frozen=True, slots=True)
class Authority:
    """HD: who gave a number. In France `kind` may be M or N (FINESS of a legal entity or site) or L (local)."""

    name: str = ""
    id: str = ""
    kind: str = ""

    @property
    def oid(self) -> str:
        return self.id if systems.is_oid(self.id) else ""

    def system(self, number_kind: str) -> str:
        """The FHIR system of the numbers it gives. A FINESS or local name needs the kind of number beside it:
        the file numbers and the patient numbers of one hospital must not share a system, nor those of two hospitals.
        """
        if self.oid:
            return f"urn:oid:{self.id}"
        if self.kind == "UUID" and self.id:
            return f"urn:uuid:{self.id.lower()}"
        if self.kind in ("M", "N") and self.id:
            return systems.local(number_kind, "finess", self.id)
        return systems.local(number_kind, "local", self.name or self.id) if self.name or self.id else ""


@dataclass(frozen=True, slots=True)
class Number:
    """CX: a number with its authority and type (PI, INS, AN, VN ...)."""

    value: str
    authority: Authority
    type: str
    has_dates: bool
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class PersonName:
    """XPN: birth given names are `given` (the first) and `all_given` (the list); `type` L, D, S, U."""

    family: str
    given: str
    all_given: str
    prefix: str
    type: str
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class Address:
    """XAD. `type` BDL is the birth place; `insee` the municipality or country code."""

    lines: tuple[str, ...]
    city: str
    postal_code: str
    country: str
    type: str
    insee: str


@dataclass(frozen=True, slots=True)
class Telecom:
    """XTN as FHIR sees it: `system` phone, fax, pager, email; `use` may be empty."""

    system: str
    value: str
    use: str


@dataclass(frozen=True, slots=True)
class Person:
    """XCN: a professional or, in PRT, a patient."""

    id: str
    family: str
    given: str
    prefix: str
    authority: Authority
    type: str


@dataclass(frozen=True, slots=True)
class Organization:
    """XON: .10 is the number, .3 the older place for it."""

    name: str
    id: str
    authority: Authority
    type: str


@dataclass(frozen=True, slots=True)
class Coded:
    """A code with its FHIR system ("" unknown) and label."""

    code: str
    system: str = ""
    display: str = ""


def authority(value: er7.Repetition, component: int) -> Authority:
    """HD inside a component."""
    return Authority(*(value.text(component, sub) for sub in (1, 2, 3)))


def number(value: er7.Repetition) -> Number:
    """CX."""
    dates = bool(value.raw(7) or value.raw(8))
    deleted = value.get(1) is er7.DELETE
    return Number(value.text(1), authority(value, 4), value.text(5), dates, deleted)


def person_name(value: er7.Repetition) -> PersonName:
    """XPN. The surname is the first sub-component: own and partner's parts may follow."""
    deleted = value.get(1) is er7.DELETE
    return PersonName(value.text(1, 1), value.text(2), value.text(3), value.text(5), value.text(7), deleted)


def address(value: er7.Repetition) -> Address:
    r"""XAD. French senders put several lines in .2, joined by an escaped component separator (`\S\`)."""
    more = value.text(2).split("^") if value.raw(2) else []
    lines = tuple(line.strip() for line in (value.text(1, 1), *more) if line.strip())
    return Address(lines, value.text(3), value.text(5), value.text(6), value.text(7), value.text(9))


def telecom(value: er7.Repetition) -> Telecom | None:
    """XTN, None when it holds no number and no address. .4 is the mail address, .12 the number, .1 its old place."""
    use = {"PRN": "home", "ORN": "home", "WPN": "work"}.get(value.text(2), "")
    kind = value.text(3)
    if mail := value.text(4):
        return Telecom("email", mail, use)
    digits = value.text(12) or value.text(1)
    if not digits:
        return None
    if kind == "CP":
        return Telecom("phone", digits, "mobile")
    return Telecom({"FX": "fax", "BP": "pager"}.get(kind, "phone"), digits, use)


def person(value: er7.Repetition) -> Person:
    """XCN."""
    return Person(value.text(1), value.text(2, 1), value.text(3), value.text(6), authority(value, 9), value.text(13))


def organization(value: er7.Repetition) -> Organization:
    """XON."""
    return Organization(value.text(1), value.text(10) or value.text(3), authority(value, 6), value.text(7))


def coded(value: er7.Repetition) -> Coded:
    """CWE or CE, first triplet; blanks inside codes are dropped, the guides' own tables hold some."""
    return Coded("".join(value.text(1).split()), systems.of_code(value.text(3)), value.text(2))

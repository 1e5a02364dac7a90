"""What happened in a made-up region, in plain Python: nothing of the record, of FHIR or of SQL.

The oracle judges by these facts alone. Times are hours since the beginning; `None` is an open end.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Person:
    """Somebody under one hat."""

    role: str
    person: str
    structure: str
    profession: str

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.role, self.person, self.structure})


@dataclass
class Span:
    start: float | None = None
    end: float | None = None

    def holds(self, now: float) -> bool:
        return (self.start is None or self.start <= now) and (self.end is None or now <= self.end)


@dataclass
class Decision:
    """What a patient decided: `kind` is share, against-all, against-some or keep-inside."""

    ref: str
    kind: str
    span: Span
    state: str = "active"  # or ended
    whom: frozenset[str] = frozenset()


@dataclass
class Patient:
    ref: str
    circle: list[tuple[str, Span]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    emergencies: list[tuple[str, Span]] = field(default_factory=list)


@dataclass
class Thing:
    """One resource. `named` are roles or people it was sent to, `level` its label, `hidden_from` health or social."""

    ref: str
    patient: str | None
    author: Person | None = None
    named: set[str] = field(default_factory=set)
    level: str = "prive"
    kind: str = ""
    hidden_from: frozenset[str] = frozenset()


@dataclass
class Talk:
    """A conversation: who is in it, and its messages in order with what they cite."""

    ref: str
    patient: str | None
    members: list[str]
    messages: list[tuple[float, Thing, list[Thing]]] = field(default_factory=list)
    around: list[Thing] = field(default_factory=list)  # the header and its team: all members, past and present


@dataclass
class Region:
    people: list[Person] = field(default_factory=list)
    patients: dict[str, Patient] = field(default_factory=dict)
    things: dict[str, Thing] = field(default_factory=dict)
    talks: list[Talk] = field(default_factory=list)
    now: float = 0.0

"""What do the pages of account requests ask of the hub, and how are its codes said in French?

Nobody is signed in on these pages: the hub checks every word (`hub/joining/asking.py`) and says what may be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hub.joining import request

STAGES = {
    request.MAIL: "Adresse à confirmer",
    request.REVIEW: "En cours de vérification",
    request.APPROVED: "Acceptée",
    request.OPEN: "Compte ouvert",
    request.REFUSED: "Refusée",
}
CHECKS = {
    "identity": "Identité",
    "profession": "Profession",
    "registration": "Droit d'exercer",
    "structure": "Lieu d'exercice",
    "mail": "Adresse de courriel",
}
RESULTS = {"passed": "vérifié", "failed": "non", "todo": "à vérifier", "to-correct": "à corriger"}


class Facts(Protocol):
    """What the directory says in public of a number: a person with `works`, or a `structure`."""

    @property
    def name(self) -> str: ...
    @property
    def works(self) -> Sequence[str]: ...
    @property
    def structure(self) -> str: ...


class Check(Protocol):
    """One check: codes, where the result comes from and when, words and a link that help."""

    @property
    def code(self) -> str: ...
    @property
    def result(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def at(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def link(self) -> str: ...


class Followed(Protocol):
    """How a request stands; instants as texts, `mail` shortened."""

    @property
    def stage(self) -> str: ...
    @property
    def checks(self) -> Sequence[Check]: ...
    @property
    def asked(self) -> str: ...
    @property
    def due(self) -> str: ...
    @property
    def because(self) -> str: ...
    @property
    def mail(self) -> str: ...
    @property
    def is_late(self) -> bool: ...


class Requests(Protocol):
    """Requests as their authors see them. A `secret` is the last part of a link."""

    @property
    def terms(self) -> str:
        """The version of the terms of use that are to be accepted."""

    @property
    def contact(self) -> str:
        """Who helps, "" when nobody was named."""

    async def unused(self) -> str:
        """For administrators: accounts warned of or closed since nobody uses them, as CSV."""

    async def look_up(self, number: str) -> Facts | None:
        """Whom the directory knows by a number. Raises Invalid."""

    async def ask(self, typed: request.Typed, once: str) -> str:
        """The secret of the page that follows the new request. Raises Invalid, an issue for each field."""

    async def follow(self, secret: str) -> Followed:
        """How a request stands. Raises NotFound."""

    async def again(self, secret: str) -> None:
        """Send the mail that asks to confirm once more. Raises NotFound."""

    async def awaits(self, secret: str) -> bool:
        """Does the link of a mail wait to be opened? Raises NotFound."""

    async def confirm(self, secret: str) -> str:
        """The address is theirs: the secret of the page that follows. Raises NotFound."""

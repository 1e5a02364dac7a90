"""What is every page handed? The API, the feed, the sign-in, the clock, the templates.

The conductor builds one Room for the process (`app.build`); nothing here is global.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Protocol

import jinja2

from common import clock
from fhir_server import access
from web import fhir


class Change(Protocol):
    """Something a listener may see has changed. An empty `type` means: look at everything again."""

    @property
    def seq(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def conversation(self) -> str | None: ...


class Feed(Protocol):
    """Changes from the first step of the iteration on; the iterator registers itself before it first waits."""

    def subscribe(self, caller: access.Caller) -> AsyncIterator[Change]: ...


class Hat(Protocol):
    """One way of working: `actor` names it, `label` says which it is."""

    @property
    def actor(self) -> str: ...
    @property
    def label(self) -> str: ...


class Arrived(Protocol):
    """Somebody whom Pro Santé Connect named: their hats, a ticket to put one on, and where they wanted to go."""

    @property
    def hats(self) -> Sequence[Hat]: ...
    @property
    def ticket(self) -> str: ...
    @property
    def back(self) -> str: ...


class National(Protocol):
    """Sign-in through Pro Santé Connect."""

    async def begin(self, back: str) -> tuple[str, str]:
        """Where to send the person, and what the browser has to bring back. Raises Unavailable."""

    async def finish(self, answer: Mapping[str, str], sealed: str) -> Arrived:
        """Who came back. Raises Unauthenticated, Forbidden for whom nobody knows here, Unavailable."""

    async def wear(self, ticket: str, actor: str) -> str:
        """A token for one of the hats. Raises Unauthenticated, Forbidden."""


class Session(Protocol):
    """Somewhere a person is signed in; `since` and `until` are instants."""

    @property
    def id(self) -> str:
        """Names it, opens nothing."""

    @property
    def client(self) -> str:
        """By which way or software."""

    @property
    def name(self) -> str:
        """Of the person, under that hat."""

    @property
    def since(self) -> str:
        """When it began."""

    @property
    def until(self) -> str:
        """When it ends by itself."""

    @property
    def is_this(self) -> bool:
        """Is it the one that asks?"""


class SignIn(Protocol):
    """Who may come in. Tokens are opaque here."""

    @property
    def national(self) -> National | None:
        """None where it is not set up."""

    async def persona(self, name: str) -> str:
        """A new token for a persona of the demo. Raises NotFound, or Forbidden outside the demo."""

    async def check(self, token: str) -> access.Caller:
        """Who this token stands for. Raises Unauthenticated when unknown, expired or revoked."""

    async def forget(self, token: str) -> None:
        """The token stands for nobody from now on."""

    async def sessions(self, token: str) -> Sequence[Session]:
        """Where the person of this token is signed in, this session first."""

    async def end_session(self, token: str, id: str) -> None:
        """One of theirs ends; another's is left alone."""


@dataclass(frozen=True, slots=True)
class Persona:
    """A one-tap tile of the demo: `name` for the sign-in, `label` and `what` for the reader."""

    name: str
    label: str
    what: str


@dataclass(frozen=True, slots=True)
class Room:
    """Everything a page needs besides the request. `personas` is empty outside the demo."""

    api: fhir.AsPerson
    feed: Feed
    sign_in: SignIn
    personas: Sequence[Persona]
    now: clock.Clock
    zone: tzinfo
    templates: jinja2.Environment
    seconds_between_signs_of_life: float = 15.0

    @property
    def demo(self) -> bool:
        """Fictitious data: every page says so."""
        return bool(self.personas)

    def local(self) -> datetime:
        """Now, in the region's zone."""
        return self.now().astimezone(self.zone)

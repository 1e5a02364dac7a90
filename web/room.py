"""What is every page handed? The API, the feed, the sign-in, the clock, the templates.

The conductor builds one Room for the process (`app.build`); nothing here is global.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Protocol

import jinja2

from common import clock
from fhir_server import access
from web import fhir
from web.requests import Requests
from web.ways import Arrived, Ways


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
    def ways(self) -> Ways:
        """How people come in, and what they meet inside."""

    async def persona(self, name: str) -> str:
        """A new token for a persona of the demo. Raises NotFound, or Forbidden outside the demo."""

    async def check(self, token: str) -> access.Caller:
        """Who this token stands for.

        Raises Unauthenticated when unknown, expired or revoked, TermsPending before the terms are accepted.
        """

    async def accept(self, token: str) -> None:
        """The person of this token accepts the terms of use. Raises Unauthenticated."""

    async def accepted(self, token: str) -> Sequence[tuple[str, str]]:
        """Versions of the terms that they accepted, and instants. Raises Unauthenticated."""

    async def forget(self, token: str) -> None:
        """The token stands for nobody from now on."""

    async def waiting(self, ticket: str) -> Arrived:
        """Somebody who came in and has not chosen a hat yet. Raises Unauthenticated, Forbidden."""

    async def wear(self, ticket: str, actor: str) -> str:
        """A token for one of the hats of who came in. Raises Unauthenticated, Forbidden."""

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
    requests: Requests | None = None

    @property
    def demo(self) -> bool:
        """Fictitious data: every page says so."""
        return bool(self.personas)

    def local(self) -> datetime:
        """Now, in the region's zone."""
        return self.now().astimezone(self.zone)

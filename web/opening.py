"""What do the pages ask of the hub when an app is opened, or when a software opens the app?

Interfaces alone: the conductor brings what stands behind them. A `token` is the person's bearer token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Resource = dict[str, Any]


class Consent(Protocol):
    """What an app asks of a person: `scopes` under this `hat`, then the browser goes on at `place`, an origin.

    `patient` is whom it is opened for, if anybody; `picks`: the person says whom. `back`: go there at once instead.
    """

    @property
    def app(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def scopes(self) -> Sequence[str]: ...
    @property
    def hat(self) -> str: ...
    @property
    def patient(self) -> Resource | None: ...
    @property
    def picks(self) -> bool: ...
    @property
    def back(self) -> str: ...


class Apps(Protocol):
    """Apps that people open. Raises Unreadable for a request that nobody may be sent away with."""

    async def check(self, params: Sequence[tuple[str, str]]) -> str:
        """Where to go when the request cannot be answered, "" when it can."""

    async def consent(self, params: Sequence[tuple[str, str]], token: str) -> Consent:
        """What to ask the person of this session. Raises Unauthenticated, Forbidden."""

    async def allow(self, params: Sequence[tuple[str, str]], token: str, picked: str = "") -> str:
        """They agreed: where to go. Raises Unauthenticated, Forbidden, NotFound for a patient they may not see."""

    async def deny(self, params: Sequence[tuple[str, str]]) -> str:
        """They did not: where to go."""


class Context(Protocol):
    """What a software opens for a person: `name` under `hat` (`actor`) goes on with `patient`."""

    @property
    def software(self) -> str: ...
    @property
    def actor(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def hat(self) -> str: ...
    @property
    def patient(self) -> Resource: ...


class Launches(Protocol):
    """What softwares open here for people who are signed in there. Raises Forbidden for what is no longer good."""

    async def shown(self, launch: str, iss: str) -> Context:
        """What it opens; it stays good."""

    async def open(self, launch: str, iss: str) -> str:
        """A token of that person, once."""

    async def take(self, launch: str) -> None:
        """It is used now."""

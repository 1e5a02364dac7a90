"""What do the pages of sign-in and accounts ask of the hub?

Interfaces alone: the conductor brings what stands behind them. Texts called `sealed`, `ticket` or `browser` go to the
browser and come back; only the hub can read or make them. A `token` is the person's bearer token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from web.opening import Apps, Launches


class Hat(Protocol):
    """One way of working: `actor` names it, `label` says which it is."""

    @property
    def actor(self) -> str: ...
    @property
    def label(self) -> str: ...


class Arrived(Protocol):
    """Somebody who was recognised: their hats, a ticket to put one on, and where they wanted to go."""

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


class Entered(Protocol):
    """Somebody who came in, and what their browser keeps so that it is known next time."""

    @property
    def arrived(self) -> Arrived: ...
    @property
    def browser(self) -> str: ...


class Enter(Protocol):
    """Sign-in without a card. All raise Unauthenticated; TooMany after too many wrong tries."""

    @property
    def host(self) -> str:
        """The host name that passkeys work at, "" for none."""

    async def password(self, mail: str, password: str, browser: str, back: str) -> str:
        """The ticket for the second factor."""

    async def second(self, ticket: str, code: str) -> Entered:
        """Whose code this is."""

    async def asked(self, back: str) -> tuple[dict[str, Any], str]:
        """Options for a passkey, and `sealed`. Raises NotFound where none works."""

    async def passkey(self, answer: str, sealed: str) -> Entered:
        """Whose passkey answered."""


class Invited(Protocol):
    """What the page of a link shows."""

    @property
    def mail(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def qr(self) -> str:
        """An SVG element."""

    @property
    def typed(self) -> str:
        """The same for whoever cannot read it."""

    @property
    def sealed(self) -> str: ...
    @property
    def passkeys(self) -> bool: ...


class Setup(Protocol):
    """Means of signing in, set through a link whose `secret` opens it once. All raise NotFound."""

    async def begin(self, secret: str) -> Invited: ...
    async def password(self, secret: str, sealed: str, password: str, code: str) -> list[str]:
        """The codes to print. Raises Invalid, Unauthenticated."""

    async def asked(self, secret: str) -> tuple[dict[str, Any], str]: ...
    async def passkey(self, secret: str, answer: str, sealed: str, name: str) -> Arrived:
        """They are in. Raises Invalid, Unauthenticated."""


class Passkey(Protocol):
    """One of an account; times in microseconds since 1970."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def created(self) -> int: ...
    @property
    def used(self) -> int: ...


class Mine(Protocol):
    """An account as its owner sees it."""

    @property
    def mail(self) -> str: ...
    @property
    def has_password(self) -> bool: ...
    @property
    def papers_left(self) -> int: ...
    @property
    def passkeys(self) -> Sequence[Passkey]: ...
    @property
    def passkeys_work(self) -> bool: ...
    @property
    def may_change(self) -> bool: ...


class Own(Protocol):
    """The account of the person of a token. All but `mine` raise Forbidden for whoever may change nothing now."""

    async def mine(self, token: str) -> Mine | None: ...
    async def change_password(self, token: str, before: str, after: str) -> None:
        """Raises Invalid, TooMany."""

    async def new_papers(self, token: str) -> list[str]: ...
    async def asked(self, token: str) -> tuple[dict[str, Any], str]: ...
    async def add_passkey(self, token: str, answer: str, sealed: str, name: str) -> None:
        """Raises Invalid, Unauthenticated."""

    async def remove_passkey(self, token: str, id: str) -> None:
        """Raises NotFound, Conflict."""


class Person(Protocol):
    """Somebody who may act for another."""

    @property
    def actor(self) -> str: ...
    @property
    def label(self) -> str: ...


class Given(Protocol):
    """A delegation; `until` is an instant."""

    @property
    def id(self) -> str: ...
    @property
    def delegate(self) -> str: ...
    @property
    def until(self) -> str: ...


class Offices(Protocol):
    """What somebody gave, and to whom they may give."""

    @property
    def given(self) -> Sequence[Given]: ...
    @property
    def colleagues(self) -> Sequence[Person]: ...


class Delegating(Protocol):
    """Who acts for the person of a token."""

    async def offices(self, token: str) -> Offices: ...
    async def give(self, token: str, delegate: str) -> None:
        """Raises Forbidden, Invalid."""

    async def end(self, token: str, id: str) -> None:
        """Raises NotFound."""


class Text(Protocol):
    """Terms of use; paragraphs that begin with `# ` are headings."""

    @property
    def version(self) -> str: ...
    @property
    def paragraphs(self) -> Sequence[str]: ...


class Terms(Protocol):
    """The terms of use in force."""

    @property
    def text(self) -> Text: ...


class Ways(Protocol):
    """Every way to come in, and what everybody meets inside. `national` is None where it is not set up."""

    @property
    def national(self) -> National | None: ...
    @property
    def enter(self) -> Enter: ...
    @property
    def setup(self) -> Setup: ...
    @property
    def own(self) -> Own: ...
    @property
    def delegating(self) -> Delegating: ...
    @property
    def terms(self) -> Terms: ...
    @property
    def apps(self) -> Apps: ...
    @property
    def launches(self) -> Launches: ...

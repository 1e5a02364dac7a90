"""How does somebody without a card come in? (ACC-06)

By an address and a password, then a second factor; or by a passkey, which is both. What is wrong is never said more
precisely than that it is wrong. Wrong tries are counted by account and by browser (`identity.attempts`): whoever
guesses from elsewhere slows themselves down, not the owner.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from common import errors
from hub import profiles
from hub.accounts.means import Means
from identity.accounts import Account, folded

LIFETIME = timedelta(hours=12)
_SECOND, _CHALLENGE = timedelta(minutes=5), timedelta(minutes=5)
_KNOWN = timedelta(days=180)


@dataclass(frozen=True, slots=True)
class Entered:
    """Somebody who came in: their hats, and what their browser keeps so that it is known next time."""

    arrived: profiles.Arrived
    browser: str


class Enter:
    """Signing in with the means of an account."""

    def __init__(self, means: Means, kept: profiles.Profiles) -> None:
        self._means = means
        self._profiles = kept

    @property
    def host(self) -> str:
        """The host name that passkeys work at, "" for none."""
        return self._means.passkeys.place.host if self._means.passkeys else ""

    async def password(self, mail: str, password: str, browser: str, back: str) -> str:
        """The ticket for `second`. Raises Unauthenticated, TooMany after too many wrong ones."""
        guessed = f"password\0{folded(mail)}\0{self._counted_by(browser, folded(mail))}"
        await self._count(self._means.guesses.take, guessed)
        async with self._means.hashing:
            account = await asyncio.to_thread(self._means.accounts.by_password, mail, password)
        if account is None:
            raise errors.Unauthenticated("adresse ou mot de passe inconnu")
        await asyncio.to_thread(self._means.guesses.forget, guessed)
        return self._profiles.close("second", {"account": account.id, "back": back}, _SECOND)

    async def second(self, ticket: str, code: str) -> Entered:
        """Whose one-time code, or code on paper, this is. Raises Unauthenticated, TooMany."""
        kept, _ = self._profiles.opened("second", ticket)
        account = await asyncio.to_thread(self._means.accounts.named, kept["account"])
        if account is None or account.closed:
            raise errors.Unauthenticated("cette connexion a expiré : recommencez")
        await self._count(self._means.codes_tried.take, f"code\0{account.id}")
        if not await asyncio.to_thread(self._is_theirs, account, code):
            raise errors.Unauthenticated("code faux, ou qui a déjà servi : attendez le suivant")
        await asyncio.to_thread(self._means.codes_tried.forget, f"code\0{account.id}")
        return await self._entered(account, "password", kept["back"])

    async def asked(self, back: str) -> tuple[dict[str, Any], str]:
        """What the browser needs to use a passkey, and what it brings back sealed with the answer.

        Raises NotFound where no passkey can work.
        """
        options, challenge = await asyncio.to_thread(self._means.passkeys_here.asked)
        return options, self._profiles.close("challenge", {"challenge": challenge, "back": back}, _CHALLENGE)

    async def passkey(self, answer: str, sealed: str) -> Entered:
        """Whose passkey answered. Raises Unauthenticated."""
        kept = await self._profiles.opened_once("challenge", sealed)
        id = await asyncio.to_thread(self._means.passkeys_here.owner, answer, kept["challenge"])
        account = await asyncio.to_thread(self._means.accounts.named, id)
        if account is None or account.closed:
            raise errors.Unauthenticated("cette clé d'accès n'est pas reconnue ici")
        return await self._entered(account, "passkey", kept["back"])

    def _is_theirs(self, account: Account, code: str) -> bool:
        if account.totp and (step := self._means.codes.step(account.totp, code, self._means.now())):
            return self._means.accounts.use_step(account, step)
        return self._means.accounts.use_paper(account, code)

    async def _entered(self, account: Account, way: str, back: str) -> Entered:
        arrived = await self._profiles.arrived(account.practitioner, profiles.Proved(way, LIFETIME), back)
        await asyncio.to_thread(self._means.accounts.saw, account)
        return Entered(arrived, self._profiles.close("browser", {"mail": account.mail}, _KNOWN))

    def _counted_by(self, browser: str, mail: str) -> str:
        """A browser that came in with this address before has its own count, all others share one."""
        try:
            kept, _ = self._profiles.opened("browser", browser)
        except errors.Unauthenticated:
            kept = {}
        return browser if kept.get("mail") == mail else "unknown"

    async def _count(self, take: Any, what: str) -> None:
        if wait := await asyncio.to_thread(take, what):
            minutes = -(-wait // 60)
            raise errors.TooMany(f"trop d'essais : recommencez dans {minutes} min, ou prenez une clé d'accès")

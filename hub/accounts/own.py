"""How does somebody change how they sign in? (ACC-06)

Signed in by those very means a short while ago, and for themselves: neither a software nor a delegate, and not
whoever finds an open browser after lunch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from common import clock, errors
from hub import people, profiles
from hub.accounts.means import Means
from hub.room import Room
from identity import passkeys, passwords, tokens
from identity.accounts import Account

WAYS = ("password", "passkey")
_FRESH = timedelta(minutes=15)
_TIME = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Mine:
    """An account as its owner sees it. `may_change`: did they sign in a short while ago?"""

    mail: str
    has_password: bool
    papers_left: int
    passkeys: Sequence[passkeys.Passkey]
    passkeys_work: bool
    may_change: bool


class Own:
    """The account of the person whose bearer token every function is given.

    All raise Forbidden for whoever has none, or signed in too long ago to change anything; `mine` says so instead.
    """

    def __init__(self, means: Means, kept: tokens.Tokens, sealing: profiles.Profiles, room: Room) -> None:
        self._means = means
        self._tokens = kept
        self._profiles = sealing
        self._room = room

    async def mine(self, token: str) -> Mine | None:
        """Their account; None for whoever signs in with a card, acts for another, or comes by a software."""
        account, is_fresh = await asyncio.to_thread(self._account, token)
        if account is None:
            return None
        held = await asyncio.to_thread(self._means.passkeys.of, account) if self._means.passkeys else []
        left = await asyncio.to_thread(self._means.accounts.papers_left, account)
        return Mine(account.mail, bool(account.password), left, held, self._means.passkeys is not None, is_fresh)

    async def change_password(self, token: str, before: str, after: str) -> None:
        """Another password, after which no other session of theirs is left; `before` is the one of now.

        Raises Invalid for a poor one, or when that is wrong, and TooMany.
        """
        account = await self._changing(token)
        if not account.password:
            raise errors.Forbidden("votre compte n'a pas de mot de passe")
        passwords.check(after, account.mail)
        tried = f"change\0{account.id}"
        if wait := await asyncio.to_thread(self._means.guesses.take, tried):
            raise errors.TooMany(f"trop d'essais : recommencez dans {-(-wait // 60)} min")
        async with self._means.hashing:
            if not await asyncio.to_thread(passwords.matches, account.password, before):
                raise errors.Invalid("le mot de passe actuel n'est pas celui-là")
            await asyncio.to_thread(self._means.accounts.change_password, account, after)
        await asyncio.to_thread(self._means.guesses.forget, tried)
        for one in await asyncio.to_thread(self._tokens.sessions, token):
            if not one.is_this:
                await asyncio.to_thread(self._tokens.end_session, token, one.id)

    async def new_papers(self, token: str) -> list[str]:
        """New codes to print; those of before are good no more."""
        account = await self._changing(token)
        if not account.totp:
            raise errors.Forbidden("les codes de secours vont avec un mot de passe")
        return await asyncio.to_thread(self._means.accounts.new_papers, account)

    async def asked(self, token: str) -> tuple[dict[str, Any], str]:
        """What the browser needs to make one more passkey, and what it brings back sealed."""
        account = await self._changing(token)
        name, _ = await people.name(account.practitioner, self._room)
        options, challenge = await asyncio.to_thread(self._means.passkeys_here.offered, account, name)
        return options, self._profiles.close("made", {"challenge": challenge, "account": account.id}, _TIME)

    async def add_passkey(self, token: str, answer: str, sealed: str, name: str) -> None:
        """One more passkey. Raises Invalid, Unauthenticated."""
        account = await self._changing(token)
        kept, _ = self._profiles.opened("made", sealed)
        if kept["account"] != account.id:
            raise errors.Unauthenticated("cette demande était pour un autre compte : recommencez")
        await asyncio.to_thread(self._means.passkeys_here.keep, account, answer, kept["challenge"], name)

    async def remove_passkey(self, token: str, id: str) -> None:
        """One passkey less. Raises NotFound, Conflict for the only means that is left."""
        account = await self._changing(token)
        await asyncio.to_thread(self._means.passkeys_here.remove, account, id)

    async def _changing(self, token: str) -> Account:
        account, is_fresh = await asyncio.to_thread(self._account, token)
        if account is None:
            raise errors.Forbidden("vous vous connectez par carte ou par un logiciel : rien à changer ici")
        if not is_fresh:
            raise errors.Forbidden("par sécurité, déconnectez-vous et reconnectez-vous avant ce changement")
        return account

    def _account(self, token: str) -> tuple[Account | None, bool]:
        told = self._tokens.told(token)
        if told is None or told.identity.client not in WAYS or told.identity.delegate:
            return None, False
        account = self._means.accounts.of(told.identity.person)
        if account is None or account.closed:
            return None, False
        return account, told.created >= clock.micros(self._means.now() - _FRESH)

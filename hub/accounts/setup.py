"""How does somebody set their means of signing in? By a link that is good once (ACC-06).

A passkey, or a password with one-time codes and ten codes on paper for the day the telephone is lost.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import segno

from common import errors
from hub import people, profiles
from hub.accounts.enter import LIFETIME
from hub.accounts.means import Means
from hub.room import Room
from identity import passwords

_TIME = timedelta(minutes=30)  # to read the page and set the telephone up


@dataclass(frozen=True, slots=True)
class Invited:
    """What the page shows: whose account, the QR code (an SVG element) and what to type where none can be read.

    `sealed` comes back with the form. `passkeys`: can one work here?
    """

    mail: str
    name: str
    qr: str
    typed: str
    sealed: str
    passkeys: bool


class Setup:
    """Setting means through a link, whose secret every function is given. All raise NotFound when it is no more."""

    def __init__(self, means: Means, kept: profiles.Profiles, room: Room) -> None:
        self._means = means
        self._profiles = kept
        self._room = room

    async def begin(self, secret: str) -> Invited:
        """Whose link this is, and a fresh secret for one-time codes."""
        account = await asyncio.to_thread(self._means.accounts.invited, secret)
        name, _ = await people.name(account.practitioner, self._room)
        totp = self._means.codes.new()
        drawn = segno.make(self._means.codes.address(totp, account.mail))
        qr = drawn.svg_inline(border=2, light="#fff", omitsize=True)
        sealed = self._profiles.close("setup", {"totp": totp, "account": account.id}, _TIME)
        typed = self._means.codes.secret(totp)
        return Invited(account.mail, name, qr, typed, sealed, self._means.passkeys is not None)

    async def password(self, secret: str, sealed: str, password: str, code: str) -> list[str]:
        """From now on they sign in by this; the codes to print.

        Raises Invalid for a poor password or a code that is not of this secret, Unauthenticated after too long a time.
        """
        account = await asyncio.to_thread(self._means.accounts.invited, secret)
        kept, _ = self._profiles.opened("setup", sealed)
        passwords.check(password, account.mail)
        step = self._means.codes.step(kept["totp"], code, self._means.now()) if kept["account"] == account.id else 0
        if not step:
            raise errors.Invalid("ce code n'est pas celui que montre l'application : vérifiez l'heure du téléphone")
        async with self._means.hashing:
            return await asyncio.to_thread(self._means.accounts.set_password, secret, password, kept["totp"], step)

    async def asked(self, secret: str) -> tuple[dict[str, Any], str]:
        """What the browser needs to make a passkey, and what comes back sealed. Raises NotFound where none works."""
        account = await asyncio.to_thread(self._means.accounts.invited, secret)
        name, _ = await people.name(account.practitioner, self._room)
        options, challenge = await asyncio.to_thread(self._means.passkeys_here.offered, account, name)
        return options, self._profiles.close("made", {"challenge": challenge, "account": account.id}, _TIME)

    async def passkey(self, secret: str, answer: str, sealed: str, name: str) -> profiles.Arrived:
        """From now on they sign in by this passkey, and do so now. Raises Invalid, Unauthenticated."""
        account = await asyncio.to_thread(self._means.accounts.invited, secret)
        kept, _ = self._profiles.opened("made", sealed)
        if kept["account"] != account.id:
            raise errors.Unauthenticated("cette demande était pour un autre compte : recommencez")
        keep = partial(self._means.passkeys_here.keep, account, answer, kept["challenge"], name, invitation=secret)
        await asyncio.to_thread(keep)
        await asyncio.to_thread(self._means.accounts.saw, account)
        return await self._profiles.arrived(account.practitioner, profiles.Proved("passkey", LIFETIME), "/")

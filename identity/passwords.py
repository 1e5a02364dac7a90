"""Is this a password, and is it theirs?

Kept as Argon2id with the library's own costs, which rise with its versions: what was kept with lower ones is kept again
at the next sign-in. What a password must be follows the CNIL (délibération 2022-100, with a second factor) and the
NIST (SP 800-63B, 5.1.1): long enough, not guessable from the person, no rules about kinds of characters.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import argon2
from argon2 import exceptions

from common import errors

SHORTEST, LONGEST = 12, 256
_FEWEST_KINDS = 6  # different characters
_SHORTEST_PART = 4  # of the address, that the password must not hold
_KNOWN = ("motdepasse", "password", "azerty", "qwerty", "123456", "abcdef")
_hasher = argon2.PasswordHasher()


def check(password: str, mail: str) -> None:
    """Raises Invalid with what to change when it is too easy to guess for whoever knows the address."""
    text = _folded(password)
    if not SHORTEST <= len(text) <= LONGEST:
        raise errors.Invalid(
            f"mot de passe : {SHORTEST} à {LONGEST} caractères, par exemple quatre mots", at="password"
        )
    lower = text.lower()
    parts = [one for one in mail.lower().replace("@", ".").replace("-", ".").split(".") if len(one) >= _SHORTEST_PART]
    if len(set(lower)) < _FEWEST_KINDS or any(one in lower for one in (*parts, *_KNOWN)):
        raise errors.Invalid(
            "mot de passe : trop facile à deviner ; évitez votre nom, votre adresse et les suites", at="password"
        )


def hashed(password: str) -> str:
    """What is kept of it. Takes some tens of milliseconds and 64 MiB: never in the event loop."""
    return _hasher.hash(_folded(password))


def matches(kept: str, password: str) -> bool:
    """Is it the one that was kept? Without one (`""`) it takes as long, and it is not."""
    try:
        return _hasher.verify(kept or _nobodys(), _folded(password)[:LONGEST]) and bool(kept)
    except (exceptions.VerificationError, exceptions.InvalidHashError):
        return False


def is_dated(kept: str) -> bool:
    """Was it kept with costs that are too low today?"""
    return _hasher.check_needs_rehash(kept)


@cache
def _nobodys() -> str:
    return _hasher.hash("nobody's password")


def _folded(password: str) -> str:
    """The same from every keyboard (RFC 8265)."""
    return unicodedata.normalize("NFC", password)

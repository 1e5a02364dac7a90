"""Is this the second factor?

One-time codes of an authenticator app (TOTP, RFC 6238: six digits, thirty seconds, one step of tolerance), each good
once; or one of ten codes on paper, when the telephone is lost. The secret of an account is sealed with the hub's key: a
copy of the database alone makes no codes.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode
from datetime import datetime
from hashlib import sha256

import pyotp
from cryptography.fernet import Fernet

ISSUER = "Spico"
PAPER_CODES = 10
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
_PAPER_LENGTH = 10
_STEP_SECONDS = 30


class Codes:
    """The codes of accounts, with the 32 bytes of key that seal their secrets."""

    def __init__(self, key: bytes) -> None:
        self._seal = Fernet(urlsafe_b64encode(key))

    def new(self) -> str:
        """A new secret, sealed."""
        return self._seal.encrypt(pyotp.random_base32().encode()).decode()

    def address(self, sealed: str, mail: str) -> str:
        """`otpauth://…`, which authenticator apps read from a QR code."""
        return self._totp(sealed).provisioning_uri(name=mail, issuer_name=ISSUER)

    def secret(self, sealed: str) -> str:
        """What to type where no QR code can be read, in groups of four."""
        text = self._totp(sealed).secret
        return " ".join(text[n : n + 4] for n in range(0, len(text), 4))

    def step(self, sealed: str, code: str, now: datetime) -> int:
        """The time step that this code is of, 0 when it is of none around now."""
        totp, given = self._totp(sealed), "".join(code.split())
        this = int(now.timestamp()) // _STEP_SECONDS
        near = [
            step for step in (this, this - 1, this + 1) if hmac.compare_digest(totp.generate_otp(step), _ascii(given))
        ]
        return near[0] if near else 0

    def _totp(self, sealed: str) -> pyotp.TOTP:
        return pyotp.TOTP(self._seal.decrypt(sealed.encode()).decode())


def papers() -> list[str]:
    """New codes for a sheet of paper."""
    return [_paper() for _ in range(PAPER_CODES)]


def digest(account: str, code: str) -> bytes:
    """What is kept of a code on paper; it is long enough that nobody finds it by trying."""
    text = "".join(code.lower().split()).replace("-", "")
    return sha256(f"{account}\0{text}".encode("utf-8", "surrogatepass")).digest()


def _paper() -> str:
    text = "".join(secrets.choice(_ALPHABET) for _ in range(_PAPER_LENGTH))
    return f"{text[:5]}-{text[5:]}"


def _ascii(text: str) -> str:
    return text if text.isascii() else ""

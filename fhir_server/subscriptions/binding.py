"""Who may listen to which Subscriptions over a WebSocket, for a few minutes?

The token of `$get-ws-binding-token` is the answer, signed: the Subscriptions, the caller and the moment it ends. Any
process that knows the secret can check it.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec

from common import clock, errors
from fhir_server.access import Caller

LIFETIME = timedelta(minutes=10)
MOST_IDS = 100


class Binding(msgspec.Struct, frozen=True):
    """What a token says. `until` in microseconds since 1970."""

    ids: tuple[str, ...]
    caller: Caller
    until: int


_decode = msgspec.json.Decoder(Binding).decode


def token(binding: Binding, secret: bytes) -> str:
    """The signed text."""
    said = urlsafe_b64encode(msgspec.json.encode(binding)).rstrip(b"=")
    return f"{said.decode()}.{_signature(said, secret)}"


def read(text: str, secret: bytes, *, now: datetime) -> Binding:
    """What a token says. Raises Unauthenticated when it is not ours or has ended."""
    said, _, signature = text.partition(".")
    if not hmac.compare_digest(_signature(said.encode(), secret).encode(), signature.encode()):
        raise errors.Unauthenticated("jeton de liaison inconnu : demandez-en un par $get-ws-binding-token")
    try:
        binding = _decode(urlsafe_b64decode(said + "=" * (-len(said) % 4)))
    except (binascii.Error, msgspec.DecodeError):
        raise errors.Unauthenticated("jeton de liaison illisible") from None
    if binding.until <= clock.micros(now):
        raise errors.Unauthenticated("jeton de liaison expiré : demandez-en un autre")
    return binding


def _signature(said: bytes, secret: bytes) -> str:
    return hmac.new(secret, b"ws-binding|" + said, sha256).hexdigest()

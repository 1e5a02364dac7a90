"""On whose rights is a Subscription served?

Those of the caller who wrote it last, as they were then: actor, software, scopes and memberships, kept beside the
resource and never shown. Every look at data on behalf of the Subscription is made as this caller, at the time of the
look, so that what they stopped seeing is not sent. Rights that are withdrawn from a person or a software will come in
here: `caller` is the one place where the kept text becomes a Caller again.
"""

from __future__ import annotations

import msgspec

from fhir_server.access import Caller

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Caller).decode


def text(caller: Caller) -> str:
    """The caller as it is kept."""
    return _encode(caller).decode()


def caller(kept: str) -> Caller:
    """The caller again; whoever cannot be understood sees nothing."""
    try:
        return _decode(kept)
    except msgspec.DecodeError:
        return Caller(actor=None, memberships=())

"""Which headers accompany a notification, and what of them may be read back?

`Subscription.channel.header` may hold credentials (subscription.html, SubscriptionChannel.header). The values are kept
beside the resource; whoever reads it, its history included, sees the names and a mark. A header that comes back with
the mark keeps its value, unless the notifications would go elsewhere than before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from common import errors

MARK = "***"
AT = "Subscription.channel.header"
MOST = 20
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}):[ \t]*([\x21-\x7e](?:[ \t\x20-\x7e]{0,2046}[\x21-\x7e])?)")
# Those that belong to the connection or to the content, not to whoever subscribes.
_OURS = frozenset(
    "connection content-encoding content-length content-type expect host keep-alive proxy-authorization "
    "proxy-connection te trailer transfer-encoding upgrade user-agent".split()
)


def problems(headers: Sequence[str]) -> list[errors.Issue]:
    """What is wrong with them, all of it."""
    if len(headers) > MOST:
        return [errors.Issue(f"channel.header : {MOST} en-têtes au plus", AT, "too-long")]
    found = []
    for n, one in enumerate(headers):
        shaped = _HEADER.fullmatch(one)
        if not shaped:
            found.append(errors.Issue("en-tête attendu : « Nom: valeur », sur une ligne", f"{AT}[{n}]", "value"))
        elif shaped[1].lower() in _OURS:
            text = f"l'en-tête {shaped[1]} est fixé par le serveur"
            found.append(errors.Issue(text, f"{AT}[{n}]", "business-rule"))
    return found


def apart(headers: Sequence[str], kept: str, *, same_place: bool) -> tuple[list[str], str]:
    """What may be read back, and the text to keep. Raises Invalid for a mark that stands for nothing."""
    known = dict(pairs(kept))
    shown, secret = [], []
    for n, one in enumerate(headers):
        name, _, value = one.partition(":")
        if value.strip() == MARK:
            if name not in known or not same_place:
                text = f"redonnez la valeur de l'en-tête {name} : elle n'est pas connue pour ce destinataire"
                raise errors.Invalid(text, issues=(errors.Issue(text, f"{AT}[{n}]", "value"),))
            value = known[name]
        shown.append(f"{name}: {MARK}")
        secret.append([name, value.strip()])
    return shown, msgspec.json.encode(secret).decode()


def pairs(kept: str) -> list[tuple[str, str]]:
    """The headers as they are sent."""
    return [(name, value) for name, value in msgspec.json.decode(kept)] if kept else []


def place(endpoint: str) -> tuple[str, str]:
    """Whom an endpoint belongs to: scheme and authority."""
    parts = urlsplit(endpoint)
    return parts.scheme, parts.netloc

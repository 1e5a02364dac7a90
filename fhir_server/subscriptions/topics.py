"""Which kinds of event can somebody subscribe to by name?

R4 has no SubscriptionTopic resource: the backport names topics by canonical URL and lists them in the
CapabilityStatement (`capabilitystatement-subscriptiontopic-canonical`). Who serves hands in its own.
"""

from __future__ import annotations

from dataclasses import dataclass

CREATE, UPDATE = "create", "update"
METHODS = {"POST": CREATE, "PUT": UPDATE}


@dataclass(frozen=True, slots=True)
class Topic:
    """Events of one kind.

    `type` None means any: then the filters say which (`Observation?code=…`). `on` are the interactions that count, a
    resource that comes back after a delete is an update. `criteria` is a search that the resource must meet. `became`
    (element, code) asks that the element has this code and that the version before had another or was not there.
    """

    url: str
    title: str
    type: str | None
    on: frozenset[str] = frozenset({CREATE, UPDATE})
    criteria: str = ""
    became: tuple[str, str] | None = None

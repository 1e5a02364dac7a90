"""Which secret is in a link of a request, and how is it made again for a mail?

Keyed digests of the Task: unguessable, and kept nowhere, since they can be made again. The record holds their digests
(`request.linked`), so that whoever reads it cannot follow or confirm a request.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta

from hub import keys
from hub.joining import checks, request
from hub.room import Resource, Room

CONFIRMED_WITHIN = timedelta(hours=48)


def following(id: str, room: Room) -> str:
    """The secret of the page that shows how the request Task/`id` stands."""
    return _made(room, "follow", id)


def confirming(task: Resource, room: Room) -> str:
    """The secret that was mailed last to prove the address of a request."""
    return _made(room, "confirm", task["id"], asked_at(task))


def recipient(mail: str, room: Room) -> str:
    """What an address is counted by; says nothing about it."""
    return _made(room, "to", mail)


def asked_at(task: Resource) -> str:
    """When the address was last asked to confirm, an instant."""
    return next((one.at for one in checks.of_task(task) if one.code == "mail"), "")


def is_over(task: Resource, room: Room) -> bool:
    """Is it too late to confirm the address?"""
    at = asked_at(task)
    return not at or room.now() > datetime.fromisoformat(at) + CONFIRMED_WITHIN


async def found(secret: str, room: Room) -> Resource | None:
    """The request that a link of either kind leads to."""
    digest = request.digest(secret)
    tasks = await room.find("Task", identifier=f"{request.LINK}|{digest}")
    return next((one for one in tasks if request.is_request(one)), None)


def _made(room: Room, *parts: str) -> str:
    key = keys.derived(room.secret, b"account links")
    text = "".join(f"{len(one)}:{one}" for one in parts)
    return urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")[:24]).decode()

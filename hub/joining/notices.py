"""Which mails tell somebody how their request stands, and when are there too many?

Each is a Task of its own (`account-notice`) that the outbox carries: it survives a restart, and how it ended can be
read. Its words are made when it leaves (`hub/flows/notice.py`), so that what is kept holds no secret.
"""

from __future__ import annotations

from datetime import timedelta

from common import clock
from fhir_server import changes
from hub import conversations
from hub.joining import links, request
from hub.room import Resource, Room
from mapping import systems

# To confirm an address; that it has an account already; to set the means of signing in; that it was refused; of an
# account, that it will be closed since nobody uses it, that it is.
CONFIRM, KNOWN, INVITATION, REFUSED = "confirm", "known", "invitation", "refused"
IDLE, CLOSED = "idle", "closed"
AGENTS = f"office:{request.AGENT}"  # who reads requests and notices, as the record names readers
MOST_A_DAY = 5  # to one address, whoever asks: nobody fills the mailbox of somebody else


async def may_ask(mail: str, room: Room) -> bool:
    """Were there not too many mails to this address today?"""
    since = clock.instant(room.now() - timedelta(days=1))
    to = f"{systems.NOTICE_TO}|{links.recipient(mail, room)}"
    return len(await room.find("Task", identifier=to, authored_on=f"ge{since}")) < MOST_A_DAY


def sent(kind: str, about: str, mail: str, room: Room) -> list[changes.Change]:
    """What to commit so that a mail of this kind about `Task/x` (an account: `Practitioner/x`) leaves."""
    now = clock.instant(room.now())
    task: Resource = {
        "resourceType": "Task",
        "identifier": [{"system": systems.NOTICE_TO, "value": links.recipient(mail, room)}],
        "status": "requested",
        "intent": "order",
        "code": conversations.concept(systems.TASK, request.NOTICE),
        "reasonCode": conversations.concept(systems.NOTICE, kind),
        "focus": conversations.reference(about),
        "authoredOn": now,
        "lastModified": now,
    }
    id = room.store.new_id("Task", task)
    return [changes.Create("Task", id, task, frozenset({AGENTS})), changes.Enqueue("mail", "Task", id)]


def is_one(task: Resource) -> bool:
    """Is this Task such a mail?"""
    return conversations.has_code(task.get("code"), systems.TASK, request.NOTICE)


def kind(task: Resource) -> str:
    """CONFIRM, KNOWN, INVITATION, REFUSED, IDLE or CLOSED."""
    return next((str(one["code"]) for one in task["reasonCode"]["coding"] if one.get("system") == systems.NOTICE), "")

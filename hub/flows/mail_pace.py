"""Is a person writing, or two machines to each other? (MSS-09)

Automatic answers that say so never come this far. One that does not say so answers at once, always in the same words:
the third time within an hour it is refused, and so stops; so does whoever sends more than people can type.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from common import errors
from hub.room import Resource, Room
from mapping import systems
from mss import letter

SAME_WORDS = 3
WITHIN = timedelta(hours=1)
MOST_WITHIN = timedelta(minutes=10)


async def check(mail: letter.Letter, header: str, member: str, room: Room) -> None:
    """Raises Forbidden for the same words again and again, TooMany for too many mails of one sender in one thread."""
    now = room.now()
    came = [one for one in await room.find("Communication", part_of=header, sender=member) if _is_mail(one)]
    if any(one["value"] == mail.message_id for held in came for one in held.get("identifier", ())):
        return  # the same mail once more: it will be recognised
    most = room.settings.mail_pace
    if most and sum(_age(one, now) < MOST_WITHIN for one in came) >= most:
        raise errors.TooMany("trop de courriels en peu de temps dans cette conversation", at="From")
    words = " ".join(mail.reply.split())
    same = [one for one in came if _age(one, now) < WITHIN and _words(one) == words]
    if words and len(same) >= SAME_WORDS - 1:
        raise errors.Forbidden("ce texte vient d'arriver plusieurs fois : réponse automatique ?", at="From")


def _is_mail(message: Resource) -> bool:
    coding = (one for medium in message.get("medium", ()) for one in medium.get("coding", ()))
    return any((one.get("system"), one.get("code")) == (systems.MEDIUM, "mssante") for one in coding)


def _age(message: Resource, now: datetime) -> timedelta:
    # When it was written down, not when it says it was sent: that is in the sender's hands.
    return now - datetime.fromisoformat(message["meta"]["lastUpdated"])


def _words(message: Resource) -> str:
    return " ".join(" ".join(one.get("contentString", "") for one in message.get("payload", ())).split())

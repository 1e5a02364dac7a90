"""Which accounts does nobody use any more, and what became of them? (ACC-11)

After some months without a sign-in the person is warned by mail, later the account is closed; both are settings. Only
accounts with means of signing in of their own: whoever comes by a national card has nothing here that grows old. The
list for administrators is CSV, one line for each account that was warned of or closed.
"""

from __future__ import annotations

import asyncio
import csv
import io
from calendar import monthrange
from datetime import datetime, timedelta

from common import clock, errors
from common.events import Events, emit
from fhir_server import access
from hub import people
from hub.joining import notices
from hub.room import Room
from identity import accounts

BETWEEN = timedelta(days=30)  # the least between the warning and the end
EVERY_SECONDS = 24 * 3600.0
COLUMNS = ("compte", "nom", "adresse", "derniere_connexion", "prevenu_le", "ferme_le")


async def watch(room: Room, kept: accounts.Accounts) -> None:
    """Look once a day, for ever; cancelled at shutdown."""
    while True:
        try:
            warned, closed = await look(room, kept)
            if warned or closed:
                emit(Events.IDN_012, warned=warned, closed=closed)
        except errors.HubError as problem:
            emit(Events.HUB_006, error=problem.code)
        await asyncio.sleep(EVERY_SECONDS)


async def look(room: Room, kept: accounts.Accounts) -> tuple[int, int]:
    """Warn and close what is due now: how many of each."""
    now, config = room.now(), room.settings
    idle = await asyncio.to_thread(kept.idle, clock.micros(months_before(now, config.accounts_warned_months)))
    closing = clock.micros(months_before(now, config.accounts_closed_months))
    warned = closed = 0
    for one in idle:
        if not one.warned:
            # First the mail, which a repeated look after a crash sends twice: better than never.
            await _tell(notices.IDLE, one, room)
            await asyncio.to_thread(kept.warned, one)
            warned += 1
        elif max(one.seen, one.created) < closing and one.warned <= clock.micros(now - BETWEEN):
            await asyncio.to_thread(kept.close, one.practitioner)
            await _tell(notices.CLOSED, one, room)
            closed += 1
    return warned, closed


async def recap(room: Room, kept: accounts.Accounts) -> str:
    """The accounts that were warned of or closed, as CSV with dates."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for one in await asyncio.to_thread(kept.told):
        name = await _name(one.practitioner, room)
        days = (_day(moment) for moment in (one.seen, one.warned, one.closed))
        lines.writerow([one.practitioner, *map(_cell, (name, one.mail)), *days])
    return text.getvalue()


def months_before(moment: datetime, months: int) -> datetime:
    """The same day so many months earlier, or the last of its month."""
    years, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    return moment.replace(year=years, month=month + 1, day=min(moment.day, monthrange(years, month + 1)[1]))


async def _tell(kind: str, account: accounts.Account, room: Room) -> None:
    wanted = notices.sent(kind, account.practitioner, account.mail, room)
    await room.store.commit(wanted, caller=access.SYSTEM, cause="account")


async def _name(practitioner: str, room: Room) -> str:
    try:
        return (await people.name(practitioner, room))[0]
    except (errors.NotFound, errors.Gone):
        return ""


def _day(micros: int) -> str:
    return f"{clock.from_micros(micros):%Y-%m-%d}" if micros else ""


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text

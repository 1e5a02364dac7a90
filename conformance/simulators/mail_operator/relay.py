"""Mail that leaves the operator: to its own mailboxes at once, elsewhere through SMTP with retries.

The queue is in the store, so nothing is lost when the process is killed. A refusal, or the end of the retries, puts a
notice in the author's mailbox, as real operators do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import aiosmtplib

from conformance.simulators.mail_operator import reports, smtp_in, store, switches

# Seconds until the next try. Short, because people and tests wait for it; the last one repeats for a day.
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
GIVE_UP_AFTER = 2900
LOOK_EVERY = 0.2


async def run(kept: store.Store, door: smtp_in.Door, deliver_to: tuple[str, int], wake: asyncio.Event) -> None:
    """Send what is due, for ever; cancelled at the end."""
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), LOOK_EVERY)
        wake.clear()
        # One after the other: mails of one thread keep their order.
        due = kept.due(time.time())
        if due and door.switches.mode == "reorder":
            await asyncio.sleep(door.switches.seconds)
            due = kept.due(time.time())[::-1]
        for queued in due:
            try:
                await _send(queued, kept, door, deliver_to)
            except Exception:  # one strange mail must not stop the others
                logging.exception("mail %s", queued.id)
                kept.settle(queued.id, state="waiting", answer="erreur interne", due=time.time() + PAUSES[-1])


async def _send(queued: store.Queued, kept: store.Store, door: smtp_in.Door, deliver_to: tuple[str, int]) -> None:
    if queued.recipient.lower().rpartition("@")[2] == door.domain:
        door.deliver(queued.recipient.lower(), queued.raw)
        kept.settle(queued.id, state="delivered", answer="250 2.0.0 remis dans la boîte")
        return
    code, answer = await _talk(queued, door, deliver_to)
    if 200 <= code < 300:
        kept.settle(queued.id, state="delivered", answer=answer)
    elif 500 <= code < 600 or queued.attempts >= GIVE_UP_AFTER:
        if queued.sender:
            door.deliver(queued.sender, reports.undelivered(queued.recipient, queued.sender, queued.raw, answer))
        kept.settle(queued.id, state="refused", answer=answer)
    else:
        pause = PAUSES[min(queued.attempts, len(PAUSES) - 1)]
        kept.settle(queued.id, state="waiting", answer=answer, due=time.time() + pause)


async def _talk(queued: store.Queued, door: smtp_in.Door, deliver_to: tuple[str, int]) -> tuple[int, str]:
    """The other server's last word; 0 when it does not speak."""
    client = aiosmtplib.SMTP(
        hostname=deliver_to[0], port=deliver_to[1], timeout=60, local_hostname=door.domain, start_tls=False
    )
    try:
        async with client:
            times = 2 if door.switches.mode in switches.TWICE else 1
            for _ in range(times):
                await client.ehlo()
                options = ["BODY=8BITMIME"] if client.supports_extension("8bitmime") else []
                await client.mail(queued.sender, options=options)
                await client.rcpt(queued.recipient)
                answer = await client.data(queued.raw)
            return answer.code, f"{answer.code} {answer.message}"
    except aiosmtplib.SMTPResponseException as error:
        return error.code, f"{error.code} {error.message}"
    except (aiosmtplib.SMTPException, OSError) as error:
        return 0, f"pas de réponse ({type(error).__name__})"

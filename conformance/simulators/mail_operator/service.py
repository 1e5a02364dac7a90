"""What can one do in a mailbox? The actions shared by the web pages and the JSON API."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

from conformance.simulators.mail_operator import moments, reading, store, writing
from conformance.simulators.mail_operator.switches import Switches


@dataclass(frozen=True, slots=True)
class Operator:
    """The running service."""

    kept: store.Store
    switches: Switches
    wake: asyncio.Event
    domain: str

    def author(self, address: str) -> writing.Author | None:
        """The owner of a mailbox; None when it does not exist."""
        name = self.kept.name_of(address)
        return None if name is None else writing.Author(address, name or address.partition("@")[0])

    def write(self, author: writing.Author, draft: writing.Draft) -> int:
        """Send a first mail; gives the id of the copy kept among the sent ones."""
        return self._send(author, draft, writing.new(author, draft, self._now()))

    def reply(self, author: writing.Author, original: reading.View, draft: writing.Draft) -> int:
        """Send an answer, as the chosen mail program would."""
        forgetful = self.switches.mode == "wrong"
        filled = writing.answer_to(original, draft, forgetful=forgetful)
        return self._send(author, filled, writing.reply(author, filled, original, self._now(), forgetful=forgetful))

    def _send(self, author: writing.Author, draft: writing.Draft, raw: bytes) -> int:
        message = self.kept.keep(author.address, "sent", raw, reading.summary(raw, sent=True)) or 0
        for recipient in writing.recipients(draft.to):
            self.kept.enqueue(message, author.address, recipient, raw)
        self.wake.set()
        return message

    def _now(self) -> datetime:
        return moments.local(time.time())

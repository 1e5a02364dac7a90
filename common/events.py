"""Which numbered events does the hub log, and what should an operator do about each?

One enum, one line each. A line carries a correlation id and technical facts (sizes, codes, counts); never a name, a
text or a patient identifier: those stay in the journal. `docs/events.md` is printed from this enum, and a test fails
when it is stale.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from enum import Enum

import structlog


@dataclass(frozen=True, slots=True)
class Event:
    """`level` is a logging level name, `remedy` what an operator does (empty: nothing)."""

    text: str
    level: str = "info"
    remedy: str = ""


class Events(Enum):
    """ROOM_NNN; numbers are never reused."""

    HUB_001 = Event("listening")
    HUB_002 = Event("stopping")
    HUB_003 = Event("a door failed on one message; the message is journaled", "error", "hub journal show ID; report it")
    HUB_004 = Event("unexpected error answered with 500", "error", "search the log by correlation id; report it")
    HUB_005 = Event("worker process ended and was started again", "warning", "look for the cause above this line")
    HUB_006 = Event("the database did not answer the delivery worker; it goes on", "warning", "check the database")
    HUB_020 = Event("an older version stored resources; they are indexed again while the hub answers")
    HUB_021 = Event("all stored resources are indexed for this version")
    HUB_022 = Event("some stored resources could not be indexed again", "error", "hub reindex; report it")
    HUB_023 = Event("traces that were kept as long as is wanted are gone")
    HUB_030 = Event("a TLS certificate was made by the local authority", remedy="put `authority` into people's devices")
    HUB_031 = Event("the new TLS certificate and key do not fit; the old ones stay", "error", "replace both files")
    HUB_032 = Event("the new TLS certificate is used")
    IDN_010 = Event("token given to a software")
    IDN_011 = Event(
        "software refused at an OAuth address", "warning", "compare its key and clock with what it registered"
    )
    IDN_012 = Event("accounts that nobody uses were warned of or closed")
    IDN_013 = Event("a software asked to open a patient for somebody who works with it")
    IDN_040 = Event(
        "no current list of revoked certificates of an authority: all of its certificates are refused",
        "error",
        "fetch its list anew into tls_client_crl",
    )
    MSS_010 = Event("mail accepted into a conversation")
    MSS_011 = Event("mail refused", "warning", "hub journal list --state refused")
    MSS_012 = Event("mail was accepted before; same answer, nothing changed")
    MSS_013 = Event("automatic reply or report kept without effect; the journal says why")
    MSS_014 = Event("mail handed to the operator")
    MSS_015 = Event(
        "mail refused for now; will be tried again", "warning", "hub mail queue; check the operator's service"
    )
    MSS_016 = Event("mail parked after the last try", "error", "hub mail queue; correct the address or resend")
    MSS_017 = Event("a report changed the ledger of a delivery")
    MSS_018 = Event("white list of the trust space taken")
    MSS_019 = Event(
        "white list of the trust space not taken; the last copy counts", "warning", "hub allowlist refresh says why"
    )
    MSS_020 = Event(
        "mail of a known mailbox held: no conversation found, or not a member", "warning", "hub mail triage"
    )
    MSS_021 = Event("connected to the mailbox at the operator")
    MSS_022 = Event("no connection to the mailbox at the operator; tried again", "warning", "HUB_IMAP_* settings")
    SUB_010 = Event("subscription active")
    SUB_011 = Event("a subscriber's endpoint did not take a notification; will be tried again")
    SUB_012 = Event(
        "subscription in error: its endpoint failed for too long",
        "warning",
        "tell its owner; setting its status to requested sends what waits",
    )
    SUB_013 = Event("a subscription met a bug; the others go on", "error", "report it")
    HOS_010 = Event("hospital message accepted")
    HOS_011 = Event("hospital message refused", "warning", "hub journal list --state refused")
    HOS_012 = Event("hospital message was accepted before; same acknowledgement, nothing changed")
    HOS_013 = Event("deviation tolerated in a hospital message", "info", "tell the sender's interface engineer")
    HOS_014 = Event("broken or oversized MLLP frame", "warning", "check the sender's framing")


def emit(event: Events, *, correlation: str = "", **facts: object) -> None:
    """Write one log line: `event` number and text, the correlation id, and facts without health data."""
    level = logging.getLevelNamesMapping()[event.value.level.upper()]
    _LOG.log(level, event.value.text, number=event.name, correlation=correlation or None, **facts)


def configure(*, json: bool) -> None:
    """Send events to standard error, as JSON lines or for a terminal. Called once by the process that serves."""
    stamp = structlog.processors.TimeStamper("iso")
    shared: list[structlog.types.Processor] = [structlog.processors.add_log_level, stamp]
    colors = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    last: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=colors)
    )
    to_stderr = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(processors=[*shared, last], logger_factory=to_stderr, cache_logger_on_first_use=True)


_LOG = structlog.get_logger("hub")

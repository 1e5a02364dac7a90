"""What does the product demand of a write?

A rule is a function that the hub hands to the store; it runs inside every commit, whichever door it came through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fhir_server.access import SYSTEM, Caller
from fhir_server.changes import Change

if TYPE_CHECKING:
    from fhir_server.store import Store


class View:
    """The record as a rule sees it: everything, read only."""

    def __init__(self, store: Store) -> None:
        self.read = partial(store.read, caller=SYSTEM)
        self.history = partial(store.history, caller=SYSTEM)
        self.search = partial(store.search, caller=SYSTEM)
        self.many = partial(store.many, caller=SYSTEM)
        self.definitions = store.definitions
        self.owner = store.owner
        self.patient = store.patient
        self.bits = store.bits
        self.rows = store.rows
        self.subscriber = store.notices.subscriber
        self.new_id = store.new_id
        self.now = store.now


@dataclass(frozen=True, slots=True)
class Rule:
    """What the product demands of a write. `types` None: of any. `of_people`: not of a caller who sees everything.

    `run(changes, caller, view)` gets all changes of a commit and gives all that are to be done: it may add and replace,
    and must not leave out a Create, Update or Delete of the caller. It replaces bodies and never alters one in place:
    what was checked is kept with the body that was given. It has no side effects, because a commit that lost a race is
    tried again. It refuses by raising a HubError.
    """

    types: frozenset[str] | None
    run: Callable[[list[Change], Caller, View], Awaitable[list[Change]]]
    of_people: bool = False

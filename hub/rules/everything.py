"""Which rules hold for every write, and in which order?

First those that refuse, then those that add: a rule sees what the ones before it made.
"""

from __future__ import annotations

from fhir_server import store
from hub.rules import circle, consent, document, dossier, files, header, message, task, trusted


def rules(secret: bytes) -> tuple[store.Rule, ...]:
    """Every rule, to be handed to the store; `secret` keys the reply tokens of mail (MSS-02)."""
    refusing = (trusted.rule(), consent.rule(), circle.rule(), dossier.rule(), document.rule(), task.rule())
    return (*refusing, files.rule(), header.rule(secret), message.rule(secret))

"""What may go wrong at an operator, on demand?

normal; slow: answers after some seconds; down: 421 at the door; refuse: 550 for each recipient; tempfail: 451 after
the mail; wrong: mails delivered twice both ways, and answers without threading headers or subject.
"""

from __future__ import annotations

from dataclasses import dataclass

MODES = {
    "normal": "Service normal",
    "slow": "Lent : répond après un délai",
    "down": "En panne : refuse les connexions (421)",
    "refuse": "Refuse les destinataires (550)",
    "tempfail": "Erreur temporaire après réception (451)",
    "wrong": "Défaillant : livre deux fois, perd les en-têtes de fil",
}


@dataclass(slots=True)
class Switches:
    """The state of the service, changed by its console or its API."""

    mode: str = "normal"
    seconds: float = 2.0

    def set(self, mode: str, seconds: float | None = None) -> None:
        """Raises ValueError for an unknown mode."""
        if mode not in MODES:
            raise ValueError(f"mode inconnu : {mode} (parmi {', '.join(MODES)})")
        self.mode = mode
        self.seconds = self.seconds if seconds is None else min(max(seconds, 0.0), 300.0)

"""What may go wrong at an operator, on demand?

normal; slow: answers after some seconds; down: 421 at the door; refuse: 550 for each recipient; tempfail: 451 after
the mail; greylist: 451 at the first try of a sender and recipient; bounce and full: 250, then a report that the mail
could not be delivered; duplicate: mails delivered twice both ways; reorder: answers held for some seconds, and sent the
last first; wrong: as duplicate, and answers without threading headers or subject.
"""

from __future__ import annotations

from dataclasses import dataclass

MODES = {
    "normal": "Service normal",
    "slow": "Lent : répond après un délai",
    "down": "En panne : refuse les connexions (421)",
    "refuse": "Refuse les destinataires (550)",
    "tempfail": "Erreur temporaire après réception (451)",
    "greylist": "Liste grise : refuse le premier essai (451)",
    "bounce": "Accepte, puis annonce une adresse inconnue (5.1.1)",
    "full": "Accepte, puis annonce une boîte pleine (5.2.2)",
    "duplicate": "Livre deux fois",
    "reorder": "Envoie les réponses dans le désordre, après un délai",
    "wrong": "Défaillant : livre deux fois, perd les en-têtes de fil",
}


# What the operator says later of a mail that it took.
BOUNCES = {"bounce": "550 5.1.1 Boite inconnue", "full": "552 5.2.2 Boite pleine"}
TWICE = frozenset({"duplicate", "wrong"})


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

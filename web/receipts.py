"""What is honestly known of a message's way to each recipient outside the app? (DISC-04, MODEL-04)

Never "non lu" for someone who got the whole text by mail: nobody knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from web import fhir, names, people, words
from web.room import Room

Resource = names.Resource

_WORDS = {
    "": "en cours d'envoi à {name} par MSSanté",
    "envoye": "envoyé à {name} par MSSanté, lecture inconnue",
    "retarde": "pas encore remis à {name} par MSSanté, l'opérateur réessaie",
    "remis": "remis à {name} par MSSanté, lecture inconnue",
    "absent": "remis à {name} par MSSanté, qui a répondu par un message d'absence",
    "affiche": "affiché chez {name}",
    "traite": "traité par {name}",
    "acquitte": "acquitté par {name}",
    "echec": "échec de l'envoi à {name}",
    "retenu": "non envoyé à {name}",
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """One recipient's last milestone in words; `failed` when somebody must act."""

    text: str
    when: str
    failed: bool


async def ledger(api: fhir.Client, messages: Sequence[str]) -> dict[str, list[Resource]]:
    """The delivery Tasks of these messages, by message id, in a stable order."""
    if not messages:
        return {}
    focus = ",".join(f"Communication/{id}" for id in messages)
    params = [("code", f"{names.TASK}|deliver"), ("focus", focus), ("_count", "500")]
    found: dict[str, list[Resource]] = {}
    for task in sorted((await api.search("Task", params)).matches, key=lambda one: str(one["id"])):
        found.setdefault(names.reference(task.get("focus")).partition("/")[2], []).append(task)
    return found


def said(task: Resource, known: dict[str, people.Person], room: Room) -> Receipt:
    """The last milestone of one recipient, in words."""
    code = names.code(task.get("businessStatus"), names.DELIVERY_STATUS)
    failed = code == "echec" or task["status"] in ("failed", "rejected")
    owner = names.reference(task.get("owner"))
    name = known[owner].name if owner in known else "un destinataire"
    text = _WORDS[code if code in _WORDS else "echec" if failed else ""].format(name=name)
    if failed and (reason := _reason(task)):
        text = f"{text}\u00a0: {reason}"
    when = words.moment(str(task.get("lastModified") or task["meta"]["lastUpdated"]), room.now(), room.zone)
    return Receipt(text, when, failed)


def _reason(task: Resource) -> str:
    """Why it failed: the status reason, else the last proof, which starts with its time."""
    if text := task.get("statusReason", {}).get("text"):
        return str(text)
    proofs = [str(one.get("valueString", "")) for one in task.get("output", ())]
    first, _, rest = (proofs[-1] if proofs else "").partition(" ")
    return words.one_line(rest if words.parsed(first) else " ".join((first, rest)).strip(), 160)

"""Which events can be subscribed to by name, and which addresses may be called?

The topics of this hub, by the canonical URLs that a Subscription of the backport names in its criteria. Any other
criteria is a plain R4 search.
"""

from __future__ import annotations

from common import clock
from connectors.hooks import addresses
from fhir_server.r4 import load
from fhir_server.subscriptions import reading
from fhir_server.subscriptions.topics import CREATE, Topic
from hub import settings
from mapping import systems

_ROOT = f"{systems.HUB}/SubscriptionTopic"

TOPICS = (
    Topic(f"{_ROOT}/resource-change", "une ressource créée ou modifiée, d'après les filtres", None),
    Topic(
        f"{_ROOT}/message-event",
        "un message dans une conversation",
        "Communication",
        on=frozenset({CREATE}),
        criteria="part-of:missing=false",
    ),
    Topic(f"{_ROOT}/task-event", "une tâche créée ou modifiée", "Task"),
    Topic(f"{_ROOT}/document-event", "un document déposé ou remplacé", "DocumentReference"),
    Topic(f"{_ROOT}/encounter-event", "une venue créée ou modifiée", "Encounter"),
    Topic(
        f"{_ROOT}/patient-admitted",
        "un patient admis : la venue commence",
        "Encounter",
        criteria="status=in-progress",
        became=("status", "in-progress"),
    ),
    Topic(
        f"{_ROOT}/patient-discharged",
        "un patient sorti : la venue se termine",
        "Encounter",
        criteria="status=finished",
        became=("status", "finished"),
    ),
    Topic(f"{_ROOT}/appointment-event", "un rendez-vous créé ou modifié", "Appointment"),
)


def setting(config: settings.Settings, definitions: load.Definitions, now: clock.Clock) -> reading.Setting:
    """What is needed to read a Subscription. Raises Unreadable for networks that are none."""
    policy = addresses.policy(config.hooks_allow)
    return reading.Setting(definitions, {one.url: one for one in TOPICS}, policy.refusal, now)

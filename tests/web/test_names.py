"""The app's public names are those of the record."""

from __future__ import annotations

from mapping import systems
from web import names


def test_the_app_reads_and_writes_the_published_names() -> None:
    for name in ("HUB", "TASK", "INBOX_STATUS", "DELIVERY_STATUS", "MEDIUM", "ACCOUNT_STATUS", "PROFESSION", "URI"):
        assert getattr(names, name) == getattr(systems, name)

"""Which number do the ids of this process carry, when a command works on the file of a running hub?

A number belongs to whoever holds the lock of a small file beside the database; the system lets go of it when the
process ends, however it ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from common import errors
from fhir_server import ids

try:
    import fcntl
except ImportError:  # no such locks on this platform: one process at a time
    fcntl = None  # type: ignore[assignment]


class Number:
    """One number from 0 to 255, ours alone on this file until `close`."""

    def __init__(self, path: Path, preferred: int) -> None:
        for number in [*range(preferred, ids.WORKERS), *range(preferred)]:
            if (lock := _locked(path.with_name(f"{path.name}-worker-{number}"))) is not None:
                self.value, self._lock = number, lock
                self.changed: Callable[[int], None] = lambda _: None  # never: nobody can take the lock away
                return
        raise errors.Unavailable(f"plus de {ids.WORKERS} processus sur cette base ; arrêtez-en")

    def close(self) -> None:
        """Give it back."""
        os.close(self._lock)


def _locked(path: Path) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock

"""Where is the hub's own secret?

One random key in the data folder, made at first start, readable by its owner alone. It keys the reply addresses of
mail; other purposes have keys that are derived from it.
"""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from pathlib import Path

LENGTH = 32


def secret(data: Path) -> bytes:
    """The key, made when it does not exist yet; two processes that start together get the same one."""
    path = data / "secret.key"
    data.mkdir(parents=True, exist_ok=True)
    draft = data / f".secret.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(LENGTH))
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # fails when somebody was first: theirs is the key
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_bytes()


def derived(secret: bytes, purpose: bytes) -> bytes:
    """A key of its own for each purpose: who learns one does not learn the others."""
    return blake2b(secret, digest_size=LENGTH, person=purpose[:16]).digest()


def heads(data: Path) -> Path:
    """The folder that tells how far the traces go, beside the database and not in it."""
    return data / "traces"

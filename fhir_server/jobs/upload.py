"""How do files larger than memory come in and go out over HTTP?

Piece by piece, between a socket and the folder of jobs.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import errors
from fhir_server import access

if TYPE_CHECKING:
    from fhir_server.exchange import Server

Message = MutableMapping[str, Any]
_PIECE = 1024 * 1024
_PREFIX = "upload-"
_LONGEST_SECONDS = 3600  # without a byte


def forget(folder: Path) -> None:
    """Remove what killed processes have left half taken."""
    for path in folder.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _LONGEST_SECONDS:
                path.unlink()


async def give(send: Callable[[Message], Awaitable[None]], path: Path) -> None:
    """Send a file as the body of an answer whose head has been sent."""
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def may_import(caller: access.Caller, types: Iterable[str]) -> bool:
    """Those who see everything, and whose scopes let them create something: anybody else has nothing to send."""
    return caller.memberships is None and any(access.can(caller, "c", type) for type in types)


async def take(receive: Callable[[], Awaitable[Message]], server: Server, caller: access.Caller) -> Path | None:
    """Keep the body of a request in a file, on disk when it returns.

    None, and nothing is read, for a caller who may not import: the operation says so. Raises TooLarge.
    """
    jobs = server.jobs
    if jobs is None or not may_import(caller, server.types):
        return None
    path = jobs.limits.folder / f"{_PREFIX}{secrets.token_hex(8)}"
    size = 0
    with path.open("wb") as file:
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise errors.Unreadable("Envoi interrompu")
                size += await asyncio.to_thread(file.write, message.get("body", b""))
                if size > jobs.limits.upload_bytes:
                    raise errors.TooLarge(f"Contenu trop volumineux : {jobs.limits.upload_bytes} octets au plus")
                if not message.get("more_body", False):
                    break
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        except BaseException:
            path.unlink()
            raise
    return path

"""How is an ordinary request done later?

It is kept as it came, run as if it came now, with the rights of whoever sent it, and its answer becomes the one entry
of a batch-response (http://hl7.org/fhir/async.html, adopted for R4 servers from the later pattern for bundles). What
only reads is begun again after a kill; a request that writes is not: what it has written is unknown, and it says so.
"""

from __future__ import annotations

import asyncio
from typing import Any

from common import errors
from fhir_server import bundle, entries, exchange, routes
from fhir_server.audit import inner
from fhir_server.exchange import Answer, Prefer, Request
from fhir_server.jobs import job
from fhir_server.jobs.job import Work

_KEPT = (b"accept", b"content-type", b"if-match", b"if-modified-since", b"if-none-match")


def asked(request: Request, *, repeats: bool) -> dict[str, Any]:
    """What has to be kept of a request besides its body. `repeats`: it may be done twice."""
    return {
        "method": request.method,
        "segments": request.segments,
        "params": request.params,
        "shown": request.shown,
        "headers": {name.decode(): request.header(name) for name in _KEPT if name in request.headers},
        "base": request.base,
        "id": request.id,
        "returns": request.prefer.returns,
        "lenient": request.prefer.lenient,
        "url": entries.link("/".join((request.base, *request.segments)), request.params),
        "repeats": repeats,
    }


async def run(work: Work) -> None:
    """Leaves the Bundle in the job's folder."""
    kept = work.asked
    if not kept["repeats"]:
        if work.progress.get("begun"):
            raise errors.Conflict(
                "Interrompu pendant l'écriture : vérifiez ce qui a été enregistré avant d'envoyer de nouveau"
            )
        work.progress["begun"] = True
        await work.save()
    body = work.folder / job.BODY
    request = Request(
        kept["method"],
        kept["segments"],
        [(name, value) for name, value in kept["params"]],
        {name.encode(): value.encode("utf-8") for name, value in kept["headers"].items()},
        work.caller,
        kept["base"],
        kept["id"],
        body=await asyncio.to_thread(body.read_bytes) if body.exists() else b"",
        prefer=Prefer(kept["returns"], kept["lenient"]),
        shown=[(name, value) for name, value in kept["shown"]],
    )
    told = entries.bundle("batch-response", [], [await _answered(work, request)])
    await asyncio.to_thread((work.folder / job.RESULT).write_bytes, told)


async def _answered(work: Work, request: Request) -> bytes:
    try:
        answer: Answer = await inner.traced(work.server, request, routes.run)
        if answer.media is not None and answer.body:
            raise exchange.unavailable("Cette réponse n'est pas une ressource : demandez-la sans respond-async")
    except errors.Unavailable:
        raise
    except errors.HubError as problem:
        return bundle.refused(problem, request.id)
    return bundle.answered(request.base, answer)

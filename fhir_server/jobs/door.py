"""How is a job begun, watched, fetched and given up over HTTP?

R4 async.html and Bulk Data Access 2.0 (export, "Bulk Data Status Request" and the following sections): 202 with
Content-Location; 202 with X-Progress and Retry-After while it runs; 200 with the result; DELETE cancels.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import errors
from fhir_server import exchange, operations, outcome
from fhir_server.exchange import Answer, Header, Request, Server
from fhir_server.jobs import job

if TYPE_CHECKING:
    from fhir_server.jobs.runner import Runner

_ID = re.compile(r"[0-9a-f]{32}")
_FILE = re.compile(r"[A-Za-z]{1,64}\.\d{1,9}\.ndjson")
_NDJSON = b"application/fhir+ndjson"
# They begin jobs of their own kind, or their answer is no resource.
_AT_ONCE = frozenset({"$export", "$import"}) | operations.OWN_FORMATS
_POSTED = frozenset({"system", "type-search", "system-search", "compartment-search", "operation"})
_READS = frozenset(
    """type type-search system-search compartment compartment-search
    system-history type-history instance-history""".split()
)


def may_wait(server: Server, where: str, request: Request) -> bool:
    """Is this a request that `Prefer: respond-async` makes a job? Elsewhere the preference is not followed."""
    if server.jobs is None or (where == "operation" and request.segments[-1] in _AT_ONCE):
        return False
    if request.method == "GET":
        return where in _READS or where in ("system", "operation")
    return request.method == "POST" and where in _POSTED


async def accept(server: Server, request: Request, where: str) -> Answer:
    """Begin a job that does this request."""
    from fhir_server.jobs import replay  # it runs requests, which come here

    reads = request.method == "GET" or where in _READS
    if where == "operation" and not reads:
        reads = operations.reads(server, request.segments)
    return await begin(server, request, "request", replay.asked(request, repeats=reads), body=request.body or None)


async def begin(
    server: Server, request: Request, kind: str, asked: dict[str, Any], *, body: bytes | Path | None = None
) -> Answer:
    """The answer to a kick-off: 202, and where to ask."""
    id = await runner(server).add(kind, request.caller, asked, body=body)
    told = outcome.information("Demande acceptée : suivez-la à l'adresse Content-Location", request.id)
    return Answer(202, outcome.encode(told), [(b"content-location", f"{request.base}/$job/{id}".encode())])


def runner(server: Server) -> Runner:
    """Who does the jobs. Raises Unreadable when nobody does."""
    if server.jobs is None:
        raise exchange.unavailable("Ce serveur ne traite pas de demandes asynchrones")
    return server.jobs


def check_async(request: Request, name: str) -> None:
    """A bulk operation has no other way. Raises Unreadable."""
    if not request.prefer.is_async:
        raise errors.Unreadable(f"{name} : l'en-tête Prefer: respond-async est obligatoire", at="http.Prefer")


async def status(server: Server, request: Request) -> Answer:
    """`GET [base]/$job/id`. Raises NotFound, and answers what the job failed with."""
    jobs, row = runner(server), await _mine(server, request)
    progress = json.loads(row.progress)
    if row.state in ("waiting", "running"):
        said = progress.get("said") or ("in progress" if row.state == "running" else "waiting")
        return Answer(202, b"", [(b"x-progress", said.encode("ascii", "replace")[:100]), (b"retry-after", b"1")])
    try:
        body = (jobs.limits.folder / row.id / job.RESULT).read_bytes()
    except OSError:
        raise errors.NotFound("Le résultat de cette tâche n'est plus là") from None
    headers: list[Header] = [(b"expires", exchange.http_date(row.expires // 1_000_000))]
    if row.state == "failed":
        return Answer(progress["status"], body, headers)
    media = b"application/json" if progress.get("kind") == "manifest" else None
    return Answer(200, body, headers, media=media)


async def cancel(server: Server, request: Request) -> Answer:
    """`DELETE [base]/$job/id`: stops it, or removes its result. Raises NotFound."""
    row = await _mine(server, request)
    await runner(server).cancel(row.id, request.caller)
    told = outcome.information("Tâche annulée, fichiers supprimés", request.id)
    return Answer(202, outcome.encode(told))


async def file(server: Server, request: Request) -> Answer:
    """`GET [base]/$job/id/Type.1.ndjson`: a file of a job that is done. Raises NotFound."""
    row, name = await _mine(server, request), request.segments[2]
    path = runner(server).limits.folder / row.id / name
    if row.state != "done" or not _FILE.fullmatch(name) or not path.is_file():
        raise errors.NotFound("Fichier inconnu")
    return Answer(200, file=path, media=_NDJSON)


async def _mine(server: Server, request: Request) -> Any:
    id = request.segments[1]
    if not _ID.fullmatch(id):
        raise errors.NotFound("Tâche inconnue, annulée ou expirée")
    return await runner(server).find(id, request.caller)

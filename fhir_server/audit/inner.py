"""How is an interaction traced that does not come as a request of its own?

An entry of a batch, a read in a transaction, what is done later (`Prefer: respond-async`), a page of an export: each
gets a row as if it had come alone, with the id of the request that asked for it. Otherwise the row of a Bundle, which
is written with its first commit, would not tell what was read beside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from common import clock, errors
from fhir_server import entries
from fhir_server.audit import trace
from fhir_server.audit.trace import Trace
from fhir_server.exchange import Answer, Request, Server

Interact = Callable[[Server, Request], Awaitable[Answer]]


async def traced(server: Server, request: Request, interact: Interact) -> Answer:
    """What `interact` answers, raises what it raises; the row says which."""
    async with _row(server, _begun(server, request, entries.link("/".join(request.segments), request.params))) as said:
        answer = await interact(server, request)
        said[0] = str(answer.status)
        return answer


@asynccontextmanager
async def page(server: Server, request: Trace) -> AsyncIterator[None]:
    """What is given inside is a row: `request` says of what."""
    async with _row(server, request) as said:
        yield
        said[0] = "200"


def _begun(server: Server, request: Request, asked: str) -> Trace:
    outer = trace.current()
    door = outer.door if outer else "fhir"
    return Trace(request.caller, clock.micros(server.now()), "", door, asked, request.id)


@asynccontextmanager
async def _row(server: Server, one: Trace) -> AsyncIterator[list[str]]:
    """A row with the status that is put into the list; what a commit has written is not written again."""
    said = ["500"]
    try:
        with one:
            yield said
    except errors.HubError as problem:
        said[0] = str(problem.status)
        raise
    finally:
        if not one.wrote:
            server.store.traces.add(one, said[0])

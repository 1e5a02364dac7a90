"""What does the hub answer outside FHIR, before the pages?

Health for a supervisor and metrics for a monitor; the pages are mounted behind by `serve`.
"""

from __future__ import annotations

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common import errors
from fhir_server import access, store


def build(record: store.Store) -> FastAPI:
    """The application behind the FHIR dispatcher; nothing here shows patient data or needs a token."""
    site = FastAPI(title="Spico Hub", docs_url=None, redoc_url=None, openapi_url=None)

    @site.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @site.get("/health/ready")
    async def ready(response: Response) -> dict[str, str]:
        try:
            await record.many(["Organization/ready"], caller=access.SYSTEM)
        except errors.HubError:
            response.status_code = 503
            return {"status": "database unavailable"}
        return {"status": "ok"}

    @site.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return site

"""What does the hub answer outside FHIR, before the pages?

Health for a supervisor and metrics for a monitor; the pages are mounted behind by `serve`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common import errors
from fhir_server import access, store


def build(record: store.Store, describe: Callable[[], dict[str, Any]]) -> FastAPI:
    """The application behind the FHIR dispatcher; nothing here shows patient data or needs a token.

    `describe` gives the OpenAPI document of the FHIR surface, to which the paths of this one are added.
    """
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

    @site.get("/docs/openapi.json", include_in_schema=False)
    async def described() -> Response:
        document = describe()
        document["paths"] |= site.openapi()["paths"]
        return Response(msgspec.json.encode(document), media_type="application/json")

    return site

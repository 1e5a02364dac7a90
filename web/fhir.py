"""How does the app talk to the record? As any client: FHIR R4 over HTTP, here without leaving the process.

`in_process(app)` gives a function from a bearer token to a `Client`. Decimals keep their digits both ways, since
a resource that was read may be written back.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec
from starlette.types import ASGIApp

from common import errors

Resource = dict[str, Any]
Params = Sequence[tuple[str, str]]
JSON = "application/fhir+json"
PAGING = "_after"  # the server's own parameter in its next links


@dataclass(frozen=True, slots=True)
class Found:
    """A page of a search: `matches` in order, `included` by reference; `after` leads to the next page, if any."""

    matches: list[Resource] = field(default_factory=list)
    included: dict[str, Resource] = field(default_factory=dict)
    after: str = ""


class Client:
    """The FHIR API as one person: every call carries their token and raises the errors of `common.errors`."""

    def __init__(self, http: httpx.AsyncClient, base: str, token: str, correlation: str = "") -> None:
        self._http = http
        self._base = base
        self._headers = {"Authorization": f"Bearer {token}", "Accept": JSON}
        if correlation:
            self._headers["X-Request-Id"] = correlation

    async def metadata(self) -> Resource:
        """The CapabilityStatement; needs no token."""
        return _body(await self._ask("GET", "metadata"))

    async def read(self, type: str, id: str) -> Resource:
        """One resource. Raises NotFound (also when it may not be seen) or Gone."""
        return _body(await self._ask("GET", f"{type}/{id}"))

    async def search(self, type: str, params: Params, *, after: str = "") -> Found:
        """A page of a search: the first, or the one that `Found.after` leads to."""
        paging = [(PAGING, after)] if after else []
        bundle = _body(await self._ask("GET", type, params=[*params, *paging]))
        entries = bundle.get("entry", ())
        matches = [one["resource"] for one in entries if one.get("search", {}).get("mode", "match") == "match"]
        others = [one["resource"] for one in entries if one.get("search", {}).get("mode") == "include"]
        included = {f"{one['resourceType']}/{one['id']}": one for one in others}
        return Found(matches, included, _after(bundle))

    async def count(self, type: str, params: Params) -> int:
        """How many resources match."""
        bundle = _body(await self._ask("GET", type, params=[*params, ("_summary", "count")]))
        return int(bundle.get("total", 0))

    async def create(self, resource: Resource, *, if_none_exist: str = "") -> Resource:
        """The stored resource; with a condition, the one that already met it (nothing is made twice)."""
        headers = {"If-None-Exist": if_none_exist} if if_none_exist else {}
        headers["Prefer"] = "return=representation"
        return _body(await self._ask("POST", resource["resourceType"], resource, headers=headers))

    async def update(self, resource: Resource) -> Resource:
        """The next version of a resource that was read. Raises Stale when somebody wrote in between."""
        headers = {"If-Match": f'W/"{resource["meta"]["versionId"]}"', "Prefer": "return=representation"}
        path = f"{resource['resourceType']}/{resource['id']}"
        return _body(await self._ask("PUT", path, resource, headers=headers))

    async def transaction(self, entries: list[Resource]) -> list[Resource]:
        """All entries or none; the response entries in the same order."""
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = _body(await self._ask("POST", "", bundle))
        return list(answer.get("entry", ()))

    async def operate(self, path: str, parameters: Params) -> Resource:
        """Call an operation (`Task/x/$decide-account`) with parameters that are texts."""
        parts = [{"name": name, "valueString": value} for name, value in parameters]
        return _body(await self._ask("POST", path, {"resourceType": "Parameters", "parameter": parts}))

    async def binary(self, id: str) -> tuple[str, bytes]:
        """Content type and bytes of a Binary. Asked for as JSON, so that a stored FHIR document stays bytes."""
        resource = await self.read("Binary", id)
        return str(resource.get("contentType", "")), base64.b64decode(resource.get("data", ""))

    async def _ask(
        self,
        method: str,
        path: str,
        body: Resource | None = None,
        *,
        params: Params = (),
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        sent = {**self._headers, **(headers or {})}
        content = None
        if body is not None:
            sent["Content-Type"] = JSON
            content = _encoder.encode(body)
        url = f"{self._base}/{path}" if path else self._base
        try:
            response = await self._http.request(method, url, content=content, params=list(params) or None, headers=sent)
        except httpx.TransportError as problem:
            raise errors.Unavailable("le service ne répond pas") from problem
        if response.is_error:
            raise _refusal(response)
        return response


# A bearer token and the correlation id of the page's request.
AsPerson = Callable[[str, str], Client]


def in_process(app: ASGIApp, base: str = "http://localhost/fhir") -> AsPerson:
    """Clients of the FHIR application `app`; `base` is the base URL it sees, of which only the path matters."""
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), follow_redirects=False)
    return lambda token, correlation: Client(http, base.rstrip("/"), token, correlation)


def _body(response: httpx.Response) -> Resource:
    decoded = _decoder.decode(response.content or b"{}")
    return decoded if isinstance(decoded, dict) else {}


def _after(bundle: Resource) -> str:
    """The server's paging parameter in the link to the next page."""
    link = next((one["url"] for one in bundle.get("link", ()) if one.get("relation") == "next"), "")
    return dict(parse_qsl(urlsplit(link).query)).get(PAGING, "")


def _refusal(response: httpx.Response) -> errors.HubError:
    """The error of our tree that the server's status stands for, with the words of its OperationOutcome."""
    try:
        outcome = _body(response)
    except msgspec.DecodeError:
        outcome = {}
    issues = [one for one in outcome.get("issue", ()) if isinstance(one, dict)]
    texts = [str(one.get("details", {}).get("text") or one.get("diagnostics") or "") for one in issues]
    kind = _KINDS.get(response.status_code, errors.Unavailable if response.is_server_error else errors.HubError)
    return kind(" ; ".join(text for text in texts if text) or f"le service a répondu {response.status_code}")


_KINDS: dict[int, type[errors.HubError]] = {
    kind.status: kind
    for kind in (
        errors.Unreadable,
        errors.Unauthenticated,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.Gone,
        errors.Stale,
        errors.TooLarge,
        errors.UnsupportedMedia,
        errors.Invalid,
        errors.Unavailable,
    )
}
_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")

"""Where do templates and static files come from, and how long may a browser keep them?

Static files are few and small: they are read once, and live under a name made from their content, so that a browser
keeps them for ever and still gets new ones at once. Nothing comes from elsewhere: no content network, no build.
"""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import jinja2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from web import words

_HERE = Path(__file__).parent
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Assets:
    """The static files by name, and the fingerprint of all of them."""

    files: dict[str, bytes]
    fingerprint: str

    @property
    def base(self) -> str:
        """The folder that pages and scripts name them in."""
        return f"/static/{self.fingerprint}"

    def route(self) -> Route:
        """`/static/<fingerprint>/<file>`; an old fingerprint gets the present file, for now only."""

        async def serve(request: Request) -> Response:
            name, version = request.path_params["name"], request.path_params["version"]
            if name not in self.files:
                raise HTTPException(404)
            kept = _FOR_EVER if version == self.fingerprint else "no-cache"
            kind = _KINDS.get(Path(name).suffix) or mimetypes.guess_type(name)[0]
            return Response(self.files[name], media_type=kind, headers={"Cache-Control": kept})

        return Route("/static/{version}/{name}", serve, methods=["GET"])


def load() -> Assets:
    """Read the folder of static files."""
    digest, read = blake2b(digest_size=6), {}
    for file in sorted((_HERE / "static").iterdir()):
        read[file.name] = file.read_bytes()
        digest.update(file.name.encode() + b"\0" + read[file.name])
    return Assets(read, digest.hexdigest())


def templates(assets: Assets) -> jinja2.Environment:
    """The page templates: everything is escaped, an unknown name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["static"] = assets.base
    environment.filters["initials"] = words.initials
    return environment


# Said here because the machine's own table may lack them, and a module of another type does not run.
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

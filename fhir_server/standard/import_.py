"""How is a bulk import asked for?

`POST [base]/$import`: a Parameters resource that names files of the import folder, in the manner of the export's
manifest (https://github.com/smart-on-fhir/bulk-import), or the NDJSON itself as the body. Only callers with every right
may: ids, authors and dates are taken as they come. The work is `jobs/importing.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from common import errors
from fhir_server import exchange, media
from fhir_server.exchange import Answer, Server
from fhir_server.jobs import door, upload
from fhir_server.operations import Operation, OperationRequest

_FORMATS = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})


async def run(call: OperationRequest) -> Answer:
    """The kick-off: 202 and where to ask.

    Raises Forbidden for a caller that does not see everything, Unreadable for what cannot be followed, NotFound for a
    file that is not there.
    """
    if not upload.may_import(call.caller, call.server.types):
        raise errors.Forbidden("$import : réservé aux comptes système qui peuvent créer des ressources")
    door.check_async(call.http, "$import")
    if call.params:
        raise exchange.unavailable(f"{call.params[0][0][:60]} : $import lit ses paramètres dans le contenu")
    asked: dict[str, Any] = {"base": call.base, "url": f"{call.base}/$import"}
    if media.is_ndjson(call.http.header(b"content-type")):
        asked["inputs"] = [{"type": None, "url": "request body", "path": None}]
        return await door.begin(call.server, call.http, "import", asked, body=call.http.upload or call.http.body)
    body = media.content(call.server, call.http)
    asked["inputs"] = _inputs(call.server, body)
    return await door.begin(call.server, call.http, "import", asked)


def _inputs(server: Server, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The files that a Parameters resource names. Raises Unreadable with everything that is wrong."""
    parameters = body.get("parameter")
    if body.get("resourceType") != "Parameters" or not isinstance(parameters, list):
        raise errors.Unreadable("$import : Parameters, ou des lignes application/fhir+ndjson", at="Parameters")
    found: list[dict[str, Any]] = []
    problems: list[errors.Issue] = []
    has_format = False
    for n, one in enumerate(parameters):
        try:
            match one:
                case {"name": "inputFormat"}:
                    has_format = _format(one)
                case {"name": "input", "part": [*parts]}:
                    found.append(_input(server, parts))
                case _:
                    raise errors.Unreadable("paramètre inconnu : inputFormat et input {type, url} sont lus")
        except errors.Unreadable as problem:
            problems.append(errors.Issue(problem.message, f"Parameters.parameter[{n}]", "not-supported"))
    if not problems and not (found and has_format):
        problems.append(errors.Issue("inputFormat et au moins un input sont obligatoires", "Parameters", "required"))
    if problems:
        raise errors.Unreadable("$import : paramètres refusés", issues=tuple(problems))
    return found


def _format(one: dict[str, Any]) -> bool:
    if _value(one) not in _FORMATS:
        raise errors.Unreadable("inputFormat : application/fhir+ndjson attendu")
    return True


def _input(server: Server, parts: list[Any]) -> dict[str, Any]:
    values = {one.get("name"): _value(one) for one in parts if isinstance(one, dict)}
    type, url = values.get("type"), values.get("url")
    if values.keys() - {"type", "url"} or not isinstance(url, str) or (type is not None and type not in server.types):
        raise errors.Unreadable("input : un type de R4 et une url sont attendus")
    return {"type": type, "url": url, "path": str(_path(server, url))}


def _value(one: dict[str, Any]) -> Any:
    return next((value for key, value in one.items() if key.startswith("value")), None)


def _path(server: Server, url: str) -> Path:
    """The file of the import folder that a URL means. Raises Unreadable; tells nothing of what is outside of it."""
    folder = door.runner(server).limits.imports
    parts = urlsplit(url)
    if parts.scheme not in ("", "file"):
        raise errors.Unreadable("input.url : seuls les fichiers du dossier d'import sont lus (file:nom.ndjson)")
    if folder is None:
        raise errors.Unreadable("input.url : ce serveur n'a pas de dossier d'import ; envoyez les lignes elles-mêmes")
    name = unquote(parts.path)
    path = (folder / name.replace("\0", "")).resolve()
    if "\0" in name or parts.netloc or not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise errors.Unreadable("input.url : ce fichier n'est pas dans le dossier d'import")
    return path


OPERATIONS = (Operation("system", None, "import", run, action="c", reads_body=True),)

"""Which documents does a message carry, and how does one open them? (DISC-03)"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

from web import fhir, names, words

Resource = names.Resource

_KINDS = {
    "application/pdf": ("PDF", "pdf"),
    "image/jpeg": ("Photo", "jpg"),
    "image/png": ("Image", "png"),
    "image/gif": ("Image", "gif"),
    "image/webp": ("Image", "webp"),
    "text/xml": ("XML", "xml"),
    "application/xml": ("XML", "xml"),
    "application/zip": ("Archive", "zip"),
}


@dataclass(frozen=True, slots=True)
class Paper:
    """One file: `href` is empty when it cannot be opened here; `size` and `type` may be empty."""

    title: str
    type: str
    kind: str
    size: str
    href: str
    is_image: bool


async def cited(api: fhir.Client, messages: Iterable[Resource]) -> dict[str, Resource]:
    """The DocumentReferences that these messages cite, by reference."""
    references = [names.reference(part.get("contentReference")) for one in messages for part in one.get("payload", ())]
    ids = dict.fromkeys(ref.partition("/")[2] for ref in references if ref.startswith("DocumentReference/"))
    if not ids:
        return {}
    page = await api.search("DocumentReference", [("_id", ",".join(ids)), ("_count", str(len(ids)))])
    return {f"DocumentReference/{one['id']}": one for one in page.matches}


def listed(payload: Iterable[Resource], documents: dict[str, Resource]) -> list[Paper]:
    """The files of one message, in its order. A document that cannot be read is named as such, never left out."""
    result: list[Paper] = []
    for part in payload:
        if "contentAttachment" in part:
            result.append(_paper(part["contentAttachment"], ""))
        if ref := names.reference(part.get("contentReference")):
            found = documents.get(ref)
            label = str(part["contentReference"].get("display") or "Document non accessible")
            result += _papers(found) if found else [Paper(label, "", "", "", "", False)]
    return result


def _papers(document: Resource) -> list[Paper]:
    type = document.get("type", {})
    label = str(type.get("text") or next((one["display"] for one in type.get("coding", ()) if "display" in one), ""))
    title = str(document.get("description") or label or "Document")
    first, *others = (one["attachment"] for one in document["content"])
    return [_paper(first, title, type="" if title == label else label), *map(_other_form, others)]


def _other_form(attachment: Resource) -> Paper:
    """The same document in another form, the CDA beside its PDF."""
    paper = _paper(attachment, "Autre forme du document")
    return replace(paper, title="Version structurée") if paper.kind == "XML" else paper


def _paper(attachment: Resource, title: str, *, type: str = "") -> Paper:
    content_type = str(attachment.get("contentType", "")).partition(";")[0].lower()
    kind, extension = _KINDS.get(content_type, ("Fichier", "bin"))
    title = str(attachment.get("title") or title or "Document")
    url = str(attachment.get("url", ""))
    id = url.removeprefix("Binary/")
    href = f"/documents/{id}/{_file_name(title, extension)}" if id != url and _ID.fullmatch(id) else ""
    size = words.size(int(attachment["size"])) if "size" in attachment else ""
    return Paper(title, type, kind, size, href, content_type.startswith("image/"))


def _file_name(title: str, extension: str) -> str:
    """A name safe in a URL and on any disk: "Ordonnance du 3 mars" -> "ordonnance-du-3-mars.pdf"."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain.removesuffix(f".{extension}")).strip("-")
    return f"{words[:60] or 'document'}.{extension}"


_ID = re.compile(r"[A-Za-z0-9.\-]{1,64}")

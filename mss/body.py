"""Which part of a mail is its text, and which parts are files?

RFC 2046 (multipart kinds), 2387 (related), 3676 (flowed text). The plain text is preferred, except when it is only a
stub beside an HTML body that says much more.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field, replace
from urllib.parse import unquote_to_bytes

from common import errors
from mss import attachments, html_text, mime, reply_text


@dataclass(slots=True)
class Content:
    """The text, the files in order, and the text again with marks where the HTML body embeds images."""

    text: str = ""
    files: list[attachments.Attachment] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    marked: str = ""
    images: list[str] = field(default_factory=list)


def read(tree: mime.Part, limits: mime.Limits) -> Content:
    """Walk the tree once. Raises mime.Unparsable, errors.TooLarge, errors.UnsupportedMedia."""
    content = Content()
    pieces = _walk(tree, content, limits, related=False)
    texts = [_chosen(plain, html, content) for plain, html in pieces]
    content.text = "\n\n".join(text for text in texts if text.strip()).strip("\n")
    return content


def keep(content: Content, cut: reply_text.Cut) -> tuple[tuple[attachments.Attachment, ...], tuple[str, ...]]:
    """The files that enter the conversation and the names of those left out (logo rule, the same bytes twice)."""
    kept: dict[str, attachments.Attachment] = {}
    left_out = list(content.left_out)
    shown = set(content.images)
    followed = _followed(content) if content.images else set()
    for found in content.files:
        embedded = found.content_id is not None and found.content_id in shown
        decoration = attachments.is_decoration(found, embedded=embedded, followed=found.content_id in followed)
        if decoration or found.sha256 in kept:
            left_out.append(found.filename)
        else:
            kept[found.sha256] = found
    return tuple(kept.values()), tuple(left_out)


_PICTURE = re.compile(r"\[cid:[^\]\s]{1,200}\]")
_Piece = tuple[str | None, str | None]  # plain text, HTML


def _walk(part: mime.Part, content: Content, limits: mime.Limits, *, related: bool) -> list[_Piece]:
    kind = part.media_type
    if kind in ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"):
        raise mime.Unparsable("Ce courriel est chiffré ou signé d'une façon que le service ne sait pas ouvrir.")
    if kind == "message/partial":
        raise mime.Unparsable("Ce courriel n'est qu'un fragment d'un plus grand ; renvoyez-le entier.")
    if kind == "multipart/alternative":
        return [_alternative(part, content, limits)]
    if kind == "multipart/related" and part.children:
        root, *resources = part.children
        pieces = _walk(root, content, limits, related=False)
        return pieces + [piece for child in resources for piece in _walk(child, content, limits, related=True)]
    if kind.startswith("multipart/"):
        return [piece for child in part.children for piece in _walk(child, content, limits, related=related)]
    if kind in ("text/plain", "text/html") and part.disposition != "attachment" and not part.filename and not related:
        if len(part.body) > limits.text:
            raise errors.TooLarge("Le texte de ce courriel est trop long ; joignez-le en PDF.")
        return [_piece(part)]
    _add_file(part, content, limits, related=related)
    return []


def _alternative(part: mime.Part, content: Content, limits: mime.Limits) -> _Piece:
    """All children say the same; files inside the rich one (Apple Mail puts them there) are files all the same."""
    plains, htmls = [], []
    for child in part.children:
        if child.media_type in ("text/x-amp-html", "text/enriched", "text/watch-html"):
            continue
        for plain, html in _walk(child, content, limits, related=False):
            plains += [plain] if plain is not None and not _is_rich(child) else []
            htmls += [html] if html is not None else [_as_html(plain)] if plain is not None and _is_rich(child) else []
    return "\n\n".join(plains) if plains else None, "<br>".join(htmls) if htmls else None


def _is_rich(part: mime.Part) -> bool:
    return part.media_type == "text/html" or any(_is_rich(child) for child in part.children)


def _as_html(plain: str) -> str:
    escaped = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<pre>{escaped}</pre>"


def _piece(part: mime.Part) -> _Piece:
    text = mime.text(part)
    if part.media_type == "text/html":
        return None, text
    if part.parameters.get("format", "").lower() == "flowed":
        text = flowed(text, delete_space=part.parameters.get("delsp", "").lower() == "yes")
    return text, None


def _add_file(part: mime.Part, content: Content, limits: mime.Limits, *, related: bool) -> None:
    number = len(content.files) + len(content.left_out) + 1
    if attachments.is_seal(part):
        content.left_out.append(part.filename or part.media_type)
        return
    found = attachments.read(part, number, limits, related=related)
    if found.data:
        content.files.append(found)
    else:
        content.left_out.append(found.filename)


def _chosen(plain: str | None, html: str | None, content: Content) -> str:
    # Outlook's plain text says where its pictures were: "[cid:image001.png@01DC5B8A.4F2A91C0]".
    plain = None if plain is None else _PICTURE.sub("", plain)
    if html is None:
        return plain or ""
    converted = html_text.convert(html)
    if converted.images:
        # Marks are numbered in each body: with several bodies the later ones are counted on.
        shift = len(content.images)
        content.marked += html_text.IMAGE_MARK.sub(
            lambda mark: html_text.IMAGE.format(int(mark[1]) + shift), f"{converted.text}\n\n"
        )
        content.images += [_pasted(image, content) for image in converted.images]
    text = html_text.without_images(converted.text)
    # "Votre logiciel n'affiche pas le HTML": a stub must not hide the message.
    is_stub = not plain or not plain.strip() or len(text.split()) > 2 * len(plain.split()) + 20
    return text if is_stub else plain or ""


def _pasted(image: str, content: Content) -> str:
    """A picture written inside the HTML itself becomes a file like the others; gives the content id to look for."""
    head, comma, data = image.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        return image
    try:
        picture = binascii.a2b_base64(unquote_to_bytes(data))
    except binascii.Error:
        return image
    kind = head[5:-7].partition(";")[0]
    number = len(content.files) + len(content.left_out) + 1
    name = f"image-{number}.{kind.rpartition('/')[2].partition('+')[0][:10]}"
    found = replace(attachments.file(name, kind, picture), inline=True, content_id=f"pasted-{number}")
    content.files.append(found)
    return f"pasted-{number}"


def _followed(content: Content) -> set[str | None]:
    """The embedded images after which the author's own text goes on, in the reply, above any closing formula."""
    lines = reply_text.cut(content.marked).reply.split("\n")
    closing = next((at for at, line in enumerate(lines) if reply_text.is_closing(line)), len(lines))
    written = [at for at, line in enumerate(lines[:closing]) if html_text.IMAGE_MARK.sub("", line).strip()]
    last = written[-1] if written else -1
    marks = [(at, int(number)) for at, line in enumerate(lines) for number in html_text.IMAGE_MARK.findall(line)]
    return {content.images[number] for at, number in marks if at < last and number < len(content.images)}


def flowed(text: str, *, delete_space: bool = False) -> str:
    """Undo format=flowed (RFC 3676): join the lines that end with a blank, at equal depth of quotation."""
    out: list[tuple[int, list[str]]] = []
    open_depth = -1
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        rest = line[depth:].removeprefix(" ")  # space-stuffing
        if open_depth == depth and rest != "-- ":
            out[-1][1].append(rest)
        else:
            out.append((depth, [rest]))
        is_open = rest.endswith(" ") and rest != "-- "
        open_depth = depth if is_open else -1
        if is_open and delete_space:
            out[-1][1][-1] = rest[:-1]
    joined = ((depth, "".join(pieces)) for depth, pieces in out)
    return "\n".join(">" * depth + (" " if depth and text else "") + text for depth, text in joined)

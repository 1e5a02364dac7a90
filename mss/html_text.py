"""What does this HTML body say, as plain text?

Quotations become "> " lines and rules become a line of underscores, so that `reply_text` needs one set of rules.
Scripts, styles and invisible elements are not text. Nothing is fetched, nothing is executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from itertools import islice

from lxml import etree

IMAGE = "\ue000{}\ue001"  # where the n-th embedded image stands; private characters cannot come from the mail
IMAGE_MARK = re.compile("\ue000(\\d+)\ue001")

_BLANKS = re.compile(r"[ \t\r\n\f\u200b\u200c]+")
_PRIVATE = re.compile("[\ue000\ue001]")
_SKIPPED = {"script", "style", "head", "title", "template", "object", "svg", "math", "select", "textarea"}
_LINES = {"div", "li", "tr", "section", "article", "header", "footer", "center", "address", "dd", "dt", "form", "body"}
_PARAGRAPHS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "table", "ul", "ol", "dl", "pre", "figure"}
_ENDS = re.compile(r"</\s*(?:html|body)\b[^<>]*>", re.IGNORECASE)
# A start tag: its name, then attributes, whose quoted values may hold anything. It ends at ">", or before a "<".
_ELEMENT = re.compile(
    r"""<([a-z][a-z0-9:_.-]*+)((?:[^<>"'=]++|=\s*+(?:"[^"]*"|'[^']*')?+|["'])*+)(>?)""", re.IGNORECASE
)
_ATTRIBUTE = re.compile(r"""([^\s/=]++)\s*+(?:=\s*+("[^"]*"|'[^']*'|\S*+))?+""")
_READ = ("style", "class", "src", "href")
_ESCAPES = str.maketrans({'"': "&quot;", "<": "&lt;", ">": "&gt;"})
_DEEPEST = 10  # levels of quotation that are still told apart
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Converted:
    """`text` holds one IMAGE mark for each of `images`, in order: a content id, or a whole "data:image/..." address."""

    text: str
    images: tuple[str, ...]


def convert(html: str) -> Converted:
    """HTML to text. Total: broken markup still gives all its text."""
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True, no_network=True)
    # The parser stops at </html>, and mail goes on after it: Apple Mail sends two documents, gateways add a footer.
    source = _ELEMENT.sub(_simple, _without_comments(_ENDS.sub("", _PRIVATE.sub("", html))))
    try:
        root = etree.fromstring(source.encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError:
        root = None  # an empty document
    if any(entry.level == etree.ErrorLevels.FATAL for entry in parser.error_log):
        # The parser gave up in the middle (deeper than 2,048 elements): rough text, but all of it.
        return Converted(unescape(re.sub(r"<[^<>]*>", " ", source)).strip(), ())
    out = _Lines()
    if root is not None:
        for event, element in _visible(root):
            (_open if event == "start" else _close)(element, out)
            out.write(element.text if event == "start" else element.tail)
    return Converted(out.finish(), tuple(out.images))


def without_images(text: str) -> str:
    """The text without image marks; a line that held nothing else goes away."""
    lines = text.split("\n")
    return "\n".join(IMAGE_MARK.sub("", line) for line in lines if IMAGE_MARK.sub("", line).strip() or not line.strip())


def _without_comments(html: str) -> str:
    kept, at = [], 0
    while (start := html.find("<!--", at)) >= 0 and (end := html.find("-->", start + 4)) >= 0:
        kept.append(html[at:start])
        at = end + 3
    return "".join(kept) + html[at:]


def _simple(tag: re.Match[str]) -> str:
    """The tag with the attributes that are read here and no other.

    libxml2 compares each attribute with all those before it: a tag with 200,000 of them would take a minute.
    """
    if not tag[2].strip():
        return f"<{tag[1]}>"
    if not tag[3] and tag.end() == len(tag.string):
        return tag[0].replace("<", "&lt;")  # never closed: text
    found: dict[str, str] = {}
    for name, value in _ATTRIBUTE.findall(tag[2]):
        if name.lower() in _READ:
            value = value[1:-1] if value[:1] in ("'", '"') and value[-1:] == value[:1] else value
            found.setdefault(name.lower(), value.translate(_ESCAPES))
    attributes = "".join(f' {name}="{value}"' for name, value in found.items())
    return f"<{tag[1]}{attributes}{'/' if tag[2].endswith('/') else ''}>"


@dataclass(slots=True)
class _Lines:
    """Lines under construction, with the depth of quotation and the blank lines due between paragraphs."""

    lines: list[str] = field(default_factory=list)
    line: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    depth: int = 0
    last_depth: int = 0
    verbatim: int = 0
    gap: bool = False
    started: bool = False  # the current line holds more than blanks

    def add(self, text: str) -> None:
        self.line.append(text)
        self.started = self.started or bool(text.strip())

    def write(self, text: str | None) -> None:
        if not text:
            return
        if self.verbatim:
            first, *others = text.split("\n")
            self.add(first)
            for other in others:
                self.end_line(force=True)
                self.add(other)
            return
        text = _BLANKS.sub(" ", text)
        if text == " " and not self.line:
            return
        self.add(text)

    def end_line(self, *, force: bool = False) -> None:
        """Close the current line; an empty one is written only when the mail asks for it (<br>, <pre>)."""
        text = "".join(self.line).replace("\xa0", " ")
        # "-- " keeps its blank: with it, the line is the mark of a signature (RFC 3676 4.3).
        text = "-- " if text.strip(" ") == "--" and text.endswith(" ") else text.rstrip()
        text = text if self.verbatim or text == "-- " else text.strip()
        if text or force or self.line:
            depth = min(self.depth, _DEEPEST)
            mark = "> " * depth
            if self.gap and self.lines and self.lines[-1].strip("> "):
                self.lines.append(("> " * min(depth, self.last_depth)).rstrip())
            self.last_depth = depth
            self.lines.append((mark + text) if text == "-- " else (mark + text).rstrip())
            self.gap = False
        self.line, self.started = [], False

    def finish(self) -> str:
        self.end_line()
        text = "\n".join(self.lines)
        return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def _visible(root: etree._Element) -> Iterator[tuple[str, etree._Element]]:
    """Start and end of each element that a reader sees (the end only, for what is skipped: its tail is text)."""
    walk = etree.iterwalk(root, events=("start", "end"))
    hidden: etree._Element | None = None
    for event, element in walk:
        if hidden is not None:
            if event == "end" and element is hidden:
                hidden = None
                yield "tail", element
        elif event == "start" and (_tag(element) in _SKIPPED or _HIDDEN.search(element.get("style") or "")):
            hidden = element
        else:
            yield event, element


def _open(element: etree._Element, out: _Lines) -> None:
    tag = _tag(element)
    if tag == "br":
        out.end_line(force=True)
    elif tag == "hr":
        out.end_line()
        out.add("_" * 32)
        out.end_line()
    elif tag in ("td", "th") and out.started:
        out.add("\t")
    elif tag == "img" and (element.get("src") or "").lower().startswith(("cid:", "data:image/")):
        out.add(IMAGE.format(len(out.images)))
        out.images.append((element.get("src") or "").removeprefix("cid:"))
    elif tag in _LINES or tag in _PARAGRAPHS:
        out.end_line()
        out.gap = out.gap or _is_spaced(element)
    out.depth += tag == "blockquote"
    out.verbatim += tag == "pre"
    if tag == "li":
        out.add("- ")


def _close(element: etree._Element, out: _Lines) -> None:
    tag = _tag(element)
    if tag == "a":
        target = (element.get("href") or "").strip()
        if re.match(r"https?://", target) and target.rstrip("/") not in _shown(element):
            out.add(f" <{target}>")
    elif tag in _LINES or tag in _PARAGRAPHS:
        out.end_line()
        out.gap = out.gap or _is_spaced(element)
    out.depth -= tag == "blockquote"
    out.verbatim -= tag == "pre"


def _shown(link: etree._Element) -> str:
    """The first words of a link; bounded, because links may stand inside links."""
    walk = islice(etree.iterwalk(link, events=("start", "end")), 80)
    pieces = (node.text if event == "start" else node.tail for event, node in walk if event == "start" or node != link)
    return "".join(piece for piece in pieces if piece)


def _is_spaced(element: etree._Element) -> bool:
    # Outlook's paragraphs (class MsoNormal) have no margin: its blank lines are paragraphs of their own.
    return _tag(element) in _PARAGRAPHS and not (element.get("class") or "").startswith("Mso")


def _tag(element: etree._Element) -> str:
    return element.tag if isinstance(element.tag, str) else ""

"""Which lines of this mail did its author just write?

No standard says how a reply quotes; these rules were written from what French mail programs send (one fixture each
in tests/mss/clients). Two laws stand above them: a line is hidden only below a mark that a program wrote
(attribution, header block, our separator), and nothing is hidden when answers stand between quoted lines.
The full text always stays beside the cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mss import html_text

SEPARATOR = "----- Répondez au-dessus de cette ligne -----"  # compose writes it above the text of each mail
FOOTER = "Conversation [#{}]"  # the last line of each of our mails


@dataclass(frozen=True, slots=True)
class Cut:
    """The three parts of a text; every line with content is in exactly one of them.

    `interleaved`: answers stand (or may stand) between quoted lines, so `reply` shows questions and answers.
    `forwarded`: `reply` ends with a message of somebody else that the author passed on.
    """

    reply: str
    quoted: str
    signature: str
    interleaved: bool = False
    forwarded: bool = False


def cut(text: str, html: str | None = None, *, forwarded: bool = False) -> Cut:
    """Split a mail's text into reply, quotation and signature.

    `html` is used only when `text` is blank. `forwarded`: the subject says that the mail passes on another one
    (Outlook draws the same header block above a forwarded text as above a quoted one).
    """
    if not text.strip() and html:
        text = html_text.without_images(html_text.convert(html).text)
    lines = text.split("\n")
    plain = [_plain(line) for line in lines]
    forward = next((at for at, line in enumerate(plain) if _FORWARD.match(line)), None)
    end = len(lines) if forward is None else forward
    hard = None if forwarded else _hard_start(lines, plain, end)
    soft = None if forwarded else _soft_start(lines, plain, end if hard is None else hard)
    if hard is None and soft is None:
        reply, signature = _sign_off(lines)
        return Cut(_join(reply), "", _join(signature), forwarded=forwarded or forward is not None)
    first = min(at for at in (hard, soft) if at is not None)
    if _is_interleaved(lines, first=first, hard=hard):
        reply, signature = _sign_off(lines)
        return Cut(_join(reply), "", _join(signature), interleaved=True)
    after = _after_our_mail(lines, first) if hard is None else []
    reply, signature = _sign_off(lines[:first] + after)
    return Cut(_join(reply), _join(lines[first : len(lines) - len(after)]), _join(signature))


def is_closing(line: str) -> bool:
    """Is this line a closing formula ("Cordialement,"), below which only the author's card is expected?"""
    return bool(_CLOSING.match(_plain(line)))


# What programs write above the message they quote.
_ORIGINAL = re.compile(
    r"^-{2,}\s*((mail|message|courriel|e-?mail) (original|d['’]origine|initial)|original message)\s*-{2,}$",
    re.IGNORECASE,
)
_FORWARD = re.compile(
    r"^-{2,}\s*((mail|message|courriel) (transf[ée]r[ée]|r[ée]exp[ée]di[ée])|forwarded message)\s*-{2,}$"
    r"|^d[ée]but du (message|courriel) (transf[ée]r[ée]|r[ée]exp[ée]di[ée])\s*:?$|^begin forwarded message\s*:$",
    re.IGNORECASE,
)
_RULE = re.compile(r"^[_-]{10,}$")
_LABELS = {
    "de": "from", "from": "from", "expéditeur": "from", "émetteur": "from", "von": "from",
    "envoyé": "date", "envoyé le": "date", "date": "date", "sent": "date", "date d'envoi": "date",
    "à": "to", "to": "to", "a": "to", "destinataire": "to", "destinataires": "to", "pour": "to",
    "objet": "subject", "sujet": "subject", "subject": "subject",
    "cc": "cc", "copie à": "cc", "importance": "importance", "répondre à": "reply",
}  # fmt: skip
_LABEL = re.compile(r"^([a-zàâéèêç' ]{1,15}?)\s*:(\s|$)", re.IGNORECASE)
_WROTE = re.compile(r"\b(a [ée]crit|wrote|schrieb|escribió|ha scritto)\b.{0,60}:$", re.IGNORECASE)
_DATED = re.compile(r"^(Le|On|Am|El|Il) (\S{2,10},? ){0,2}(\S{3,5} )?\d")
_WHEN = re.compile(
    r"\d{1,2}\s?[:h]\s?\d{2}|\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}|\d{4}-\d{2}-\d{2}|\d{1,2}(er)? \S{3,10} \d{4}"
)
# Tried at the start of a word only: from each letter of a long word, it would take quadratic time.
_ADDRESS = re.compile(r"(?<![^\s@<>])[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+")
_OURS = re.compile(r"r.{1,3}pondez\s+au-dessus\s+de\s+cette\s+ligne", re.IGNORECASE)
_OUR_END = re.compile(r"^Conversation \[#[0-9A-Z]{4,10}\]$")
# The author says that the answers are inside the quoted text.
_INSIDE = re.compile(
    r"ci-dessous|ci dessous|ci-après|\binfra\b|en-dessous|entre les lignes|au fil d|below|inline"
    r"|dans (le|la|votre|ton|vos|tes) (texte|corps|mail|message|courriel|questions?|liste)"
    r"|sous (vos|tes|chaque|les) questions?|\ben (rouge|bleu|vert|gras|couleur|majuscules|italique)",
    re.IGNORECASE,
)
_MOBILE = re.compile(
    r"^(envoy[ée]e? (de|depuis|à partir de|avec|via) .{0,30}\b(iphone|ipad|smartphone|mobile|t[ée]l[ée]phone|tablette"
    r"|appareil|samsung|galaxy|android|huawei|xiaomi|oppo|orange|sfr|bouygues|yahoo|outlook|gmail|windows|proton ?mail)"
    r"\b.{0,40}"
    r"|provenance : courrier pour windows.*|(obtenir|t[ée]l[ée]charge[rz]) outlook pour (ios|android).*"
    r"|sent from my .{2,40}|get outlook for .{2,60}|garanti sans virus.*|www\.avast\.com.*)$",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"^((bien|très) )?(cordialement|confraternellement|amicalement|respectueusement|sincèrement|bien à (vous|toi|tous)"
    r"|(sincères|meilleures|cordiales|confraternelles) salutations|salutations|cdl?t|bonne (journée|soirée|réception)"
    r"|bien confraternellement|best regards|regards)\b.{0,20}$",
    re.IGNORECASE,
)
_CARD = re.compile(
    r"@|https?://|www\.|(?:\d[ .]?){9,}|\bt[ée]l\b|\bdr\b|docteur|cabinet|h[ôo]pital|\bchu?\b|clinique|centre|ehpad"
    r"|infirmi|m[ée]decin|pharmac|kin[ée]|sage-femme|secr[ée]tar|\brue\b|avenue",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"[\s\xa0\u202f]+")
_LONGEST_MARK = 500
_SIGNATURE_LINES = 12


def _plain(line: str) -> str:
    """A line for matching: no quotation marks, no bold stars, ordinary blanks. Marks of programs are short."""
    return _BLANKS.sub(" ", line.lstrip("> ")[:_LONGEST_MARK].replace("*", "")).strip()


def _is_quoted(line: str) -> bool:
    return line.startswith((">", " >"))


def _hard_start(lines: list[str], plain: list[str], end: int) -> int | None:
    """Where a program put the earlier message without marking its lines: all that follows is quotation."""
    for at in range(end):
        if _is_quoted(lines[at]):
            continue
        if _ORIGINAL.match(plain[at]) or _OURS.search(plain[at]) or _is_header_block(plain, at):
            return _from_mark(plain, at)
        after = _attribution(plain, at)
        # Unmarked lines below an attribution: believed only when it names an address, as no person would write.
        if after is not None and _ADDRESS.search(" ".join(plain[at:after])) and not _opens_quote(lines, after):
            return at
    return None


def _from_mark(plain: list[str], at: int) -> int:
    """A mark and what belongs to it above: the rule that Outlook on the web draws, an attribution."""
    above = at - 1
    while above > 0 and not plain[above]:
        above -= 1
    if above >= 0 and _RULE.match(plain[above]):
        return above
    return next((n for n in range(max(0, above - 3), above + 1) if _attribution(plain, n) == above + 1), at)


def _is_header_block(plain: list[str], at: int) -> bool:
    """De, Envoyé, À, Objet (Outlook and many others) in neighbouring lines, the sender first."""
    if _label(plain[at]) != "from":
        return False
    block = [(line, kind) for line in plain[at : at + 9] if (kind := _label(line))]
    if not {"date", "to"} <= {kind for _, kind in block}:
        return False
    # A letter typed by hand may start like this too; a program adds an address or an hour.
    return any(_ADDRESS.search(line) or _WHEN.search(line) for line, _ in block)


def _label(line: str) -> str | None:
    match = _LABEL.match(line)
    return _LABELS.get(match[1].lower().strip()) if match else None


def _attribution(plain: list[str], at: int) -> int | None:
    """The index after "Le 23/11/2026 à 09:12, Nadia Roux a écrit :" when one starts here (it may be folded)."""
    dated = bool(_DATED.match(plain[at]))
    if not dated and not plain[at].endswith(":"):
        return None
    joined = ""
    for end in range(at, min(at + (4 if dated else 1), len(plain))):
        if not plain[end] or (end > at and _DATED.match(plain[end])):
            return None
        joined = f"{joined} {plain[end]}".strip()
        if joined.endswith(":"):
            when, address = _WHEN.search(joined), _ADDRESS.search(joined)
            return end + 1 if (when and address) or (_WROTE.search(joined) and (when or address)) else None
    return None


def _opens_quote(lines: list[str], at: int) -> bool:
    return _is_quoted(next((lines[n] for n in range(at, len(lines)) if lines[n].strip()), ""))


def _soft_start(lines: list[str], plain: list[str], end: int) -> int | None:
    """Where an attribution, or our own separator, opens a quotation whose lines start with ">"."""
    tail = _tail(lines)
    for at in range(end):
        # Without an hour or an address a person may have written it: believed when only quoted lines follow.
        if (
            at + 1 == tail < len(lines)
            and _is_quoted(lines[tail])
            and _DATED.match(plain[at])
            and _WROTE.search(plain[at])
        ):
            return at
        after = _attribution(plain, at)
        if after is not None and (_is_quoted(lines[at]) or _opens_quote(lines, after)):
            return at
        if _is_quoted(lines[at]) and _OURS.search(plain[at]):
            return at
    return None


def _tail(lines: list[str]) -> int:
    """The index after the last line with content that is not quoted."""
    return next((at + 1 for at in range(len(lines) - 1, -1, -1) if lines[at].strip() and not _is_quoted(lines[at])), 0)


def _is_interleaved(lines: list[str], *, first: int, hard: int | None) -> bool:
    """May an answer stand inside the quotation?"""
    above = _authored(lines[:first])
    if hard is not None and (not above or _INSIDE.search(" ".join(above))):
        return True  # the lines are not marked, so the answers could be anywhere below
    within = lines[first : len(lines) if hard is None else hard]
    marked = [at for at, line in enumerate(within) if _is_quoted(line)]
    if not marked:
        return hard is None and not above
    if not _authored(_unmarked(within[marked[0] :])):
        return hard is None and not above
    return _after_our_mail(lines, first) == []


def _after_our_mail(lines: list[str], first: int) -> list[str]:
    """What is written below a quotation that holds one of our mails untouched, from separator to last line."""
    marked = [at for at in range(first, len(lines)) if _is_quoted(lines[at])]
    if not marked or not any(_OURS.search(_plain(lines[at])) for at in marked):
        return []
    last = marked[-1]
    untouched = not _authored(_unmarked(lines[marked[0] : last]))
    ours = any(_OUR_END.match(_plain(lines[at])) for at in marked[-6:])
    return lines[last + 1 :] if untouched and ours and _authored(lines[last + 1 :]) else []


def _unmarked(lines: list[str]) -> list[str]:
    return [line for line in lines if not _is_quoted(line)]


def _authored(lines: list[str]) -> list[str]:
    """The lines with content, without the closing signature."""
    return [line for line in _sign_off(lines)[0] if line.strip()]


def _sign_off(lines: list[str]) -> tuple[list[str], list[str]]:
    """Text and signature: the block below "-- " (RFC 3676 4.3), and what telephones add."""
    end = len(lines)
    while end and (not lines[end - 1].strip() or _MOBILE.match(_plain(lines[end - 1]))):
        end -= 1
    start = _dashes(lines[:end])
    return (lines[:start], lines[start:]) if start is not None else (lines[:end], lines[end:])


def _dashes(lines: list[str]) -> int | None:
    for at in range(len(lines) - 1, -1, -1):
        if lines[at] not in ("-- ", "--", "--\xa0"):
            continue
        below = [line for line in lines[at + 1 :] if line.strip()]
        if len(below) > _SIGNATURE_LINES or any(_is_quoted(line) for line in below):
            return None
        # Without its final blank the mark may be typed by hand ("Traitement : / -- / Doliprane"): only above a card.
        return (
            at if lines[at] != "--" or not below or any(_CARD.search(line[:_LONGEST_MARK]) for line in below) else None
        )
    return None


def _join(lines: list[str]) -> str:
    start, end = 0, len(lines)
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return "\n".join(lines[start:end])

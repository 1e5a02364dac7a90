"""What does a machine's mail say about one of our mails, and about which?

RFC 3464 (delivery reports), RFC 8098 (receipts) and the older grammar of hospital gateways, which puts the error
inside the disposition line (volet courriel MSSanté v1.1.2; v1.1.3 has a field of its own), the gateways' error notices,
bounces in plain text, RFC 3834 (automatic answers). Pure and total: of a report that says little, little is told.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from common import errors
from mss import address, automatic, headers, mime

# What became of the mail.
DELIVERED, RELAYED, DELAYED, FAILED = "delivered", "relayed", "delayed", "failed"
DISPLAYED, PROCESSED, DELETED, ABSENT, UNKNOWN = "displayed", "processed", "deleted", "absent", "unknown"

_ACTIONS = {"delivered": DELIVERED, "relayed": RELAYED, "expanded": RELAYED, "delayed": DELAYED, "failed": FAILED}
_BY_CLASS = {"2": DELIVERED, "4": DELAYED, "5": FAILED}
_DISPOSITIONS = {
    "displayed": DISPLAYED, "processed": PROCESSED, "dispatched": DELIVERED, "deleted": DELETED,
    "denied": DELIVERED, "failed": FAILED,
}  # fmt: skip
_WORDS = {
    RELAYED: "transmis à un serveur qui n'envoie pas d'avis de remise",
    DELETED: "supprimé par le destinataire, lecture inconnue",
    ABSENT: "réponse d'absence",
}
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_SMTP = re.compile(r"(?<![\d.])([245]\d\d)(?![\d.])")
_DISPOSITION = re.compile(r"([a-z]+)\s*(?:/\s*(.*))?\Z", re.IGNORECASE | re.DOTALL)
_APPLICATION = re.compile(r"(?<!\d)(90[0-6])(?!\d)")
_BLANK_LINE = re.compile(rb"\r?\n[ \t]*(?:\r?\n)+")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_SOMEBODY = re.compile(r"<?([^\s<>\"',;:()]{1,128}@[^\s<>\"',;:()]{1,253}[^\s<>\"',;:().])")
_COPY = re.compile(r"(?im)^\W{0,6}(below this line|this is a copy|original message|message d['’]origine|copie du)\b.*")
_OF_MAIL = re.compile(r"(?im)^[> \t]*message-id\s*:\s*<([^<>\s]{1,900})>")
# How operators say it in plain words, most telling first.
_SAID = (
    (re.compile(r"bo[iî]te (aux lettres )?(est )?pleine|quota|mailbox (is )?full|over ?quota", re.I), "5.2.2"),
    (re.compile(r"trop volumineux|too large|exceeds? .{0,20}size|d[ée]passe la taille", re.I), "5.3.4"),
    (re.compile(r"(ferm[ée]e?|cl[oô]tur[ée]e?|d[ée]sactiv[ée]e?|disabled|inactive)\b", re.I), "5.2.1"),
    (re.compile(r"espace de confiance|liste blanche|non autoris|not (allowed|permitted)|refus[ée]e?\b", re.I), "5.7.1"),
    (re.compile(r"n['’]existe pas|inconnue?s?\b|introuvable|unknown|no such|does not exist|invalide?", re.I), "5.1.1"),
)  # fmt: skip
_LATE = re.compile(r"retard|pas encore|delayed|will (be )?(retr|keep)|still being retried|nouvelle tentative", re.I)
_LONGEST_TEXT = 4000
_LONGEST_PROOF = 300


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one report says about one recipient of one mail of ours.

    `kind` as in `automatic`; `outcome` one of the words above. `message_ids` (ours may be any of them), `envid` and
    `recipients` (original first, normalised) tell what it is about and may be empty. `code` is an enhanced status, an
    SMTP code or an application error (902); `reason` is French; `proof` the other side's own words, short and safe.
    """

    kind: str
    outcome: str
    message_ids: tuple[str, ...] = ()
    envid: str = ""
    recipients: tuple[str, ...] = ()
    code: str = ""
    reason: str = ""
    proof: str = ""


def read(raw: bytes, *, null_sender: bool = False, limits: mime.Limits | None = None) -> tuple[Receipt, ...]:
    """All that a mail reports, one for each recipient; empty when it is a person's mail.

    `null_sender`: it came with an empty envelope sender. Raises mime.Unparsable, errors.TooLarge as `letter.read`.
    """
    tree = mime.split(raw, limits or mime.Limits())
    kind = automatic.kind(tree, null_sender=null_sender)
    if not kind:
        return ()
    read_one = {
        automatic.DELIVERY: _delivery,
        automatic.DISPOSITION: _disposition,
        automatic.INTEGRATION: _integration,
        automatic.REFUSAL: _refusal,
        automatic.AUTO_REPLY: _auto_reply,
    }
    found = tuple(read_one[kind](tree)) or (Receipt(kind, UNKNOWN, _answered(tree)),)
    return tuple(replace(one, proof=address.safe(one.proof, limit=_LONGEST_PROOF)) for one in found)


@cache
def reasons() -> dict[str, str]:
    """tables/delivery_reasons.csv: a code and what it means to a French reader."""
    text = resources.files("mss").joinpath("tables/delivery_reasons.csv").read_text("utf-8")
    return {row["code"]: row["reason"] for row in csv.DictReader(io.StringIO(text))}


def reason(code: str) -> str:
    """`5.2.2` -> "boîte pleine"; the nearest known meaning, "" when there is none."""
    known = reasons()
    if code in known or code.count(".") != 2:
        return known.get(code, "")
    major, subject, _ = code.split(".")
    # A temporary code means what its permanent twin means; a detail nobody knows means what its subject means.
    near = (f"5.{code[2:]}", f"{major}.{subject}.0", f"5.{subject}.0", f"5.{subject}.1")
    return next((known[one] for one in near if one in known), "") if major != "2" else ""


def said(answer: str) -> str:
    """What a server's refusal ("550 5.1.1 unknown") means, in French; "" when nobody knows."""
    return _spoken(answer)[1]


# --- delivery reports


def _delivery(tree: mime.Part) -> Iterator[Receipt]:
    """RFC 3464: fields about the mail, then a group of fields for each recipient."""
    groups = [group for part in _parts(tree, "delivery-status") for group in _groups(part)]
    general = [group for group in groups if not _is_recipient(group)]
    envid = _first(general, "original-envelope-id") or _first(groups, "original-envelope-id")
    ids = headers.ids(_first(groups, "x-original-message-id")) + _answered(tree)
    for group in filter(_is_recipient, groups):
        diagnostic = headers.first(group, "diagnostic-code") or ""
        status = _STATUS.search(headers.first(group, "status") or "")
        code = _code(status[1] if status else "", diagnostic)
        action = (headers.first(group, "action") or "").strip().lower().partition(" ")[0]
        outcome = _ACTIONS.get(action) or _BY_CLASS.get(code[:1], UNKNOWN)
        said = diagnostic.partition(";")[2].strip() or diagnostic
        yield Receipt(
            automatic.DELIVERY,
            outcome,
            tuple(dict.fromkeys(ids)),
            _unxtext(envid),
            _recipients(group),
            code,
            _why(outcome, code, said),
            " ".join(filter(None, (action, code, said))),
        )


def _groups(part: mime.Part) -> list[headers.Fields]:
    """The field groups of a machine-readable part, separated by blank lines (RFC 3464 2.1)."""
    blocks = _BLANK_LINE.split(_content(part).strip())
    return [found for block in blocks if (found := headers.fields(block)[0])]


def _is_recipient(group: headers.Fields) -> bool:
    # Some reports forget the blank line after the fields about the mail, some the recipient or the action.
    return any(name.lower() in ("final-recipient", "original-recipient", "action") for name, _ in group)


def _recipients(group: headers.Fields) -> tuple[str, ...]:
    return _addresses(headers.first(group, "original-recipient"), headers.first(group, "final-recipient"))


def _addresses(*values: str | None) -> tuple[str, ...]:
    """`rfc822; paul@x`, `rfc822;"Paul" <paul@x>`, bare ones: normalised, what is no address left out."""
    found: list[str] = []
    for value in filter(None, values):
        kind, mark, rest = value.partition(";")
        text = rest if mark else kind
        found += [one.address for one in address.parse(text.strip())]
    return tuple(dict.fromkeys(found))


def _code(status: str, said: str) -> str:
    """The most telling code: the status unless it is a vague x.0.0 and the diagnostic knows better."""
    if status and not status.endswith(".0.0"):
        return status
    if better := _STATUS.search(said):
        return better[1]
    plain = _SMTP.search(said)
    return plain[1] if plain else status


def _why(outcome: str, code: str, said: str) -> str:
    if outcome in (FAILED, DELAYED):
        return reason(code) or _spoken(said)[1]
    return _WORDS.get(outcome, "")


# --- receipts


def _disposition(tree: mime.Part) -> Iterator[Receipt]:
    """RFC 8098, and the older grammar: the raw line is read first, since a standard reader sees success there."""
    for part in _parts(tree, "disposition-notification"):
        fields = tuple(field for group in _groups(part) for field in group)
        line = headers.words(headers.first(fields, "disposition") or "")
        match = _DISPOSITION.match(line.rpartition(";")[2].strip()) if "/error:" not in line.lower() else None
        word, more = _old_grammar(line) if match is None else (match[1].lower(), match[2] or "")
        error = headers.words(headers.first(fields, "error") or headers.first(fields, "failure") or "")
        gateway = automatic.integration_code(automatic.subject(tree.fields))
        failed = bool(error) or "error" in more.lower() or gateway is not None
        outcome = FAILED if failed else _DISPOSITIONS.get(word, UNKNOWN)
        code = _application(f"{error} {more}", gateway or "")
        proof = line if not error else f"{line} ({error})"
        yield Receipt(
            automatic.DISPOSITION,
            outcome,
            headers.ids(headers.first(fields, "original-message-id")) or _answered(tree),
            "",
            _recipients(fields) or _author(tree),
            code if outcome == FAILED else "",
            (reason(code or "906")) if outcome == FAILED else _WORDS.get(outcome, ""),
            proof,
        )


def _old_grammar(line: str) -> tuple[str, str]:
    """`automatic-action/…; processed/Error: 902^Identifiant…| E^Error` -> ("processed", "Error: 902^…").

    The error's own text may hold a semicolon, so the word is looked for from the left.
    """
    found = re.search(r"(?:\A|;)\s*([a-z]+)\s*/\s*(error\s*:.*)", line, re.IGNORECASE | re.DOTALL)
    return (found[1].lower(), found[2]) if found else (line.strip().lower().partition("/")[0], "")


def _application(error: str, gateway: str) -> str:
    found = _APPLICATION.search(error)
    return found[1] if found else gateway if _APPLICATION.fullmatch(gateway) else ""


def _integration(tree: mime.Part) -> Iterator[Receipt]:
    """An ordinary mail with the code in its subject and the complete original inside ("bal-erreur")."""
    title = automatic.subject(tree.fields)
    code = _application("", automatic.integration_code(title) or "") or "906"
    yield Receipt(automatic.INTEGRATION, FAILED, _answered(tree), "", _author(tree), code, reason(code), title)


# --- notices without a machine part


def _refusal(tree: mime.Part) -> Iterator[Receipt]:
    """A bounce that only a person was meant to read."""
    text, title = _text(tree), automatic.subject(tree.fields)
    code, why = _spoken(text)
    late = bool(_LATE.search(title) or _LATE.search(text)) or code.startswith("4")
    outcome = DELAYED if late else FAILED if code or automatic.is_bounce_title(title) else UNKNOWN
    named = headers.first(tree.fields, "x-failed-recipients")
    recipients = _addresses(named) or _addresses(*_SOMEBODY.findall(text)[:5])
    ids = _answered(tree) + tuple(_OF_MAIL.findall(_whole_text(tree)))
    proof = next((line for line in text.split("\n") if code and code in line), "") or title
    yield Receipt(automatic.REFUSAL, outcome, tuple(dict.fromkeys(ids)), "", recipients, code, why, proof)


def _auto_reply(tree: mime.Part) -> Iterator[Receipt]:
    """An absence, or only a machine's "well received", which says nothing of a reader."""
    title, text = automatic.subject(tree.fields), _text(tree)
    outcome = ABSENT if automatic.is_away(title, text) else UNKNOWN
    proof = " ".join(text.split())[:_LONGEST_PROOF] or title
    yield Receipt(automatic.AUTO_REPLY, outcome, _answered(tree), "", _author(tree), "", _WORDS.get(outcome, ""), proof)


def _spoken(text: str) -> tuple[str, str]:
    """The code in a text and what it means; without a code, what the words mean."""
    found = _STATUS.search(text)
    plain = re.search(r"(?<![\d.])([45]\d\d)[ -]", text)
    code = found[1] if found else plain[1] if plain else ""
    meant = next((status for pattern, status in _SAID if pattern.search(text)), "")
    code = meant if not code or (not reason(code) and meant) else code
    return code, reason(code)


# --- what they share


def _parts(tree: mime.Part, name: str) -> list[mime.Part]:
    return [part for part in (tree, *automatic.children(tree)) if part.media_type.endswith(name)]


def _answered(tree: mime.Part) -> tuple[str, ...]:
    """The mails that this one answers: those whose header or whole it gives back, else the ones it names."""
    found: list[str] = []
    for part in automatic.children(tree):
        if part.media_type in ("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"):
            found += headers.ids(headers.first(headers.fields(_content(part).lstrip())[0], "message-id"))
    found += headers.ids(headers.first(tree.fields, "in-reply-to"))
    found += reversed(headers.ids(headers.first(tree.fields, "references")))
    return tuple(dict.fromkeys(found))


def _author(tree: mime.Part) -> tuple[str, ...]:
    return tuple(one.address for one in address.parse(headers.first(tree.fields, "from") or ""))[:1]


def _text(tree: mime.Part) -> str:
    """The readable words, without the copy of our own mail below them."""
    text = _whole_text(tree)[:_LONGEST_TEXT]
    copy = _COPY.search(text)
    return text[: copy.start()] if copy else text


def _whole_text(tree: mime.Part) -> str:
    plain = next((part for part in (tree, *automatic.children(tree)) if part.media_type == "text/plain"), None)
    try:
        return mime.text(plain).replace("\r\n", "\n") if plain else ""
    except errors.HubError:
        return ""


def _content(part: mime.Part) -> bytes:
    try:
        return mime.content(part)
    except errors.HubError:
        return part.body


def _first(groups: list[headers.Fields], name: str) -> str:
    return next((found for group in groups if (found := headers.first(group, name))), "")


def _unxtext(text: str) -> str:
    """RFC 3461 4: `livraison+2B1` -> `livraison+1`."""
    return _XTEXT.sub(lambda match: chr(int(match[1], 16)), text.strip())

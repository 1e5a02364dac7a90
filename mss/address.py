"""Whose address is this, and which thread does its tag name?

Addresses: RFC 5321 4.1.2, RFC 6531 (UTF-8), RFC 5891 (IDNA). Sub-addresses: RFC 5233. The reply address of a
conversation is its mailbox plus a keyed tag, `conv+<token>@domain`: it proves the thread, never the person.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata
from dataclasses import dataclass

import idna

from common import errors

CITIZENS = "patient.mssante.fr"
TOKEN_LENGTH = 16  # base32 characters: 80 bits, far beyond guessing through a mail server

_TOKEN = re.compile(r"[a-z2-7]{16}\Z")
_ASCII_DOMAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\Z")
_LITERAL = re.compile(r"\[[0-9a-f.:]{2,60}\]\Z")
_BLANKS = re.compile(r"\s+")
_LONGEST = 1000  # what is longer is refused before work is done on it


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A normalised address and the name shown beside it (may be empty)."""

    address: str
    name: str = ""


def token(secret: bytes, conversation: str, member: str) -> str:
    """The reply tag of one member in one conversation: 16 characters of lower-case base32.

    A keyed hash, so it says nothing about people or patients, cannot be guessed, and is the same at each call:
    it can be reused for every mail until the hub forgets it.
    """
    # Lengths first, so that ("a", "bc") and ("ab", "c") cannot give the same tag.
    text = f"{len(conversation)}:{conversation}{len(member)}:{member}"
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:TOKEN_LENGTH]


def reply_address(mailbox: str, tag: str) -> str:
    """`conv@hub.example` and a token -> `conv+<token>@hub.example`."""
    local, _, host = normalise(mailbox).rpartition("@")
    return f"{local}+{tag}@{host}"


def return_address(mailbox: str, secret: bytes, delivery: str) -> str:
    """Where the reports about one delivery go: `conv+r.<delivery>.<tag>@domain` (variable envelope return paths).

    Whoever writes to it has had that mail in hand. The bare mailbox when the local part would be longer than RFC 5321
    4.5.3.1.1 lets it be.
    """
    local, _, host = normalise(mailbox).rpartition("@")
    tagged = f"{local}+r.{delivery}.{_return_tag(secret, delivery)}"
    return f"{tagged}@{host}" if len(tagged) <= 64 else f"{local}@{host}"


def delivery_of(recipient: str, mailbox: str, secret: bytes) -> str | None:
    """The delivery whose return address this is; None when it is none of ours."""
    kind, _, rest = (_tag(recipient, mailbox) or "").partition(".")
    delivery, _, tag = rest.rpartition(".")
    genuine = kind == "r" and hmac.compare_digest(tag.encode(), _return_tag(secret, delivery).encode())
    return delivery if genuine else None


def token_of(recipient: str, mailbox: str) -> str | None:
    """The tag inside a recipient of this mailbox; None when there is none or it cannot be one of ours."""
    tag = _tag(recipient, mailbox)
    return tag if tag is not None and _TOKEN.match(tag) else None


def is_of(recipient: str, mailbox: str) -> bool:
    """Is this recipient the mailbox itself or one of its sub-addresses?"""
    return _tag(recipient, mailbox) is not None


def normalise(address: str) -> str:
    """Lower case, NFC, domain in its ASCII form: two spellings of one mailbox become equal.

    Raises errors.Invalid when it is not `local@domain` on one line.
    """
    if len(address) > _LONGEST:
        raise errors.Invalid("Cette adresse de courriel est trop longue.", at="address")
    text = unicodedata.normalize("NFC", address.strip()).lower()
    local, _, host = text.rpartition("@")
    if not local or not host or any(unicodedata.category(char) in _UNSAFE for char in text):
        raise errors.Invalid("Cette adresse de courriel n'est pas de la forme nom@domaine.", at="address")
    if not local.startswith('"') and any(char in ' "(),:;<>@[\\]' for char in local):
        raise errors.Invalid("Cette adresse de courriel contient un caractère interdit.", at="address")
    host = _host(host.rstrip("."))
    # Limits of RFC 5321 4.5.3.1, with room for long sub-addresses.
    if len(local.encode()) > 128 or len(host) > 253:
        raise errors.Invalid("Cette adresse de courriel est trop longue.", at="address")
    return f"{local}@{host}"


def citizen(matricule: str) -> str:
    """The mailbox of a citizen in Mon espace santé, from a qualified INS (MSSanté client reference 2.2.6).

    Raises errors.Invalid when it is not 13 characters and their key: a typing error would reach somebody else.
    """
    text = _BLANKS.sub("", matricule).upper()
    number = text[:13].replace("2A", "19", 1).replace("2B", "18", 1) if len(text) == 15 else ""
    if not (number.isascii() and number.isdigit() and text[13:].isdigit() and 97 - int(number) % 97 == int(text[13:])):
        raise errors.Invalid("Ce matricule INS n'est pas valide : vérifiez les 15 caractères et la clé.", at="INS")
    return f"{text.lower()}@{CITIZENS}"


def is_citizen(address: str) -> bool:
    """Is this a citizen's mailbox in Mon espace santé?"""
    return address.strip().lower().endswith(f"@{CITIZENS}")


def domain(address: str) -> str:
    """The normalised domain of an address; raises errors.Invalid like `normalise`."""
    return normalise(address).rpartition("@")[2]


def safe(text: str, limit: int = 200) -> str:
    """One line without control, direction or private characters: fit for a header or a log.

    This is the guard against header injection: whatever a person typed as a name or a title, it stays one value.
    """
    line = "".join(char for char in _BLANKS.sub(" ", text) if unicodedata.category(char) not in _UNSAFE)
    # Normalising sorts runs of accents in quadratic time; four times the limit is more than it can shrink a text.
    line = line[: 4 * limit]
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", line))[:limit].strip()


def parse(header: str) -> tuple[Mailbox, ...]:
    """Read the value of From, To, Cc or Reply-To. Tolerant: what is not an address is left out, nothing raises.

    Names keep their RFC 2047 words encoded (`headers.words` reads them): decoding first would let a name such as
    "a@b, " change the list.
    """
    found: list[Mailbox] = []
    for phrase, angle, comment in _split(header):
        spec = angle if angle is not None else _BLANKS.sub("", phrase)
        try:
            address = normalise(spec.rpartition(":")[2] if spec.startswith("@") else spec)
        except errors.Invalid:
            continue
        name = phrase if angle is not None else ""
        found.append(Mailbox(address, _BLANKS.sub(" ", name or comment).strip()))
    return tuple(found)


def _return_tag(secret: bytes, delivery: str) -> str:
    digest = hmac.new(secret, f"return|{delivery}".encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:12]


_UNSAFE = frozenset({"Cc", "Cf", "Cn", "Cs", "Co", "Zl", "Zp"})


def _tag(recipient: str, mailbox: str) -> str | None:
    try:
        local, _, host = normalise(recipient).rpartition("@")
        own_local, _, own_host = normalise(mailbox).rpartition("@")
    except errors.Invalid:
        return None
    # Some relays quote the local part: "conv+tag"@domain is the same mailbox.
    name, _, tag = local.strip('"').partition("+")
    return tag if (name, host) == (own_local, own_host) else None


def _host(host: str) -> str:
    if host.isascii():
        if _ASCII_DOMAIN.match(host) or _LITERAL.match(host):
            return host
    else:
        try:
            return idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError:
            pass
    raise errors.Invalid("Le domaine de cette adresse de courriel n'existe pas.", at="address")


def _split(header: str) -> list[tuple[str, str | None, str]]:
    """The mailboxes of an address list as (phrase, content of <> or None, comment): RFC 5322 3.4, forgiving."""
    boxes: list[tuple[str, str | None, str]] = []
    phrase: list[str] = []  # pieces: adding to a text, one letter after the other, takes quadratic time
    angle: str | None = None
    comment, at, is_address = "", 0, False
    while at < len(header):
        char = header[at]
        if char in ",;":
            boxes.append(("".join(phrase), angle, comment))
            phrase, angle, comment, is_address = [], None, "", False
        elif char == '"':
            text, at = _quoted(header, at)
            # "x y"@host keeps its quotes (a local part), "Roux, Nadia" <...> loses them (a name).
            phrase.append(f'"{text}"' if header[at + 1 : at + 2] == "@" else text)
            is_address = is_address or "@" in text
        elif char == "(":
            text, at = _comment(header, at)
            comment = text
        elif char == "<":
            end = header.find(">", at)
            end = len(header) if end < 0 else end
            angle = _BLANKS.sub("", header[at + 1 : end])
            at = end
        elif char == ":" and angle is None and not is_address:
            phrase = []  # the name of a group
        else:
            phrase.append(char)
            is_address = is_address or char == "@"
        at += 1
    boxes.append(("".join(phrase), angle, comment))
    return [box for box in boxes if box[0].strip() or box[1]]


def _quoted(text: str, start: int) -> tuple[str, int]:
    """The inside of a quoted string and the index of its last character."""
    out: list[str] = []
    at = start + 1
    while at < len(text) and text[at] != '"':
        at += text[at] == "\\"
        out.append(text[at : at + 1])
        at += 1
    return "".join(out), at


def _comment(text: str, start: int) -> tuple[str, int]:
    """The inside of a comment, nested ones included, and the index of its last character."""
    depth, at = 1, start + 1
    while at < len(text) and depth:
        if text[at] == "\\":
            at += 1
        elif text[at] in "()":
            depth += 1 if text[at] == "(" else -1
        at += 1
    return text[start + 1 : at - 1], at - 1

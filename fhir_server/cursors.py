"""How does the place where a page ended travel in a link without telling what is there?

A cursor holds sort values, so names and dates of people, and links end up in logs. It is sealed: encrypted and
authenticated in one (the SIV construction, RFC 5297, with keyed BLAKE2b as both functions): the tag is a keyed hash of
the text, and the text is covered by a key stream made from that tag under a second key. The same place gives the same
link, nothing else shows; what was changed or made elsewhere does not open. The secret lies in the database beside the
data that it covers, so that all workers on it share it and links outlive a restart.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from hmac import compare_digest

from common import errors

SECRET_BYTES = 32
_TAG = 16
_BLOCK = 64


class Seal:
    """Seals and opens the cursors of one record; `secret` is SECRET_BYTES of chance."""

    def __init__(self, secret: bytes) -> None:
        self._tags = blake2b(key=secret, person=b"cursor tag").digest()
        self._streams = blake2b(key=secret, person=b"cursor stream").digest()

    def close(self, plain: str) -> str:
        """The cursor as it stands in a link: URL-safe, without padding."""
        text = plain.encode()
        tag = self._tag(text)
        return urlsafe_b64encode(tag + self._covered(text, tag)).decode().rstrip("=")

    def open(self, sealed: str) -> str:
        """The inverse of `close`. Raises errors.Unreadable for what this seal did not close."""
        try:
            raw = urlsafe_b64decode(sealed.encode("ascii") + b"=" * (-len(sealed) % 4))
        except (ValueError, UnicodeError, binascii.Error):
            raise not_ours() from None
        tag, covered = raw[:_TAG], raw[_TAG:]
        text = self._covered(covered, tag)
        if len(tag) < _TAG or not compare_digest(tag, self._tag(text)):
            raise not_ours()
        return text.decode()

    def _tag(self, text: bytes) -> bytes:
        return blake2b(text, key=self._tags, digest_size=_TAG).digest()

    def _covered(self, text: bytes, tag: bytes) -> bytes:
        """Text and key stream, exclusive or: once covers, twice uncovers."""
        blocks = range(-(-len(text) // _BLOCK))
        stream = b"".join(blake2b(tag + n.to_bytes(8, "big"), key=self._streams).digest() for n in blocks)
        mixed = int.from_bytes(text, "big") ^ int.from_bytes(stream[: len(text)], "big")
        return mixed.to_bytes(len(text), "big")


def not_ours() -> errors.Unreadable:
    """The refusal of a cursor that we did not give."""
    return errors.Unreadable("lien de page suivante illisible ; reprenez la recherche à la première page", at="_after")

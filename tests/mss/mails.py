"""Builders for the mail tests: a plain mail, a mail with parts, pictures of a given size."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

CLIENTS = Path(__file__).parent / "clients"
SHARED = Path(__file__).parents[2] / "../shared/data/mssante/mail"


def a_mail(body: bytes | str = "Bonjour", *, headers: str = "", sender: str = "Paul <paul@demo.mssante.fr>") -> bytes:
    """A mail with sane headers; `headers` are added lines. Newlines become CRLF."""
    text = body.encode() if isinstance(body, str) else body
    head = f"From: {sender}\nTo: conv@hub.example\nSubject: Essai\nMessage-ID: <m1@demo.mssante.fr>\n{headers.strip()}"
    return (head.strip().encode() + b"\n\n" + text).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def a_part(data: bytes, content_type: str, *, headers: str = "") -> bytes:
    """One MIME part in base64."""
    lines = base64.encodebytes(data)
    more = f"\n{headers.strip()}" if headers else ""
    return f"Content-Type: {content_type}\nContent-Transfer-Encoding: base64{more}\n\n".encode() + lines


def a_multipart(*parts: bytes, kind: str = "mixed", headers: str = "") -> bytes:
    """A mail of several parts, each with its own headers."""
    return a_mail(
        _joined(parts, "b1"), headers=f'MIME-Version: 1.0\nContent-Type: multipart/{kind}; boundary="b1"\n{headers}'
    )


def nested(*parts: bytes, kind: str, boundary: str) -> bytes:
    """A multipart inside another."""
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"\n\n'.encode() + _joined(parts, boundary)


def words(text: str) -> bytes:
    """A text/plain part in UTF-8."""
    return a_part(text.encode(), "text/plain; charset=utf-8")


def a_png(width: int, height: int) -> bytes:
    """A grey picture."""
    pixels = zlib.compress((b"\0" + b"\x80" * width) * height)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _joined(parts: tuple[bytes, ...], boundary: str) -> bytes:
    mark = f"--{boundary}".encode()
    return b"".join(mark + b"\n" + part.strip(b"\n") + b"\n" for part in parts) + mark + b"--\n"

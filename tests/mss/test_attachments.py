"""Which files enter the conversation, which are left out, which refuse the mail."""

from __future__ import annotations

import base64
import io
import struct
import zipfile

import pytest

from common import errors
from mss import attachments, letter
from tests.mss import mails


def with_file(name: str, data: bytes, content_type: str = "application/octet-stream") -> letter.Letter:
    part = mails.a_part(data, f'{content_type}; name="{name}"', headers="Content-Disposition: attachment")
    return letter.read(mails.a_multipart(mails.words("voir pièce"), part))


def with_images(html: str, *images: tuple[str, bytes]) -> letter.Letter:
    """A mail whose HTML embeds pictures, as Outlook sends it."""
    parts = [
        mails.a_part(data, "image/png", headers=f'Content-ID: <{id}>\nContent-Disposition: inline; filename="{id}.png"')
        for id, data in images
    ]
    body = mails.a_part(html.encode(), "text/html; charset=utf-8")
    return letter.read(mails.a_multipart(body, *parts, kind="related"))


def a_zip(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


def encrypted(archive: bytes) -> bytes:
    """Set the "encrypted" flag in both headers of the first entry."""
    local, central = archive.index(b"PK\x03\x04"), archive.index(b"PK\x01\x02")
    changed = bytearray(archive)
    changed[local + 6] |= 1
    changed[central + 8] |= 1
    return bytes(changed)


WINDOWS_PROGRAM = b"MZ" + b"\0" * 58 + struct.pack("<I", 64) + b"PE\0\0" + b"\0" * 20


def test_three_files_and_a_signature_logo_give_three_documents() -> None:
    pdfs = [mails.a_part(b"%PDF-" + bytes([n]), f'application/pdf; name="{n}.pdf"') for n in range(3)]
    body = mails.nested(
        mails.a_part(b"<p>Bonjour</p><p>Cordialement</p><img src='cid:logo'>", "text/html"),
        mails.a_part(mails.a_png(200, 80), 'image/png; name="logo.png"', headers="Content-ID: <logo>"),
        kind="related",
        boundary="b2",
    )
    mail = letter.read(mails.a_multipart(body, *pdfs))
    assert [one.filename for one in mail.attachments] == ["0.pdf", "1.pdf", "2.pdf"]
    assert mail.left_out == ("logo.png",)


def test_a_small_picture_pasted_between_two_sentences_is_content() -> None:
    html = "<p>Voici le tracé :</p><img src='cid:ecg'><p>Qu'en pensez-vous ?</p>"
    mail = with_images(html, ("ecg", mails.a_png(300, 90)))
    assert [one.filename for one in mail.attachments] == ["ecg.png"]


def test_a_small_picture_below_the_closing_formula_is_a_logo() -> None:
    html = "<p>Vu.</p><p>Cordialement,</p><img src='cid:logo'><p>Dr X, 12 rue des Essais</p>"
    assert with_images(html, ("logo", mails.a_png(300, 90))).attachments == ()


def test_a_large_picture_is_kept_wherever_it_stands() -> None:
    html = "<p>Vu.</p><p>Cordialement,</p><img src='cid:photo'>"
    assert len(with_images(html, ("photo", mails.a_png(1200, 900))).attachments) == 1


def test_a_tracking_dot_is_left_out_even_in_the_middle_of_the_text() -> None:
    assert with_images("<p>a</p><img src='cid:dot'><p>b</p>", ("dot", mails.a_png(1, 1))).attachments == ()


def test_a_small_picture_that_is_attached_and_not_embedded_is_kept() -> None:
    assert len(with_file("signe.png", mails.a_png(100, 100), "image/png").attachments) == 1


def test_a_picture_whose_size_cannot_be_read_is_kept() -> None:
    assert len(with_images("<p>a</p><img src='cid:x'>", ("x", b"\x89PNG broken")).attachments) == 1


def test_a_picture_written_inside_the_html_is_a_file_too() -> None:
    data = base64.b64encode(mails.a_png(800, 600)).decode()
    html = mails.a_part(f"<p>Photo</p><img src='data:image/png;base64,{data}'>".encode(), "text/html")
    (found,) = letter.read(mails.a_multipart(html)).attachments
    assert (found.filename, found.media_type) == ("image-1.png", "image/png")


def test_the_same_bytes_twice_are_one_document() -> None:
    pdf = b"%PDF-1.4 same"
    parts = [mails.a_part(pdf, f'application/pdf; name="{name}.pdf"') for name in ("a", "b")]
    mail = letter.read(mails.a_multipart(mails.words("x"), *parts))
    assert ([one.filename for one in mail.attachments], mail.left_out) == (["a.pdf"], ("b.pdf",))


def test_a_detached_signature_is_not_a_document() -> None:
    seal = mails.a_part(b"sig", 'application/pkcs7-signature; name="smime.p7s"')
    mail = letter.read(mails.a_multipart(mails.words("x"), seal, kind="signed"))
    assert (mail.attachments, mail.left_out) == ((), ("smime.p7s",))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\\\Users\\\\x\\\\ordo.pdf", "ordo.pdf"),
        ("a\u202efdp.txt", "afdp.txt"),
        (f"{'x' * 400}.pdf", f"{'x' * 180}.pdf"),
        (".htaccess", "htaccess"),
        ("", "piece-1.pdf"),
        ("...", "piece-1.pdf"),
    ],
)
def test_file_names_are_made_safe_and_keep_their_extension(given: str, expected: str) -> None:
    (found,) = with_file(given, b"%PDF-", "application/pdf").attachments
    assert found.filename == expected


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.pdf", b"x", "application/pdf"),
        ("a.jpg", b"x", "image/jpeg"),
        ("sans-extension", b"%PDF-1.4", "application/pdf"),
        ("inconnu.xyz", b"x", "application/octet-stream"),
        ("message.hl7", b"MSH|", "text/plain"),
    ],
)
def test_a_vague_type_is_made_precise(name: str, data: bytes, expected: str) -> None:
    assert with_file(name, data).attachments[0].media_type == expected


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("setup.exe", b"x", "programme"),
        ("ordonnance.pdf.js", b"x", "script"),
        ("a.BAT", b"x", "script"),
        ("macro.docm", b"x", "macros"),
        ("facture.pdf", WINDOWS_PROGRAM, "programme"),
        ("image.png", b"\x7fELF\x02\x01", "programme"),
        ("raccourci.txt", b"\x4c\x00\x00\x00\x01\x14\x02\x00", "raccourci"),
        ("ancien.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "_VBA_PROJECT".encode("utf-16-le"), "macros"),
        ("neuf.docx", a_zip(("word/vbaProject.bin", b"x")), "macros"),
        ("lot.zip", a_zip(("lisez-moi.txt", b"x"), ("run.scr", b"x")), "programme"),
        ("lot.zip", encrypted(a_zip(("cr.pdf", b"x"))), "mot de passe"),
    ],
)
def test_a_dangerous_file_refuses_the_mail_and_says_why(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(errors.UnsupportedMedia, match=reason) as refusal:
        with_file(name, data)
    assert refusal.value.smtp == "554 5.6.1"
    assert name in refusal.value.message


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cr.docx", a_zip(("word/document.xml", b"<x/>"))),
        ("IHE_XDM.zip", a_zip(("IHE_XDM/SUBSET01/DOC0001.XML", b"<x/>"))),
        ("ancien.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600),
        ("casse.zip", b"PK\x03\x04 pas un zip"),
        ("MZ.txt", b"MZ est le debut de ce texte, qui n'est pas un programme. " * 3),
    ],
)
def test_ordinary_files_and_archives_are_taken(name: str, data: bytes) -> None:
    assert with_file(name, data).attachments[0].data == data


def test_an_archive_that_would_fill_the_disk_is_refused_without_unpacking_it() -> None:
    bomb = a_zip(("zeros", b"\0" * 300_000_000))
    assert len(bomb) < 400_000
    with pytest.raises(errors.TooLarge, match="200 Mo"):
        with_file("bombe.zip", bomb)


def test_an_archive_of_thousands_of_files_is_refused() -> None:
    with pytest.raises(errors.TooLarge, match="500 fichiers"):
        with_file("mille.zip", a_zip(*[(str(n), b"") for n in range(600)]))


def test_every_extension_of_the_table_is_listed_once_in_lower_case() -> None:
    table = attachments.file_types()
    assert all(extension == extension.lower() for extension in table)
    assert all(row.note for row in table.values() if row.is_refused)
    assert len(table) > 80


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (mails.a_png(12, 34), (12, 34)),
        (b"GIF89a" + struct.pack("<HH", 5, 6), (5, 6)),
        (b"BM" + b"\0" * 16 + struct.pack("<ii", 7, -8), (7, 8)),
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08\x00\x0a\x00\x14" + b"\0" * 9, (20, 10)),
        (b"\xff\xd8\xff\xe0\x00\x00" * 50, None),
        (b"", None),
    ],
)
def test_the_size_of_a_picture_is_read_from_its_header(data: bytes, expected: tuple[int, int] | None) -> None:
    assert attachments.dimensions(data) == expected

"""What is sent loses where and when it was taken, and nothing of the picture."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from web import upload

Image = pytest.importorskip("PIL.Image")
ImageOps = pytest.importorskip("PIL.ImageOps")


def photo(kind: str, *, orientation: int = 1, progressive: bool = False) -> bytes:
    """A picture with a position, a camera and a date, as a phone makes it."""
    picture = Image.linear_gradient("L").resize((40, 24)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Telephone"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (44.0, 21.0, 0.0)
    out = io.BytesIO()
    options = {"progressive": True} if progressive else {}
    picture.save(out, kind, exif=exif, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("progressive", [False, True])
def test_position_and_camera_are_cut_out_and_the_picture_is_the_same(kind: str, progressive: bool) -> None:
    original = photo(kind, progressive=progressive)
    assert b"Telephone" in original
    content_type, cleaned = upload.cleaned(original)
    assert content_type == f"image/{kind.lower()}"
    assert b"Telephone" not in cleaned
    after = Image.open(io.BytesIO(cleaned))
    assert after.getexif().get_ifd(0x8825) == {}
    assert after.tobytes() == Image.open(io.BytesIO(original)).tobytes()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_photo_held_sideways_stays_upright(orientation: int) -> None:
    original = photo("JPEG", orientation=orientation)
    _, cleaned = upload.cleaned(original)
    upright = [ImageOps.exif_transpose(Image.open(io.BytesIO(one))).tobytes() for one in (original, cleaned)]
    assert upright[0] == upright[1]
    assert dict(Image.open(io.BytesIO(cleaned)).getexif()) == {0x0112: orientation}


def test_what_hides_behind_the_picture_is_cut_off() -> None:
    for kind in ("JPEG", "PNG"):
        _, cleaned = upload.cleaned(photo(kind) + b"<script>position=44.35</script>")
        assert b"position" not in cleaned


def test_a_pdf_is_kept_byte_for_byte() -> None:
    assert upload.cleaned(b"%PDF-1.7\n...") == ("application/pdf", b"%PDF-1.7\n...")


@pytest.mark.parametrize("content", [b"", b"<html>", b"GIF89a", b"PK\x03\x04", b"%PD", b"\xff\xd8"])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(errors.UnsupportedMedia):
        upload.cleaned(content)


@given(st.sampled_from(["JPEG", "PNG"]), st.data())
def test_a_damaged_picture_is_refused_or_cleaned_but_never_breaks(kind: str, data: st.DataObject) -> None:
    content = bytearray(photo(kind, orientation=6))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(3, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(3, len(content)))
    try:
        upload.cleaned(bytes(content[:cut]))
    except errors.UnsupportedMedia:
        pass

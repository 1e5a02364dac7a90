"""HTML bodies as text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mss import html_text


def text(html: str) -> str:
    return html_text.convert(html).text


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("", ""),
        ("bonjour", "bonjour"),
        ("<p>un</p><p>deux</p>", "un\n\ndeux"),
        ("<p class=MsoNormal>un</p><p class=MsoNormal>&nbsp;</p><p class=MsoNormal>deux</p>", "un\n\ndeux"),
        ("<p class=MsoNormal>un</p><p class=MsoNormal>deux</p>", "un\ndeux"),
        ("<div>un<br>deux</div>", "un\ndeux"),
        ("un\n   deux&nbsp;trois", "un deux trois"),
        ("<ul><li>a<li>b</ul>", "- a\n- b"),
        ("<table><tr><td>K</td><td>4,2</td></tr><tr><td>Na</td><td>140</td></tr></table>", "K\t4,2\nNa\t140"),
        ("<blockquote>q<blockquote>r</blockquote></blockquote>fin", "> q\n>\n> > r\n\nfin"),
        ("<pre>a  b\n  c</pre>", "a  b\n  c"),
        ("<a href='https://x.fr/a'>ici</a>", "ici <https://x.fr/a>"),
        ("<a href='https://x.fr'>https://x.fr</a>", "https://x.fr"),
        ("<a href='javascript:x()'>ici</a>", "ici"),
        ("a<script>x()</script><style>p{}</style><!-- c -->b", "ab"),
        ("a<span style='DISPLAY : none'>caché</span>b", "ab"),
        ("<title>t</title>a", "a"),
        ("2 &lt; 3 &amp; 5 &gt; 4 &eacute;", "2 < 3 & 5 > 4 é"),
        ("<html><body>a</body></html><p>pied ajouté</p>", "a\n\npied ajouté"),
        ("<html><body>a</body></html>\n<html><body>b</body></html>", "a b"),
        ("<hr>", "_" * 32),
        ("a<!-- <p title='-->'> -->b<!-- -->c<!-- d", "a'> -->bc"),
        ("<!--[if !mso]><!-->a<!--<![endif]-->b", "ab"),
        ("<p title='a>b' class=x>c</p>", "c"),
        ("<p title='a>b</p>c", "b\n\nc"),
        ("<a title=\"href='http://y.fr'\" HREF = 'https://x.fr/?a=1&amp;b=\"2\"'>c</a>", 'c <https://x.fr/?a=1&b="2">'),
        ("a<script>if (a<b && c>d) x('<p>')</script>b", "ab"),
        ("a<o:p/>b<br/>c", "ab\nc"),
        ("3 <5 et K<b alors", "3 <5 et K<b alors"),
        ("<div>-- <br>Dr X</div>", "-- \nDr X"),
    ],
)
def test_html_reads_as_a_person_would_read_it(html: str, expected: str) -> None:
    assert text(html) == expected


def test_embedded_pictures_leave_a_mark_where_they_stand() -> None:
    found = html_text.convert("avant<img src='cid:a@b'>après<img src='https://x/y.gif'>")
    assert found.images == ("a@b",)
    assert found.text == f"avant{html_text.IMAGE.format(0)}après"
    assert html_text.without_images(found.text) == "avantaprès"


def test_a_document_deeper_than_the_parser_can_go_keeps_its_words() -> None:
    assert text("<div>" * 5000 + "38,4 &amp; 12/8") == "38,4 & 12/8"


TAGS = "p div span b table tr td ul li br hr blockquote pre h1 center body html form o:p img section dl dt".split()
PIECES = st.sampled_from([f"<{tag}>" for tag in TAGS] + [f"</{tag}>" for tag in TAGS] + ["&amp;", "<!-- c -->", "< "])


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.integers(0, 999).map("mot{}x".format), max_size=40))
def test_no_visible_word_is_lost_in_broken_markup(pieces: list[str]) -> None:
    shown = text(" ".join(pieces))
    assert [one for one in pieces if one.startswith("mot") and one not in shown] == []


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_characters_can_be_converted(html: str) -> None:
    text(html).encode("utf-8", "surrogatepass")


def test_large_html_is_converted_in_reasonable_time() -> None:
    start = time.process_time()
    text("<p>bonjour <b>le</b> monde</p>" * 50_000 + "<a href='http://x'><div>" * 1000)
    assert time.process_time() - start < 10

"""The narrative is harmless XHTML or it is refused (R4 narrative.html, txt-1 and txt-2)."""

from __future__ import annotations

import pytest

from fhir_server.r4 import narrative
from fhir_server.r4.validate import Validator
from tests.fhir_server.r4.samples import a_patient

XMLNS = 'xmlns="http://www.w3.org/1999/xhtml"'


def div(content: str, attributes: str = "") -> str:
    return f"<div {XMLNS} {attributes}>{content}</div>"


@pytest.mark.parametrize(
    "text",
    [
        div("Bonjour"),
        div("<p>a</p><!-- a comment --><ul><li>b</li></ul>"),
        div('<table border="1"><tbody><tr><td colspan="2">a</td></tr></tbody></table>'),
        div('<a href="https://example.test/a?b=c#d">x</a><a name="top">y</a>'),
        div('<a href="#top">x</a><a href="Patient/1">y</a><a href="mailto:a@example.test">z</a>'),
        div('<img src="data:image/png;base64,QUJD" alt="a"/>'),
        div('<img src="#logo"/>'),
        div("&lt;script&gt; &amp; &#233; é"),
        div("a", 'xml:lang="fr" lang="fr" style="color: red; margin: 0"'),
        "  " + div("a") + "\n",
    ],
)
def test_plain_formatting_passes(text: str) -> None:
    assert narrative.problem(text) == ""
    assert narrative.is_safe(text)


@pytest.mark.parametrize(
    "text",
    [
        div("<script>alert(1)</script>"),
        div("<p onclick='alert(1)'>a</p>"),
        div("a", 'onmouseover="x()"'),
        div("<iframe src='https://example.test'/>a"),
        div("<form><input name='a'/></form>a"),
        div("<object data='a'/>a"),
        div("<style>p{}</style>a"),
        div("<svg xmlns='http://www.w3.org/2000/svg'><g/></svg>a"),
        div('<a href="javascript:alert(1)">x</a>'),
        div('<a href=" JaVaScript:alert(1)">x</a>'),
        div('<a href="java&#9;script:alert(1)">x</a>'),
        div('<a href="vbscript:x">x</a>'),
        div('<a href="data:text/html;base64,QUJD">x</a>'),
        div('<img src="javascript:alert(1)"/>a'),
        div('<img src="data:image/svg+xml;base64,QUJD"/>a'),
        div("a", 'style="background: url(https://example.test/a.png)"'),
        div("a", 'style="width: expression(alert(1))"'),
        div("a", r'style="background: u\72l(x)"'),
        div("<?php x ?>a"),
        div(""),
        div("  <br/> \n"),
        div("<!-- only a comment -->"),
        div("<img alt='without source'/>"),
        "<div>without namespace</div>",
        f"<p {XMLNS}>not a div</p>",
        div("<p>not closed"),
        div("two") + div("roots"),
        div("a") + "text after",
        div("a") + "<!-- after -->",
        div("caf&eacute;&nbsp;"),
        "plain text",
        '<?xml version="1.0"?>' + div("a"),
        f'<!DOCTYPE div [<!ENTITY e "x">]><div {XMLNS}>&e;</div>',
        div("<p>" * 300 + "a" + "</p>" * 300),
    ],
)
def test_what_could_act_or_says_nothing_is_refused(validator: Validator, text: str) -> None:
    assert narrative.problem(text) != ""
    [issue] = validator.check(a_patient(text={"status": "generated", "div": text}))
    assert (issue.expression, issue.code) == ("Patient.text.div", "invariant")
    assert issue.text.startswith("txt-1 : ")

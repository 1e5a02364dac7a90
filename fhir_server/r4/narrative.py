"""Is this narrative harmless XHTML?

https://hl7.org/fhir/R4/narrative.html: rules txt-1 (only these elements and attributes) and txt-2 (some content).
Beyond the letter of txt-1, nothing that a browser could run or fetch by itself through `href` or `style` passes.
"""

from __future__ import annotations

import re

from lxml import etree

NAMESPACE = "http://www.w3.org/1999/xhtml"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

# Both lists are those of txt-1 in the StructureDefinition of Narrative; xml:lang is allowed by XHTML itself.
_ELEMENTS = frozenset(
    "{" + NAMESPACE + "}" + name
    for name in (
        "a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i "
        "img li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var"
    ).split()
)
_ATTRIBUTES = frozenset(
    (
        "abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff "
        "charset cite class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc name "
        "nowrap rel rev rowspan rules scope shape span src start style summary tabindex title type valign value vspace "
        "width"
    ).split()
) | {_XML_LANG}

_LINK = re.compile(r"(?:https?|mailto|tel|urn|cid):|[^:]*$|[^:/?#]*[/?#]", re.IGNORECASE)
_IMAGE = re.compile(r"data:image/(?:png|gif|jpeg|webp);|https?:|cid:|[^:]*$|[^:/?#]*[/?#]", re.IGNORECASE)
_LIVELY_STYLE = re.compile(
    r"url\s*\(|expression\s*\(|@import|javascript:|behavior\s*:|-moz-binding|\\|/\*", re.IGNORECASE
)


_START = re.compile(r"\s*<div").match

# libxml2's own limits on depth (256) and size stay on.
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def parse(div: str) -> etree._Element:
    """The tree of a `div`.

    Raises ValueError (a French reason) when it is not well-formed XML without prologue, TypeError when it is no text.
    """
    if not _START(div):  # so no declaration, no DOCTYPE, no processing instruction either
        raise ValueError(f'le texte doit commencer par <div xmlns="{NAMESPACE}">')
    try:
        return etree.fromstring(div, _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        # Most often an HTML entity such as &nbsp;, which XML does not know.
        raise ValueError("ce n'est pas du XML bien formé (les entités HTML comme &nbsp; n'en sont pas)") from error


def is_safe(div: str) -> bool:
    """Whether the text is one well-formed `div` that keeps to txt-1 and txt-2."""
    return not problem(div)


def problem(div: str) -> str:
    """What is wrong with the narrative, in French; empty when nothing is."""
    try:
        root = parse(div)
    except ValueError as error:
        return str(error)
    return tree_problem(root)


def tree_problem(root: etree._Element) -> str:
    """As `problem`, for a parsed `div`."""
    if root.tag != f"{{{NAMESPACE}}}div" or root.getnext() is not None:
        return f'il faut un seul élément <div xmlns="{NAMESPACE}">'
    has_image = False
    for node in root.iter():
        if isinstance(node, etree._Comment):
            continue
        if node.tag not in _ELEMENTS:
            return f"l'élément <{_name(node)}> n'est pas permis"
        for name, value in node.attrib.items():
            if reason := _attribute_problem(str(name), str(value)):
                return reason
        has_image = has_image or (node.tag == f"{{{NAMESPACE}}}img" and "src" in node.attrib)
    if not has_image and not any(text.strip() for text in root.itertext(etree.Element)):
        return "le texte est vide"
    return ""


def _attribute_problem(name: str, value: str) -> str:
    if name not in _ATTRIBUTES:
        return f"l'attribut « {name} » n'est pas permis"
    if name == "style":
        return "un style ne peut rien charger ni exécuter" if _LIVELY_STYLE.search(value) else ""
    if name == "src":
        return "" if _IMAGE.match(value.strip()) else "l'adresse de l'image n'est pas permise"
    if name in ("href", "cite", "longdesc"):
        return "" if _LINK.match(value.strip()) else "le lien n'est pas permis"
    return ""


def _name(node: etree._Element) -> str:
    return etree.QName(node).localname if isinstance(node.tag, str) else "?"

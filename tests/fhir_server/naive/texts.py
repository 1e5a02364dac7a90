"""Does a token, string, reference or uri value match what a search asks? By the text of R4 search, section by kind.

https://hl7.org/fhir/R4/search.html#token, #string, #reference, #uri. Where R4 leaves a choice, it is the documented one
of this server: punctuation counts as a space, phone numbers are compared without it and without the French prefix.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from tests.fhir_server.naive.values import Value

# Code systems of the `code` elements that the made resources have.
IMPLIED = {
    ("Patient", "gender"): "http://hl7.org/fhir/administrative-gender",
    ("Practitioner", "gender"): "http://hl7.org/fhir/administrative-gender",
    ("Observation", "status"): "http://hl7.org/fhir/observation-status",
    ("Encounter", "status"): "http://hl7.org/fhir/encounter-status",
    ("MedicationRequest", "status"): "http://hl7.org/fhir/CodeSystem/medicationrequest-status",
    ("MedicationRequest", "intent"): "http://hl7.org/fhir/CodeSystem/medicationrequest-intent",
    ("MedicationRequest", "priority"): "http://hl7.org/fhir/request-priority",
    ("RiskAssessment", "status"): "http://hl7.org/fhir/observation-status",
    ("ValueSet", "status"): "http://hl7.org/fhir/publication-status",
    ("Patient", "use"): "http://hl7.org/fhir/address-use",
    ("Practitioner", "use"): "http://hl7.org/fhir/address-use",
    ("Organization", "use"): "http://hl7.org/fhir/address-use",
}


def split(text: str, sign: str) -> list[str]:
    """Cut at the signs that no backslash escapes; what is escaped stays so."""
    pieces, place = [""], 0
    while place < len(text):
        width = 2 if text[place] == "\\" else 1
        if text[place] == sign:
            pieces.append("")
        else:
            pieces[-1] += text[place : place + width]
        place += width
    return pieces


def plain(text: str) -> str:
    """Without the backslashes that escape."""
    return re.sub(r"\\([\\,|$])", r"\1", text)


# ---- token -----------------------------------------------------------------------------------------------------------


def tokens(type: str, value: Value) -> Iterator[tuple[str | None, str | None]]:
    """The pairs of system and code by which a value is found."""
    json = value.json
    match value.type:
        case "Coding":
            yield json.get("system"), json.get("code")
        case "CodeableConcept":
            for coding in json.get("coding", []):
                yield coding.get("system"), coding.get("code")
        case "Identifier":
            yield json.get("system"), json.get("value")
        case "ContactPoint":
            number = json.get("value")
            yield json.get("system"), number and _contact(number)
            if "use" in json:
                yield json["use"], number and _contact(number)
        case "boolean":
            yield None, "true" if json else "false"
        case "code":
            yield IMPLIED.get((type, value.element)), json
        case "string" | "uri" | "id":
            yield None, json


def token(type: str, value: Value, wanted: str) -> bool:
    """`code`, `system|code`, `|code`, `system|`."""
    system, *rest = split(wanted, "|")
    if not rest:
        code = _asked(value, plain(wanted))
        return any(code == one for _, one in tokens(type, value))
    system, code = plain(system), _asked(value, plain("|".join(rest)))
    if not code:
        return any(one == system for one, _ in tokens(type, value))
    return any(code == own and (one or "") == system for one, own in tokens(type, value))


def _asked(value: Value, code: str) -> str:
    return _contact(code) if value.type == "ContactPoint" else code


def of_type(value: Value, wanted: str) -> bool:
    """`system|code|value`: type and value of one identifier."""
    system, code, number = (plain(one) for one in split(wanted, "|"))
    kinds = value.json.get("type", {}).get("coding", [])
    same = any((one.get("system", ""), one.get("code")) == (system, code) for one in kinds)
    return same and bool(value.json.get("value") == number)


def said(value: Value) -> list[str]:
    """What people read beside a token or a reference: texts and displays (`:text`)."""
    json = value.json
    match value.type:
        case "Coding" | "Reference":
            found = [json.get("display")]
        case "CodeableConcept":
            found = [json.get("text"), *(one.get("display") for one in json.get("coding", []))]
        case "Identifier":
            found = [json.get("type", {}).get("text")]
        case _:
            found = []
    return [one for one in found if one]


def text(value: Value, wanted: str) -> bool:
    """`:text`: these words side by side, the last one may be only the beginning of one."""
    asked = _words(plain(wanted))
    for one in map(_words, said(value)):
        for place in range(len(one) - len(asked) + 1):
            here = one[place : place + len(asked)]
            if here[:-1] == asked[:-1] and here[-1].startswith(asked[-1]):
                return True
    return False


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", normal(text))


def _contact(text: str) -> str:
    if "@" in text:
        return text.lower()
    digits = re.sub(r"[\s().\-/]", "", text)
    return re.sub(r"^(\+33|0033)", "0", digits) if re.fullmatch(r"\+?\d+", digits) else text


# ---- string ----------------------------------------------------------------------------------------------------------

_OF_NAMES = ("text", "family", "given", "prefix", "suffix")
_OF_ADDRESSES = ("text", "line", "city", "district", "state", "postalCode", "country")


def strings(value: Value) -> list[str]:
    """The texts of a value, each part of a name or an address for itself."""
    if not isinstance(value.json, dict):
        return [value.json]
    found = []
    for name in _OF_NAMES if value.type == "HumanName" else _OF_ADDRESSES:
        part = value.json.get(name, [])
        found += [one for one in part if one is not None] if isinstance(part, list) else [part]
    return found


def normal(text: str) -> str:
    """Without accents and case, punctuation and runs of spaces as one space."""
    for letter, letters in (("œ", "oe"), ("Œ", "oe"), ("æ", "ae"), ("Æ", "ae")):
        text = text.replace(letter, letters)
    apart = unicodedata.normalize("NFKD", text.casefold())
    base = (one for one in apart if not unicodedata.category(one).startswith("M"))
    return " ".join("".join(" " if unicodedata.category(one).startswith("P") else one for one in base).split())


def string(value: Value, modifier: str, wanted: str) -> bool:
    """Starts with; `:contains`; `:exact`."""
    wanted = plain(wanted)
    if modifier == "exact":
        return wanted in strings(value)
    folded = [normal(one) for one in strings(value)]
    if modifier == "contains":
        return any(normal(wanted) in one for one in folded)
    return any(one.startswith(normal(wanted)) for one in folded)


# ---- reference -------------------------------------------------------------------------------------------------------


def target(value: Value, base: str) -> str | None:
    """What a value refers to: `Type/id` when it is here, without version; None for what is contained or unnamed."""
    text = value.json.get("reference") if isinstance(value.json, dict) else value.json
    return None if text is None or text.startswith("#") else local(text, base)


def local(text: str, base: str) -> str:
    """Relative where it is on this server, without version."""
    return text.partition("/_history/")[0].removeprefix(f"{base}/")


def reference(value: Value, modifier: str, wanted: str, *, base: str, targets: tuple[str, ...]) -> bool:
    """`Type/id`, `id`, an address; `:Type`; a canonical with any or with that version."""
    found, wanted = target(value, base), local(plain(wanted), base)
    if found is None:
        return False
    if modifier == "identifier":
        raise AssertionError("asked as a token")
    if re.fullmatch(r"[A-Za-z0-9.-]{1,64}", wanted):
        type, _, id = found.partition("/")
        return id == wanted and (type == modifier if modifier else not targets or type in targets)
    if modifier and f"/{found}".rpartition("/")[0].rpartition("/")[2] != modifier:
        return False
    if value.type in ("canonical", "uri"):
        return wanted in (found, found.rpartition("|")[0])
    return found == wanted


# ---- uri -------------------------------------------------------------------------------------------------------------


def uri(value: Value, modifier: str, wanted: str) -> bool:
    """The same; `:below` the same or beneath, by whole segments; `:above` the reverse. A urn has nothing beneath."""
    wanted, found = plain(wanted), str(value.json)
    if modifier == "below":
        return _beneath(found, wanted)
    forms = {found, found.rpartition("|")[0] or found} if value.type == "canonical" else {found}  # of any version
    if modifier == "above":
        return any(_beneath(wanted, one) for one in forms)
    return wanted in forms


def _beneath(long: str, short: str) -> bool:
    if long == short:
        return True
    if short.startswith("urn:"):
        return False
    address, _, version = long.partition("|")
    if "|" in short:
        return f"{address}|{version}".startswith(short + ".")
    return address == short or f"{address}/".startswith(short.rstrip("/") + "/")

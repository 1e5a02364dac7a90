"""Is this domain part of the MSSanté trust space?

The national white list: XML in the namespace below, one `Domaine` for each domain and operator certificate, so that a
name may come several times. It carries no signature: its server's certificate vouches for it, and these rules keep a
wrong copy from doing harm. An older or a much smaller list than the one held is not taken without a person's word. A
copy is good for a week; later it still lets in whom it names, but keeps nobody out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lxml import etree

from common import errors
from mss import address

NAMESPACE = "https://listeblanche.mssante.fr/schema"
MOST_BYTES = 64 * 2**20
# A regional migration moves a thousand entries of 8,655 in a day; half of the list in one go is an accident.
SMALLEST_SHARE = 0.5
_FORMS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y")


@dataclass(frozen=True, slots=True)
class AllowList:
    """The list as generated at `made` (UTC; None when it does not say). `operators`: certificate names by domain."""

    made: datetime | None
    operators: dict[str, tuple[str, ...]]

    def __contains__(self, mail_address: object) -> bool:
        """Whether the domain of a mail address is in the trust space. What is no address is not."""
        try:
            return address.domain(str(mail_address)) in self.operators
        except errors.Invalid:
            return False

    @property
    def entries(self) -> int:
        """Pairs of domain and certificate, as the list counts them."""
        return sum(map(len, self.operators.values()))


@dataclass(frozen=True, slots=True)
class Difference:
    """What a newer list brings: domains, sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]


def read(raw: bytes) -> AllowList:
    """Raises errors.Unreadable when it is no white list, and errors.Invalid when it names no domain."""
    if len(raw) > MOST_BYTES:
        raise errors.TooLarge("liste blanche démesurée", at="liste blanche")
    try:
        root = etree.fromstring(raw.lstrip(), _parser())
    except etree.XMLSyntaxError as problem:
        raise errors.Unreadable("la liste blanche n'est pas du XML lisible", at="liste blanche") from problem
    if root.getroottree().docinfo.internalDTD is not None:
        raise errors.Unreadable("une liste blanche n'a pas de DOCTYPE", at="liste blanche")
    found: dict[str, list[str]] = {}
    for entry in root.iter(f"{{{NAMESPACE}}}Domaine"):
        name, operator = _text(entry, "Nom"), " ".join(_text(entry, "DNCertificatOperateur").split())
        try:
            held = found.setdefault(address.domain(f"x@{name}"), [])
        except errors.Invalid:
            continue  # one misspelt line must not cost the others
        if operator not in held:
            held.append(operator)
    if not found:
        raise errors.Invalid("la liste blanche ne nomme aucun domaine", at="Domaine")
    made = next(root.iter(f"{{{NAMESPACE}}}DateDeGeneration"), None)
    operators = {name: tuple(names) for name, names in found.items()}
    return AllowList(_moment("" if made is None else made.text or ""), operators)


def check(new: AllowList, held: AllowList | None, *, confirmed: bool = False) -> Difference:
    """What changes when `new` takes the place of `held`.

    Raises errors.Conflict when it is older or has lost more than half of the entries, unless a person confirmed it.
    """
    before = held.operators if held else {}
    if held and not confirmed:
        if new.made and held.made and new.made < held.made:
            raise errors.Conflict(
                "cette liste blanche est plus ancienne que celle qui est gardée", at="DateDeGeneration"
            )
        if new.entries < held.entries * SMALLEST_SHARE:
            text = f"{new.entries} entrées au lieu de {held.entries} : à confirmer par une personne"
            raise errors.Conflict(text, at="Domaine")
    return Difference(
        tuple(sorted(new.operators.keys() - before.keys())), tuple(sorted(before.keys() - new.operators.keys()))
    )


def is_stale(fetched: datetime, now: datetime, most_days: float) -> bool:
    """Is a copy of that time too old to keep somebody out?"""
    return now - fetched > timedelta(days=most_days)


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def _text(entry: etree._Element, name: str) -> str:
    return (entry.findtext(f"{{{NAMESPACE}}}{name}") or "").strip()


def _moment(text: str) -> datetime | None:
    """A date in ISO or French form; without a zone it is taken for UTC, which is enough to compare lists."""
    bare = re.sub(r"\.\d+", "", text.strip())
    try:
        moment = datetime.fromisoformat(bare)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        pass
    for form in _FORMS:
        try:
            return datetime.strptime(bare, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None

"""How is it said in plain French? Times, dates, sizes, identities, and message text as safe markup.

Pure. UX-01: "aujourd'hui 14:05", no codes. Times are shown in one zone, the region's.
"""

from __future__ import annotations

import re
from datetime import date, datetime, tzinfo
from typing import Any

from markupsafe import Markup, escape

Resource = dict[str, Any]

_DAYS = ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche")
_MONTHS = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()
# A link ends before white space, brackets and quotes, and before punctuation that belongs to the sentence.
_LINK = re.compile(r"https?://[^\s<>\"'«»]+[^\s<>\"'«».,;:!?)\]]", re.IGNORECASE)


def day(moment: datetime, now: datetime, zone: tzinfo) -> str:
    """The day in words: "aujourd'hui", "hier", "lundi", "12 mars", "12 mars 2024"."""
    there, today = moment.astimezone(zone).date(), now.astimezone(zone).date()
    ago = (today - there).days
    if ago in (0, 1):
        return ("aujourd'hui", "hier")[ago]
    if 1 < ago < 7:
        return _DAYS[there.weekday()]
    return _calendar(there) if there.year != today.year else _calendar(there).rsplit(" ", 1)[0]


def moment(instant: str, now: datetime, zone: tzinfo) -> str:
    """A FHIR instant as "aujourd'hui 14:05"; empty when there is none."""
    when = parsed(instant)
    return f"{day(when, now, zone)} {when.astimezone(zone):%H:%M}" if when else ""


def parsed(instant: str) -> datetime | None:
    """A FHIR instant or dateTime with a time, aware; None for anything else."""
    try:
        when = datetime.fromisoformat(instant)
    except ValueError:
        return None
    return when if when.tzinfo else None


def birth(patient: Resource, now: datetime) -> str:
    """Birth date and age: "née le 12/03/1948 (78 ans)", or what is known of them."""
    years = age(patient, now)
    return f"{born(patient)} ({years})" if years else born(patient)


def born(patient: Resource) -> str:
    """The birth date: "née le 12/03/1948", "né en 1948", or nothing. Partial dates stay partial."""
    value, female = str(patient.get("birthDate", "")), patient.get("gender") == "female"
    born = "née" if female else "né" if patient.get("gender") == "male" else "né(e)"
    if len(value) == 4:
        return f"{born} en {value}"
    if len(value) == 7:
        return f"{born} en {_MONTHS[int(value[5:]) - 1]} {value[:4]}"
    return f"{born} le {date.fromisoformat(value):%d/%m/%Y}" if value else ""


def age(patient: Resource, now: datetime) -> str:
    """The age, in months under two years; nothing without an exact birth date, or after death."""
    value = str(patient.get("birthDate", ""))
    if len(value) != 10 or patient.get("deceasedDateTime") or patient.get("deceasedBoolean"):
        return ""
    return _age(date.fromisoformat(value), now.date())


def patient_name(patient: Resource) -> str:
    """Family name in capitals, then the first given name used; "DELMAS Jeanne (nom de naissance DURAND)".

    The name in use comes first, the birth name is added when it differs: patients must not be taken for one another.
    """
    names = patient.get("name", [])
    by_use = {one.get("use"): one for one in reversed(names)}
    shown = by_use.get("usual") or by_use.get("official") or (names[0] if names else {})
    official = by_use.get("official", shown)
    family, birth_family = str(shown.get("family", "")).upper(), str(official.get("family", "")).upper()
    given = " ".join([*shown.get("given", ()), *official.get("given", ())][:1])
    name = " ".join(part for part in (family, given) if part) or str(shown.get("text", "")) or "Patient sans nom"
    return f"{name} (nom de naissance {birth_family})" if birth_family not in ("", family) else name


def human_name(names: list[Resource]) -> str:
    """A professional's name as one says it: "Dr Paul Lefebvre", as written by its author or put together.

    The national directory writes the civility (M, MME) as prefix and the title (DR, PR) as suffix.
    """
    name = next((one for one in names if one.get("use") in ("official", "usual")), names[0] if names else {})
    if "text" in name:
        return str(name["text"])
    titles = [str(one).rstrip(".").capitalize() for one in (*name.get("suffix", ()), *name.get("prefix", ()))]
    titles = [one for one in titles if one in ("Dr", "Pr")]
    return " ".join([*titles[:1], *name.get("given", ())[:1], *([name["family"]] if "family" in name else [])])


def size(count: int) -> str:
    """A number of bytes: "850 o", "240 Ko", "1,2 Mo"."""
    if count < 1000:
        return f"{count} o"
    if count < 1_000_000:
        return f"{round(count / 1000)} Ko"
    return f"{count / 1_000_000:.1f}".replace(".", ",") + " Mo"


def text_markup(text: str) -> Markup:
    """Message text as safe markup: everything escaped, web addresses made into links that tell nothing to their target.

    Line breaks are kept by the style sheet.
    """
    pieces: list[str | Markup] = []
    end = 0
    for found in _LINK.finditer(text):
        pieces += [escape(text[end : found.start()]), _link(found[0])]
        end = found.end()
    return Markup("").join([*pieces, escape(text[end:])])


def one_line(text: str, length: int = 120) -> str:
    """The start of a text on one line, for lists."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1].rstrip() + "…"


def initials(name: str) -> str:
    """At most two letters that stand for a name."""
    words = [word for word in name.replace("-", " ").split() if word[0].isalpha() and word not in ("Dr", "Pr")]
    return "".join(word[0].upper() for word in (words[:1] + words[-1:] if len(words) > 1 else words))


def _link(address: str) -> Markup:
    shown = Markup('<a href="{0}" target="_blank" rel="noopener noreferrer nofollow">{0}</a>')
    return shown.format(address)


def _calendar(there: date) -> str:
    return f"{'1er' if there.day == 1 else there.day} {_MONTHS[there.month - 1]} {there.year}"


def _age(birth_date: date, today: date) -> str:
    years = today.year - birth_date.year - ((today.month, today.day) < (birth_date.month, birth_date.day))
    if years >= 2:
        return f"{years} ans"
    months = (today.year - birth_date.year) * 12 + today.month - birth_date.month - (today.day < birth_date.day)
    return f"{max(months, 0)} mois"

"""Which terms of use are in force, and has this person accepted them? (ACC-08)

The text is a file: the operator's own, or ours. Its first line names the version; when that changes everybody is asked
again. Until then nothing is served to them but the text itself.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from importlib import resources

from common import errors
from hub import settings
from identity import acceptances, tokens

PAGE = "/cgu"
_MOST_REMEMBERED = 50_000
_NARROW = re.compile(r" (?=[:;?!»])|(?<=«) ")
_FIRST_LINE = re.compile(r"Version (\S{1,40})")


@dataclass(frozen=True, slots=True)
class Text:
    """The text as paragraphs; those that begin with `# ` are headings."""

    version: str
    paragraphs: tuple[str, ...]


class Terms:
    """The terms in force. `origin` is our public address, without a path."""

    def __init__(self, text: Text, kept: acceptances.Acceptances, *, origin: str) -> None:
        self.text = text
        self._kept = kept
        self._page = f"{origin}{PAGE}"
        self._known: set[str] = set()  # what was accepted stays accepted

    async def check(self, identity: tokens.Identity) -> None:
        """Raises TermsPending for a person who has not accepted them; software and the operator accept none here."""
        person = identity.person
        if identity.kind != "person" or person in self._known:
            return
        if not await asyncio.to_thread(self._kept.has, person, self.text.version):
            raise errors.TermsPending(
                f"acceptez d'abord les conditions générales d'utilisation (version {self.text.version}) : {self._page}"
            )
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known.add(person)

    async def accept(self, identity: tokens.Identity) -> None:
        """This person accepts them now."""
        if identity.person:
            await asyncio.to_thread(self._kept.accept, identity.person, self.text.version)

    async def accepted(self, identity: tokens.Identity) -> list[acceptances.Acceptance]:
        """What this person accepted, the latest first."""
        return await asyncio.to_thread(self._kept.of, identity.person)


def text(config: settings.Settings) -> Text:
    """The operator's text, or ours. Raises Unreadable when its first line names no version."""
    if config.terms_file:
        whole = config.terms_file.read_text("utf-8")
    else:
        whole = resources.files("hub").joinpath("terms.txt").read_text("utf-8")
    first, _, rest = whole.strip().partition("\n")
    version = _FIRST_LINE.fullmatch(first.strip())
    if version is None:
        raise errors.Unreadable("terms_file : la première ligne est « Version », puis un mot", at="terms_file")
    parts = (_NARROW.sub("\N{NO-BREAK SPACE}", " ".join(one.split())) for one in rest.split("\n\n"))
    return Text(version[1], tuple(one for one in parts if one))

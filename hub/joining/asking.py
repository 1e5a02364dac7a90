"""What does a visitor do to get an account? Asks, confirms the address, follows. (ACC-01, ACC-04, ACC-05)

The public side: nobody is signed in, so that every word is checked, little is told, and what is told never depends on
whom an address belongs to: that is answered by mail, to who reads it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial

from common import clock, errors
from fhir_server import access, changes
from fhir_server.rows import Taken
from hub import people
from hub.joining import addresses, checks, directory, inactivity, links, notices, numbers, request
from hub.room import Resource, Room
from identity.accounts import Accounts

_NO_LINK = "ce lien ne mène à aucune demande : vérifiez qu'il est entier"


@dataclass(frozen=True, slots=True)
class Followed:
    """What the person who asked sees: codes of `request` and `checks`, the words of a refusal, instants.

    `mail` is how the address begins; `is_late` when the link to confirm it is over.
    """

    stage: str
    checks: tuple[checks.Check, ...]
    asked: str
    due: str
    because: str
    mail: str
    is_late: bool


class Requests:
    """Requests as their authors see them. `terms` is the version of the terms of use in force."""

    def __init__(self, room: Room, accounts: Accounts, *, terms: str) -> None:
        self._room = room
        self._accounts = accounts
        self.terms = terms
        self.contact = room.settings.accounts_contact
        self.unused = partial(inactivity.recap, room, accounts)  # the list for administrators, CSV

    async def look_up(self, number: str) -> directory.Facts | None:
        """What the directory says in public of a number. Raises Invalid for what has the form of none."""
        if numbers.read(number) is None:
            raise _at("number", "Ce numéro n'a la forme ni d'un RPPS (11 chiffres), ni d'un ADELI ou d'un FINESS (9).")
        return await directory.facts(number, self._room)

    async def ask(self, typed: request.Typed, once: str) -> str:
        """The secret of the page that follows the new request; the same for the same form (`once`).

        Raises Invalid with an issue at each field that is to be corrected.
        """
        typed, entry = await self._checked(typed)
        known = await directory.known(entry, self._room) if entry else None
        practitioner = entry.ref if entry else ""
        found = checks.of_directory(known, self._room.now())
        if not entry and typed.structure_number:
            found = checks.merged(found, [checks.Check("structure", checks.TODO, checks.DIRECTORY, found[0].at)])
        task = request.made(typed, practitioner, found, self._room.now())
        id = self._room.store.new_id("Task", task)
        form = f"account-form|{request.digest(once)}"
        try:
            await self._keep(changes.Create("Task", id, task, frozenset({notices.AGENTS})), practitioner, form)
        except Taken:
            held = await self._room.store.owner(form)
            id = held.partition("/")[2] if held else id
        return links.following(id, self._room)

    async def follow(self, secret: str) -> Followed:
        """How the request of this link stands. Raises NotFound."""
        task = await self._of(secret)
        period, mail = task.get("restriction", {}).get("period", {}), request.typed(task, "mail")
        return Followed(
            request.stage(task),
            checks.of_task(task),
            task["authoredOn"],
            period.get("end", ""),
            task.get("statusReason", {}).get("text", ""),
            _masked(mail),
            request.stage(task) == request.MAIL and links.is_over(task, self._room),
        )

    async def again(self, secret: str) -> None:
        """Send the mail that asks to confirm once more. Raises NotFound; nothing happens at another stage."""
        task = await self._of(secret)
        if request.stage(task) == request.MAIL:
            version = int(task["meta"]["versionId"])
            practitioner = task["for"].get("reference", "").removeprefix(f"#{request.PERSON}")
            await self._keep(changes.Update("Task", task["id"], task, version), practitioner, "")

    async def awaits(self, secret: str) -> bool:
        """Does this link of a mail still wait to be opened? Raises NotFound when it never did, or is over."""
        task = await self._confirmed_by(secret)
        return request.stage(task) == request.MAIL

    async def confirm(self, secret: str) -> str:
        """The address is theirs; an agent may look now. The secret of the page that follows. Raises NotFound."""
        task = await self._confirmed_by(secret)
        if request.stage(task) == request.MAIL:
            now = self._room.now()
            newer = [checks.Check("mail", checks.PASSED, checks.LINK, clock.instant(now))]
            if await self._is_mailbox_of(task):
                newer.append(checks.Check("identity", checks.PASSED, checks.MAILBOX, clock.instant(now)))
            after = request.moved(request.checked(task, newer), request.REVIEW, now)
            change = changes.Update("Task", task["id"], after, int(task["meta"]["versionId"]))
            await self._room.store.commit([change], caller=access.SYSTEM, cause="account")
        return links.following(task["id"], self._room)

    async def _checked(self, typed: request.Typed) -> tuple[request.Typed, directory.Entry | None]:
        """What was typed as it is kept, and whom the directory knows by the number. Raises Invalid."""
        issues: list[errors.Issue] = []
        try:
            own = self._room.settings.mail_domain
            typed = replace(typed, mail=addresses.personal(typed.mail, own_domain=own))
        except errors.Invalid as problem:
            issues += problem.issues
        number = numbers.read(typed.number) if typed.number else None
        entry = await directory.person(number.person, self._room) if number else None
        if number and await directory.structure(number.structure, self._room) and entry is None:
            place = await directory.structure(number.structure, self._room)
            typed = replace(
                typed, number="", structure_number=number.text, structure=str((place or {}).get("name", ""))
            )
        elif number:
            typed = replace(typed, number=number.text)
        if entry is None:
            try:
                request.complete(typed)
            except errors.Invalid as problem:
                issues += problem.issues
        else:
            typed = request.Typed(number=typed.number, mail=typed.mail, terms=typed.terms)
        if typed.terms != self.terms:
            issues.append(errors.Issue("Acceptez les conditions d'utilisation pour continuer.", "terms", "required"))
        if issues:
            raise errors.Invalid(issues[0].text, at=issues[0].expression, issues=tuple(issues))
        return typed, entry

    async def _keep(self, change: changes.Create | changes.Update, practitioner: str, form: str) -> None:
        """Write the request with the mail to its address, which differs for one that has an account already."""
        room, task = self._room, change.body
        mail = request.typed(task, "mail")
        holder = await asyncio.to_thread(self._accounts.holder, mail)
        task = request.checked(task, [checks.Check("mail", checks.TODO, "", clock.instant(room.now()))])
        secrets = [links.following(change.id, room)]
        if holder in ("", practitioner):
            secrets.append(links.confirming({**task, "id": change.id}, room))
        kind = notices.KNOWN if len(secrets) == 1 else notices.CONFIRM
        wanted: list[changes.Change] = [replace(change, body=request.linked(task, *secrets))]
        if form:
            wanted.append(changes.Claim(form, "Task", change.id))
        if await notices.may_ask(mail, room):
            wanted += notices.sent(kind, f"Task/{change.id}", mail, room)
        await room.store.commit(wanted, caller=access.SYSTEM, cause="account")

    async def _of(self, secret: str) -> Resource:
        """The request whose page this is: the first of its links."""
        task = await links.found(secret, self._room)
        if task is None or task["identifier"][0]["value"] != request.digest(secret):
            raise errors.NotFound(_NO_LINK)
        return task

    async def _confirmed_by(self, secret: str) -> Resource:
        task = await links.found(secret, self._room)
        if task is None or task["identifier"][0]["value"] == request.digest(secret):
            raise errors.NotFound("ce lien n'est plus bon : demandez-en un autre depuis la page de votre demande")
        if request.stage(task) == request.MAIL and links.is_over(task, self._room):
            raise errors.NotFound("ce lien n'était bon que 48 heures : demandez-en un autre depuis votre page de suivi")
        return task

    async def _is_mailbox_of(self, task: Resource) -> bool:
        """Is the address the MSSanté mailbox that the directory gives this person alone?"""
        role = await people.by_mailbox(request.typed(task, "mail"), self._room)
        return bool(role) and (role or {}).get("practitioner", {}).get("reference") == task["for"].get("reference")


def _masked(mail: str) -> str:
    """`m…@orange.fr`: enough for its owner to know it again."""
    local, _, domain = mail.rpartition("@")
    return f"{local[:1]}…\N{WORD JOINER}@{domain}"


def _at(name: str, text: str) -> errors.Invalid:
    return errors.Invalid(text, at=name, issues=(errors.Issue(text, name, "value"),))

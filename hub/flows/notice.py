"""A mail about an account leaves: Task, words, a plain mail server.

The words are made now, and with them the secret of an invitation: neither is kept. A private address is reached by an
ordinary server (`notice_smtp_host`), an MSSanté mailbox by its operator, who takes no other. No mail says more than
that somebody asked for an account here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from common import errors
from hub import settings
from hub.joining import links, notices, request
from hub.room import Resource, Room
from identity.accounts import Accounts
from mss import address, notice, send

_MSSANTE = ".mssante.fr"  # the domains of MSSanté operators; they take mail from each other alone


_OF_ACCOUNTS = {
    notices.IDLE: (
        "Votre compte va être fermé",
        "Vous ne vous êtes pas connecté à Spico depuis plusieurs mois. Sans connexion de votre part, votre compte sera "
        "fermé bientôt. Pour le garder, connectez-vous :",
    ),
    notices.CLOSED: (
        "Votre compte est fermé",
        "Votre compte Spico est fermé, parce qu'il n'a pas servi depuis longtemps. Ce que vous avez écrit est gardé. "
        "Pour revenir, demandez un compte depuis la page de connexion :",
    ),
}


@dataclass(frozen=True, slots=True)
class Post:
    """How these mails leave: our public `origin`, the accounts that people are invited to, the two servers."""

    origin: str
    accounts: Accounts
    plain: send.Smtp
    operator: send.Smtp


def plain(config: settings.Settings) -> send.Smtp:
    """The ordinary mail server, as set."""
    return send.Smtp(
        host=config.notice_smtp_host,
        port=config.notice_smtp_port,
        starttls=config.notice_starttls,
        username_file=config.notice_username_file,
        password_file=config.notice_password_file,
        local_hostname=address.domain(config.notice_from),
    )


async def deliver(task: Resource, room: Room, post: Post) -> send.Outcome:
    """Send the mail of one `account-notice` Task. What cannot be sent is an Outcome too."""
    about = await room.read(task["focus"]["reference"])
    to = await _address(about, post)
    try:
        subject, lines = await _words(notices.kind(task), about, room, post)
    except errors.Conflict as problem:  # the address became another's since it was asked for
        return send.Outcome(False, True, 0, problem.message)
    is_mss = address.domain(to).endswith(_MSSANTE)
    sender = room.settings.mail_mailbox if is_mss else room.settings.notice_from
    foot = f"Assistance : {room.settings.accounts_contact}" if room.settings.accounts_contact else ""
    text = "\n\n".join(["Bonjour,", *lines, *filter(None, [foot]), "Ce courriel est automatique : n'y répondez pas."])
    mail = notice.Notice(
        delivery=task["id"],
        author=sender,
        recipient=to,
        subject=subject,
        text=text,
        date=datetime.fromisoformat(task["authoredOn"]),
    )
    door = post.operator if is_mss else post.plain
    return await send.send(door, notice.mail(mail), sender=sender, recipient=to, envid=task["id"])


async def _address(about: Resource, post: Post) -> str:
    """What was typed in a request; the address of an account. Raises NotFound when it has gone."""
    if request.is_request(about):
        return request.typed(about, "mail")
    account = await asyncio.to_thread(post.accounts.of, f"Practitioner/{about['id']}")
    if account is None:
        raise errors.NotFound("ce compte n'existe plus")
    return account.mail


async def _words(kind: str, about: Resource, room: Room, post: Post) -> tuple[str, list[str]]:
    """Subject and paragraphs. Raises Conflict when the address is another person's by now."""
    if kind in _OF_ACCOUNTS:
        subject, text = _OF_ACCOUNTS[kind]
        return subject, [text, f"{post.origin}/connexion"]
    follow = f"{post.origin}/compte/suivi/{links.following(about['id'], room)}"
    if kind == notices.CONFIRM:
        link = f"{post.origin}/compte/confirmer/{links.confirming(about, room)}"
        return "Confirmez votre adresse", [
            "Un compte Spico a été demandé avec cette adresse. Si c'est bien vous, confirmez-la dans les 48 heures :",
            link,
            f"Suivre votre demande :\n{follow}",
            "Si ce n'est pas vous, ne faites rien : la demande s'arrête là.",
        ]
    if kind == notices.KNOWN:
        return "Vous avez déjà un compte", [
            "Un compte Spico a été demandé avec cette adresse, qui est déjà celle d'un compte. Une adresse sert à une "
            "seule personne. Si le compte est le vôtre, connectez-vous :",
            f"{post.origin}/connexion",
            "Si ce n'est pas vous, ne faites rien. Votre compte n'a pas changé.",
        ]
    if kind == notices.INVITATION:
        person = about["for"]["reference"]
        secret = await asyncio.to_thread(post.accounts.invite, person, request.typed(about, "mail"))
        return "Votre compte est accepté", [
            "Votre demande de compte Spico est acceptée. Choisissez comment vous vous connecterez ; ce lien sert une "
            "fois, pendant sept jours :",
            f"{post.origin}/compte/activer/{secret}",
        ]
    return "Réponse à votre demande de compte", [
        "Votre demande de compte Spico n'a pas été acceptée. La raison, et qui appeler, sont ici :",
        follow,
    ]

"""What a person at the shell learns about a mail, and may do with it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub import cli, conversations, serve, settings
from hub.room import Room
from tests.hub import mailing
from tests.hub.mailing import DOCTOR


class Shell:
    """Commands on a folder, and what happened there before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def before(self, story: Callable[[Room], Awaitable[Any]]) -> Any:
        async def tell() -> Any:
            async with serve.opened(settings.Settings(data=self.folder, demo=True)) as room:
                return await story(room)

        return asyncio.run(tell())

    def __call__(self, *words: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli.app, ["mail", *words, "--data", str(self.folder)])
        assert done.exit_code == code, done.output
        return done.output


@pytest.fixture
def shell(seeded: Path, tmp_path: Path) -> Shell:
    shutil.copytree(seeded, tmp_path, dirs_exist_ok=True)
    return Shell(tmp_path)


def test_the_way_of_a_mail_is_told_by_its_id_and_by_its_conversation(shell: Shell) -> None:
    async def story(room: Room) -> tuple[str, str, str]:
        header, task = await mailing.asked(room)
        return task["id"], mailing.message_id(task), conversations.number(await room.read(header))

    id, message_id, number = shell.before(story)
    for what in (id, f"<{message_id}>", number, f"#{number}"):
        said = shell("status", what)
        assert f"{id}  envoye   {DOCTOR}  [#{number}]" in said
        assert "250 2.0.0 pris" in said
        assert "pansement" not in said
    shell("status", "inconnu", code=1)


def test_the_queue_says_since_when_and_why(shell: Shell) -> None:
    async def story(room: Room) -> None:
        await mailing.sent(room, mailing.Server(RCPT="451 4.3.0 plus tard"))

    assert f"{DOCTOR}" in shell("queue")
    assert "pas encore essayé" in shell("queue")
    shell.before(story)
    assert "attend, 1 essais : 451 4.3.0 plus tard" in shell("queue")


def test_a_held_mail_is_listed_with_its_senders_conversations_and_attached(shell: Shell) -> None:
    async def story(room: Room) -> tuple[str, str]:
        header, _ = await mailing.asked(room)
        raw = f"From: {DOCTOR}\r\nSubject: Bonjour\r\nMessage-ID: <1@x.fr>\r\n\r\nElle va mieux.\r\n".encode()
        await mailing.come(room, raw, to=mailing.MAILBOX, mail_from=DOCTOR)
        return header, conversations.number(await room.read(header))

    header, number = shell.before(story)
    line = shell("triage")
    assert DOCTOR in line and f"#{number}" in line and "mieux" not in line
    entry = line.split()[2]
    assert "held" in shell("status", entry)
    shell("attach", entry, "XXXXXXX", code=1)
    shell("attach", entry, number)
    shell("attach", entry, number, code=1)
    assert "rien à rattacher" in shell("triage")
    assert "Elle va mieux." in shell.before(lambda room: mailing.texts(room, header))


def test_a_reply_address_is_replaced(shell: Shell) -> None:
    async def story(room: Room) -> tuple[str, str]:
        header, _ = await mailing.asked(room)
        return header, conversations.number(await room.read(header))

    header, number = shell.before(story)
    before = shell.before(lambda room: mailing.reply_address(room, header))
    shell("revoke", number, DOCTOR)
    raw = f"From: {DOCTOR}\r\nSubject: Re\r\nMessage-ID: <2@x.fr>\r\n\r\nOui\r\n".encode()
    answer = shell.before(lambda room: mailing.come(room, raw, to=before, mail_from=DOCTOR))
    assert "adresse de réponse révoquée" in answer
    shell("revoke", number, "personne@demo.mssante.fr", code=1)

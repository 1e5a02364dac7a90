"""Nothing leaves for a domain outside of the trust space, and nothing comes in from one."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from common import errors
from hub import allowlist, cli, ledger
from hub.room import Room
from tests.hub import mailing
from tests.hub.mailing import DOCTOR
from tests.mss.conftest import Authority
from tests.mss.test_allowlist import a_list


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def kept(hub: Room) -> allowlist.Kept:
    return allowlist.Kept(hub.settings)


async def delivery(hub: Room) -> dict[str, Any]:
    header = await mailing.conversation(hub, "lefebvre")
    await mailing.say(hub, header, "Bonjour")
    await mailing.sent(hub)
    (task,) = await hub.find("Task", based_on=header, code="deliver", owner="PractitionerRole/lefebvre")
    return task


def an_answer(sender: str = DOCTOR) -> bytes:
    return f"From: {sender}\r\nSubject: Re\r\nMessage-ID: <{sender}>\r\n\r\nBonjour\r\n".encode()


async def test_without_a_list_nobody_is_judged(hub: Room) -> None:
    assert ledger.code_of(await delivery(hub)) == "envoye"


async def test_a_mail_to_a_domain_outside_is_held_back_and_the_ledger_says_so(hub: Room, kept: allowlist.Kept) -> None:
    kept.take(a_list("autre.mssante.fr"))
    task = await delivery(hub)
    assert (ledger.code_of(task), task["status"]) == ("retenu", "rejected")
    assert "retenu : domaine hors espace de confiance" in task["output"][0]["valueString"]
    kept.take(a_list("demo.mssante.fr"), confirmed=True)
    assert ledger.code_of(await delivery(hub)) == "envoye"


async def test_a_mail_from_a_domain_outside_is_refused(hub: Room, kept: allowlist.Kept) -> None:
    header = await mailing.conversation(hub, "lefebvre")
    to = await mailing.reply_address(hub, header)
    kept.take(a_list("autre.mssante.fr"))
    refused = await mailing.come(hub, an_answer(), to=to, mail_from=DOCTOR)
    assert refused.startswith("550 5.7.1 ce domaine est hors de l'espace de confiance")
    kept.take(a_list("demo.mssante.fr"), confirmed=True)
    assert (await mailing.come(hub, an_answer(), to=to, mail_from=DOCTOR)).startswith("250")


async def test_an_old_copy_lets_in_whom_it_names_and_the_others_wait(hub: Room, kept: allowlist.Kept) -> None:
    kept.take(a_list("demo.mssante.fr"))
    old = time.time() - 8 * 86_400
    os.utime(hub.settings.data / "allowlist.xml", (old, old))
    assert kept.problem(DOCTOR, hub.now()) == ""
    with pytest.raises(errors.Unavailable):
        kept.problem("x@ailleurs.fr", hub.now())


async def test_a_hub_that_shall_have_a_list_and_never_read_one_sends_nothing_and_keeps_all(hub: Room) -> None:
    wanting = replace(hub, settings=replace(hub.settings, mail_allowlist_url="https://127.0.0.1:1/liste.xml"))
    header = await mailing.conversation(wanting, "lefebvre")
    to = await mailing.reply_address(wanting, header)
    assert (await mailing.come(wanting, an_answer(), to=to, mail_from=DOCTOR)).startswith("451")
    with pytest.raises(errors.Unavailable):
        await delivery(wanting)


def test_the_commands(tmp_path: Path) -> None:
    runner, data = CliRunner(), ["--data", str(tmp_path)]
    first, shrunk = tmp_path / "1.xml", tmp_path / "2.xml"
    first.write_bytes(a_list("demo.mssante.fr", "b.fr", "c.fr"))
    shrunk.write_bytes(a_list("demo.mssante.fr"))
    taken = runner.invoke(cli.app, ["allowlist", "refresh", "--file", str(first), *data])
    assert "3 entrées, 3 ajouts, 0 retraits" in taken.output
    assert runner.invoke(cli.app, ["allowlist", "refresh", "--file", str(shrunk), *data]).exit_code == 1
    assert "3 domaines" in runner.invoke(cli.app, ["allowlist", "show", *data]).output
    assert "CN=smtp0" in runner.invoke(cli.app, ["allowlist", "show", "--domain", "B.fr", *data]).output
    confirmed = runner.invoke(cli.app, ["allowlist", "refresh", "--file", str(shrunk), "--confirm", *data])
    assert "- b.fr" in confirmed.output
    assert runner.invoke(cli.app, ["allowlist", "check", DOCTOR, *data]).exit_code == 0
    outside = runner.invoke(cli.app, ["allowlist", "check", "x@b.fr", *data])
    assert (outside.exit_code, "hors espace de confiance" in outside.output) == (1, True)


async def test_the_list_comes_only_from_the_authority_that_vouches_for_it(
    hub: Room, authority: Authority, tmp_path: Path
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = a_list("demo.mssante.fr")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("liste-blanche"))
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/listeblanchemssante.xml"
    trusting = replace(hub.settings, mail_allowlist_url=url, mail_allowlist_ca=authority.certificate)
    kept = allowlist.Kept(trusting)
    assert kept.take(await kept.fetch()).added == ("demo.mssante.fr",)
    (tmp_path / "other").mkdir()
    stranger = replace(trusting, mail_allowlist_ca=Authority(tmp_path / "other").certificate)
    for config in (stranger, replace(trusting, mail_allowlist_url=url.replace("https", "http"))):
        with pytest.raises(errors.Unavailable):
            await allowlist.Kept(config).fetch()
    assert allowlist.Kept(stranger).held() == kept.held()  # the copy stays
    server.close()

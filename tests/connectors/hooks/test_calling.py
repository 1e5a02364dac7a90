"""How does a call end, whatever the other side does?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from connectors.hooks import addresses, calling
from tests.receiver import Receiver
from tests.running import free_port

LOOPBACK = addresses.policy("127.0.0.0/8")


@asynccontextmanager
async def answering(said: bytes | None) -> AsyncIterator[str]:
    """A server that says the same to everybody, None nothing at all; its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            if said is None:
                await reader.read()
            writer.write(said or b"")
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def call(url: str, *, seconds: float = 5.0) -> calling.Ended:
    caller = calling.Caller(LOOPBACK)
    try:
        return await caller.call("POST", url, seconds=seconds)
    finally:
        caller.close()


async def test_a_receiver_gets_exactly_what_was_given() -> None:
    receiver = Receiver()
    caller = calling.Caller(LOOPBACK)
    for n in range(3):  # over one connection
        ended = await caller.call("PUT", receiver.url + "?a=b", headers=[("X-N", str(n))], body=b"{}", seconds=5)
        assert ended == calling.Ended(True, "HTTP 200")
    assert [(one.method, one.path, one.headers["x-n"], one.body) for one in receiver.calls] == [
        ("PUT", "/hook?a=b", str(n), b"{}") for n in range(3)
    ]
    receiver.stop()  # which closes the connection that is kept
    assert not (await caller.call("POST", receiver.url, seconds=5)).ok
    receiver.start()
    assert (await caller.call("POST", receiver.url, seconds=5)).ok
    caller.close()
    receiver.stop()


@pytest.mark.parametrize(
    ("said", "ok", "text"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True, "HTTP 204"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True, "HTTP 200"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", True, "HTTP 200"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500_000, True, "HTTP 200"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", False, "redirection"),
        (b"HTTP/1.1 500 secret <b>text</b>\r\n\r\n", False, "HTTP 500"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500_000, False, "connexion"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", False, "connexion"),
        (b"", False, "connexion"),
    ],
)
async def test_a_call_ends_as_the_answer_says(said: bytes, ok: bool, text: str) -> None:
    async with answering(said) as url:
        ended = await call(url)
    assert ended.ok is ok
    assert text in ended.text
    assert "secret" not in ended.text


async def test_a_receiver_that_does_not_answer_is_left_after_a_while() -> None:
    async with answering(None) as url:
        assert await call(url, seconds=0.2) == calling.Ended(False, "pas de réponse en 0.2 s")


async def test_a_receiver_that_is_not_there_is_a_failure() -> None:
    assert not (await call(f"http://127.0.0.1:{free_port()}/")).ok


async def test_a_certificate_of_nobody_is_a_failure() -> None:
    async with answering(b"not tls at all") as url:
        assert not (await call(url.replace("http:", "https:"))).ok

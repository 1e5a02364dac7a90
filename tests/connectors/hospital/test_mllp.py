"""Does the MLLP door answer every sender in order, whatever happens on the line? Real sockets on loopback."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common import errors
from connectors.hospital import frames, line, mllp

SETTINGS = mllp.Mllp(port=0, max_bytes=100_000, idle_seconds=60.0)


@dataclass
class Hub:
    """What the door handed over, and how long a message takes."""

    messages: list[bytes] = field(default_factory=list)
    broken: list[tuple[bytes, str]] = field(default_factory=list)
    oversize: list[tuple[bytes, int]] = field(default_factory=list)
    peers: set[str] = field(default_factory=set)
    seconds: float = 0.0
    padding: bytes = b""
    gate: asyncio.Event | None = None

    async def on_message(self, raw: bytes, peer: str) -> bytes:
        self.messages.append(raw)
        self.peers.add(peer)
        if b"explode" in raw:
            raise RuntimeError("a bug of ours")
        if self.gate:
            await self.gate.wait()
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return b"ACK " + raw[:64] + self.padding

    async def on_broken(self, head: bytes, cause: str, peer: str) -> None:
        self.broken.append((head, cause))

    async def on_oversize(self, head: bytes, size: int, peer: str) -> bytes:
        self.oversize.append((head, size))
        return b"TOO LARGE"


Open = Callable[..., Awaitable[mllp.Server]]


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
async def open_door(hub: Hub) -> AsyncIterator[Open]:
    doors: list[mllp.Server] = []

    async def listening(settings: mllp.Mllp = SETTINGS) -> mllp.Server:
        door = await mllp.serve(settings, hub.on_message, on_broken=hub.on_broken, on_oversize=hub.on_oversize)
        doors.append(door)
        return door

    yield listening
    for door in doors:
        await door.close(grace=1.0)


async def connect(door: mllp.Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", door.port)


async def answers(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    async with asyncio.timeout(10):
        return [(await reader.readuntil(b"\x1c\x0d"))[1:-2] for _ in range(count)]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_message_gets_its_answer(open_door: Open, hub: Hub) -> None:
    door = await open_door()
    assert await mllp.send("127.0.0.1", door.port, b"MSH|1", timeout=5) == b"ACK MSH|1"
    assert (door.stats.connections, door.stats.frames) == (1, 1)
    assert next(iter(hub.peers)).startswith("127.0.0.1:")


async def test_many_messages_in_one_packet_are_answered_in_order(open_door: Open, hub: Hub) -> None:
    hub.seconds = 0.001
    reader, writer = await connect(await open_door())
    writer.write(b"".join(frames.wrap(b"MSH|%d" % n) for n in range(100)))
    assert await answers(reader, 100) == [b"ACK MSH|%d" % n for n in range(100)]
    writer.close()


async def test_a_message_may_come_byte_by_byte(open_door: Open) -> None:
    reader, writer = await connect(await open_door())
    for byte in frames.wrap(b"MSH|slow"):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    assert await answers(reader, 1) == [b"ACK MSH|slow"]
    writer.close()


async def test_a_line_carries_many_messages(open_door: Open) -> None:
    door = await open_door()
    open_line = await line.connect("127.0.0.1", door.port)
    assert [await open_line.send(b"%d" % n, timeout=5) for n in range(20)] == [b"ACK %d" % n for n in range(20)]
    await open_line.close()
    assert door.stats.connections == 1


async def test_a_message_near_the_limit_passes(open_door: Open, hub: Hub) -> None:
    door = await open_door(replace(SETTINGS, max_bytes=25 * 2**20))
    message = b"MSH|" + b"A" * (20 * 2**20)
    assert await mllp.send("127.0.0.1", door.port, message, timeout=20) == b"ACK " + message[:64]
    assert hub.messages == [message]


async def test_an_oversized_message_is_thrown_away_answered_and_followed_by_the_next(open_door: Open, hub: Hub) -> None:
    door = await open_door()
    reader, writer = await connect(door)
    writer.write(frames.wrap(b"MSH|" + b"A" * 500_000) + frames.wrap(b"MSH|next"))
    assert await answers(reader, 2) == [b"TOO LARGE", b"ACK MSH|next"]
    head, size = hub.oversize[0]
    assert (len(head), size) == (frames.HEAD_BYTES, 500_004)
    assert hub.messages == [b"MSH|next"]
    assert door.stats.oversize == 1
    writer.close()


async def test_an_endless_message_is_answered_and_hung_up(open_door: Open, hub: Hub) -> None:
    reader, writer = await connect(await open_door(replace(SETTINGS, max_bytes=10_000)))
    writer.write(b"\x0bMSH|" + b"A" * 200_000)
    assert await answers(reader, 1) == [b"TOO LARGE"]
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await reader.readexactly(1)
    writer.close()
    assert hub.oversize[0][1] > 80_000


async def test_a_truncated_frame_is_told_when_the_sender_hangs_up(open_door: Open, hub: Hub) -> None:
    door = await open_door()
    _, writer = await connect(door)
    writer.write(b"\x0bMSH|half")
    await writer.drain()
    writer.close()
    await until(lambda: hub.broken)
    assert hub.broken == [(b"MSH|half", "closed")]
    assert door.stats.broken == 1
    assert await mllp.send("127.0.0.1", door.port, b"MSH|after", timeout=5) == b"ACK MSH|after"


async def test_a_frame_that_stops_is_told_after_the_idle_time(open_door: Open, hub: Hub) -> None:
    reader, writer = await connect(await open_door(replace(SETTINGS, idle_seconds=0.1)))
    writer.write(b"\x0bMSH|half")
    assert await reader.read() == b""
    assert hub.broken == [(b"MSH|half", "idle")]
    writer.close()


async def test_an_idle_connection_is_closed_but_not_while_we_work(open_door: Open, hub: Hub) -> None:
    hub.seconds = 0.4
    reader, writer = await connect(await open_door(replace(SETTINGS, idle_seconds=0.1)))
    writer.write(frames.wrap(b"MSH|slow answer"))
    assert await answers(reader, 1) == [b"ACK MSH|slow answer"]
    assert await reader.read() == b""
    assert hub.broken == []
    writer.close()


async def test_a_sender_that_starts_anew_is_told_and_answered(open_door: Open, hub: Hub) -> None:
    reader, writer = await connect(await open_door())
    writer.write(b"\x0bMSH|half\x0bMSH|whole\x1c\x0d")
    assert await answers(reader, 1) == [b"ACK MSH|whole"]
    assert hub.broken == [(b"MSH|half", "restarted")]
    writer.close()


async def test_garbage_is_counted_and_harms_nobody(open_door: Open) -> None:
    door = await open_door()
    reader, writer = await connect(door)
    writer.write(b"GET / HTTP/1.1\r\n\r\n" + frames.wrap(b"MSH|1"))
    assert await answers(reader, 1) == [b"ACK MSH|1"]
    assert door.stats.garbage_bytes == len(b"GET / HTTP/1.1")
    writer.close()


async def test_a_sender_that_closes_its_half_still_gets_its_answer(open_door: Open, hub: Hub) -> None:
    hub.seconds = 0.05
    reader, writer = await connect(await open_door())
    writer.write(frames.wrap(b"MSH|1"))
    writer.write_eof()
    assert await answers(reader, 1) == [b"ACK MSH|1"]
    assert await reader.read() == b""
    writer.close()


async def test_a_sender_that_is_gone_does_not_undo_its_message(open_door: Open, hub: Hub) -> None:
    hub.gate = asyncio.Event()
    door = await open_door()
    _, writer = await connect(door)
    writer.write(frames.wrap(b"MSH|1") + frames.wrap(b"MSH|2"))
    await until(lambda: hub.messages)
    writer.transport.abort()
    hub.gate.set()
    await until(lambda: len(hub.messages) == 2)
    await until(lambda: not door.connections)


async def test_a_fast_sender_is_held_back(open_door: Open, hub: Hub) -> None:
    hub.gate = asyncio.Event()
    door = await open_door(replace(SETTINGS, queue=4, max_bytes=60_000))
    reader, writer = await connect(door)
    sending = asyncio.create_task(_flood(writer, 2_000))
    await until(lambda: hub.messages)
    await asyncio.sleep(0.2)
    assert not sending.done()
    hub.gate.set()
    assert len(await answers(reader, 2_000)) == 2_000
    await sending
    writer.close()


async def _flood(writer: asyncio.StreamWriter, count: int) -> None:
    for number in range(count):
        writer.write(frames.wrap(b"MSH|%d|" % number + b"A" * 10_000))
        await writer.drain()


async def test_a_sender_that_never_reads_its_answers_is_dropped(open_door: Open, hub: Hub) -> None:
    hub.padding = b"A" * 1_000_000
    door = await open_door(replace(SETTINGS, idle_seconds=0.3, queue=1000))
    connection = socket.create_connection(("127.0.0.1", door.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)

    await asyncio.get_running_loop().sock_sendall(connection, frames.wrap(b"MSH|1") * 50)
    await until(lambda: door.connections)
    await until(lambda: not door.connections)
    connection.close()


async def test_a_bug_of_ours_closes_that_connection_only(open_door: Open) -> None:
    door = await open_door()
    with pytest.raises(errors.Unavailable):
        await mllp.send("127.0.0.1", door.port, b"MSH|explode", timeout=5)
    assert await mllp.send("127.0.0.1", door.port, b"MSH|fine", timeout=5) == b"ACK MSH|fine"


async def test_closing_answers_what_was_received_and_tells_what_was_cut(open_door: Open, hub: Hub) -> None:
    hub.seconds = 0.1
    door = await open_door()
    reader, writer = await connect(door)
    writer.write(frames.wrap(b"MSH|1") + b"\x0bMSH|half")
    await until(lambda: hub.messages)
    await door.close()
    assert await answers(reader, 1) == [b"ACK MSH|1"]
    assert hub.broken == [(b"MSH|half", "stopped")]
    with pytest.raises(errors.Unavailable):
        await mllp.send("127.0.0.1", door.port, b"MSH|late", timeout=1)
    writer.close()


async def test_closing_does_not_wait_for_ever(open_door: Open, hub: Hub) -> None:
    hub.gate = asyncio.Event()
    door = await open_door()
    _, writer = await connect(door)
    writer.write(frames.wrap(b"MSH|1"))
    await until(lambda: hub.messages)
    async with asyncio.timeout(5):
        await door.close(grace=0.05)
    writer.close()


async def test_too_many_connections_are_hung_up(open_door: Open) -> None:
    door = await open_door(replace(SETTINGS, connections=1))
    first_reader, first = await connect(door)
    await until(lambda: door.connections)
    reader, second = await connect(door)
    assert await reader.read() == b""
    first.write(frames.wrap(b"MSH|1"))
    assert await answers(first_reader, 1) == [b"ACK MSH|1"]
    first.close()
    second.close()


async def test_nobody_there_is_unavailable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(errors.Unavailable, match="injoignable"):
        await mllp.send("127.0.0.1", port, b"MSH|1", timeout=2)


async def test_an_answer_that_does_not_come_is_unavailable(open_door: Open, hub: Hub) -> None:
    hub.gate = asyncio.Event()
    door = await open_door()
    with pytest.raises(errors.Unavailable, match="pas de réponse"):
        await mllp.send("127.0.0.1", door.port, b"MSH|1", timeout=0.1)
    hub.gate.set()


async def test_fuzzed_lines_never_stop_the_door(open_door: Open, hub: Hub) -> None:
    door = await open_door(replace(SETTINGS, max_bytes=2_000))
    chance = random.Random(11)
    marks = [b"\x0b", b"\x1c", b"\x0d", b"MSH|", b"\x0bMSH|x\x1c\x0d", b"A" * 700, b"\0\xff"]
    for _ in range(50):
        reader, writer = await connect(door)
        writer.write(b"".join(chance.choices(marks, k=200)) + b"\x1c" + frames.wrap(b"MSH|last"))
        writer.write_eof()
        async with asyncio.timeout(10):
            assert (await reader.read()).endswith(frames.wrap(b"ACK MSH|last"))
        writer.close()


async def test_messages_go_through_tls(open_door: Open, tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    door = await open_door(replace(SETTINGS, tls=server))
    client = ssl.create_default_context(cafile=str(certificate))
    assert await mllp.send("127.0.0.1", door.port, b"MSH|1", timeout=5, tls=client) == b"ACK MSH|1"
    stranger = ssl.create_default_context()
    with pytest.raises(errors.Unavailable):
        await mllp.send("127.0.0.1", door.port, b"MSH|1", timeout=5, tls=stranger)


def a_certificate(folder: Path) -> Path:
    """A key and its own certificate for 127.0.0.1 in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub de test")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    signed = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "hub.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


def test_the_door_works_on_the_event_loop_that_serves(hub: Hub) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def exchange() -> bytes:
        door = await mllp.serve(SETTINGS, hub.on_message, on_broken=hub.on_broken, on_oversize=hub.on_oversize)
        reader, writer = await connect(door)
        writer.write(b"noise\x0bMSH|half\x0bMSH|1\x1c\x0d")
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        await door.close()
        return answer

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(exchange()) == frames.wrap(b"ACK MSH|1")
    assert hub.broken == [(b"MSH|half", "restarted")]

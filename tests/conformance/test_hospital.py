"""Does the simulated hospital send as real ones do, and say plainly what came back?"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from common import errors
from conformance.simulators import hospital
from connectors.hospital import mllp
from mapping import er7
from tests.builders_hl7 import an_ack, an_mdm

ROOT = Path(__file__).parents[2]


class Receiver:
    """A hospital's correspondent that says AA, or AE to a message that names REFUSE."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.broken: list[bytes] = []

    async def on_message(self, raw: bytes, peer: str) -> bytes:
        self.messages.append(raw)
        control_id = er7.read(raw).control_id
        refused = b"ERR||PID^1^3|207^x^HL70357|E|902^x^HL70533|||patient inconnu\r" if "REFUSE" in control_id else b""
        return an_ack("AE" if refused else "AA", control_id) + refused

    async def on_broken(self, head: bytes, cause: str, peer: str) -> None:
        self.broken.append(head)

    async def on_oversize(self, head: bytes, size: int, peer: str) -> bytes:
        return an_ack("AR")


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def door(receiver: Receiver) -> AsyncIterator[mllp.Server]:
    settings = mllp.Mllp(port=0)
    opened = await mllp.serve(
        settings, receiver.on_message, on_broken=receiver.on_broken, on_oversize=receiver.on_oversize
    )
    yield opened
    await opened.close()


@pytest.fixture
def letter(tmp_path: Path) -> Callable[[str], Path]:
    def write(control_id: str) -> Path:
        path = tmp_path / f"{control_id}.hl7"
        path.write_bytes(an_mdm(control_id).replace(b"\r", b"\n"))
        return path

    return write


def run(door: mllp.Server, *arguments: object) -> Awaitable[tuple[int, str, str]]:
    return _run("--port", str(door.port), *map(str, arguments))


async def _run(*arguments: str) -> tuple[int, str, str]:
    command = (sys.executable, "-m", "conformance.simulators.hospital", *arguments)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_file_is_sent_and_its_answer_printed(
    door: mllp.Server, receiver: Receiver, letter: Callable[[str], Path]
) -> None:
    code, out, _ = await run(door, letter("L1"))
    assert (code, "MSA|AA|L1" in out) == (0, True)
    assert receiver.messages == [an_mdm("L1")]


async def test_a_refusal_is_printed_and_is_no_success(door: mllp.Server, letter: Callable[[str], Path]) -> None:
    code, out, _ = await run(door, letter("L1"), letter("REFUSE"))
    assert code == 1
    assert "patient inconnu" in out


async def test_a_busy_hospital_numbers_its_messages(
    door: mllp.Server, receiver: Receiver, letter: Callable[[str], Path]
) -> None:
    code, _, _ = await run(door, letter("L1"), "--repeat", 3, "--renumber")
    assert code == 0
    assert [er7.read(raw).control_id for raw in receiver.messages] == ["L1-1", "L1-2", "L1-3"]


async def test_nobody_listening_has_its_own_exit_code(letter: Callable[[str], Path]) -> None:
    code, _, err = await _run("--port", "1", str(letter("L1")))
    assert code == 2
    assert "127.0.0.1:1" in err


async def test_a_bad_day_is_slow_or_cut(door: mllp.Server, receiver: Receiver) -> None:
    slow = hospital.Sender(port=door.port, pieces=200, pause=0.001)
    answer = await hospital.send(an_mdm("SLOW"), slow)
    assert (answer.code, answer.text) == ("AA", "")
    cut = await hospital.send(an_mdm("CUT"), hospital.Sender(port=door.port, cut=0.5))
    assert cut.code == ""
    async with asyncio.timeout(5):
        while not receiver.broken:
            await asyncio.sleep(0.01)
    assert an_mdm("CUT").startswith(receiver.broken[0])


async def test_the_reason_of_a_refusal_is_read(door: mllp.Server) -> None:
    answer = await hospital.send(an_mdm("REFUSE"), hospital.Sender(port=door.port))
    assert (answer.code, answer.text) == ("AE", "PID^1^3 x : patient inconnu")


async def test_a_port_where_nobody_listens_is_unavailable() -> None:
    with pytest.raises(errors.Unavailable):
        await hospital.send(an_mdm(), hospital.Sender(port=1))

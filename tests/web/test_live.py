"""The event stream: says what changed and not what it contains, stays alive, and ends with the session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.web import fake_record
from tests.web.conftest import Story
from web import app, fhir, live


@pytest.fixture
async def stream(story: Story) -> AsyncIterator[Any]:
    """Nadia's stream as raw ASGI: httpx would wait for its end."""
    built = app.build(
        fhir.in_process(story.record.app()), story.record, story.record, seconds_between_signs_of_life=0.05
    )
    parts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/live",
        "raw_path": b"/live",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"hub.test"), (b"cookie", b"hub_session=jeton-nadia")],
        "server": ("hub.test", 80),
        "client": ("127.0.0.1", 1),
    }
    task = asyncio.create_task(built(scope, receive, parts.put))
    yield parts, left, task
    left.set()
    await asyncio.wait_for(task, 2)


async def text(parts: asyncio.Queue[dict[str, Any]]) -> str:
    part = await asyncio.wait_for(parts.get(), 2)
    return str(part.get("body", b"").decode())


async def test_a_message_is_announced_after_ready_without_its_content(stream: Any, story: Story) -> None:
    parts, _, _ = stream
    start = await asyncio.wait_for(parts.get(), 2)
    assert dict(start["headers"])[b"content-type"].startswith(b"text/event-stream")
    assert "event: ready" in await text(parts)
    story.record.message(story.header, story.paul, "contenu confidentiel")
    heard = await text(parts)
    assert "event: conversation" in heard
    assert "event: inbox" in heard
    assert f'"conversation":"{story.id}"' in heard
    assert "confidentiel" not in heard


async def test_a_quiet_stream_gives_signs_of_life(stream: Any) -> None:
    parts, _, _ = stream
    await parts.get()
    await parts.get()
    assert (await text(parts)).startswith(":")


async def test_the_stream_ends_with_the_session(stream: Any, story: Story) -> None:
    _, _, task = stream
    await asyncio.sleep(0.02)
    story.record.tokens.clear()
    await asyncio.wait_for(task, 2)


async def test_a_tab_that_leaves_is_forgotten(stream: Any, story: Story) -> None:
    parts, left, task = stream
    await parts.get()
    await parts.get()
    assert len(story.record.listeners) == 1
    left.set()
    await asyncio.wait_for(task, 2)
    assert story.record.listeners == []


def test_dropped_changes_ask_to_look_at_everything_again() -> None:
    assert b"event: ready" in live.written(fake_record.Change(7, "", "", None))


def test_directory_changes_move_nothing_on_a_page() -> None:
    assert live.written(fake_record.Change(7, "Organization", "x", None)) == b""

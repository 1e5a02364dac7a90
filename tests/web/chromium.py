"""A real Chromium: in front of the app in the test's own event loop, or before a hub that runs by itself (`phone`)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright import sync_api
from playwright.async_api import BrowserContext, Page, async_playwright, expect

# A loaded machine is slow, not wrong: what is awaited may take its time, what is measured is measured in bench/.
PATIENCE = 20_000
expect.set_options(timeout=PATIENCE)

PROGRAM = Path("/usr/bin/chromium")
QUIET = "--disable-background-networking --disable-component-update --disable-sync --no-first-run"
ARGUMENTS = f"--no-sandbox --disable-gpu {QUIET}"
PHONE = {"width": 360, "height": 780}
DESK = {"width": 1280, "height": 800}


class _Server(uvicorn.Server):
    """Leaves the signals to the test runner."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Site:
    """The app on a port that stays the same when the server is stopped and started again."""

    app: Any
    port: int = 0
    server: _Server | None = None
    task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(self.app, lifespan="off", ws="none", log_config=None, timeout_graceful_shutdown=1)
        self.server = _Server(config)
        self.task = asyncio.create_task(self.server.serve(sockets=[listening]))
        while not self.server.started:
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """As a killed process: open streams are cut."""
        assert self.server
        assert self.task
        self.server.should_exit = self.server.force_exit = True
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()
        await self.task


@dataclass
class Screens:
    """Opens pages as somebody, and keeps what their consoles complained of."""

    browser: Any
    site: Site
    complaints: list[str]

    async def context(self, name: str, *, size: dict[str, int] | None = None, dark: bool = False) -> BrowserContext:
        context: BrowserContext = await self.browser.new_context(
            viewport=size or PHONE, color_scheme="dark" if dark else "light", locale="fr-FR", base_url=self.site.url
        )
        context.set_default_timeout(PATIENCE)
        if name:
            cookie = {"name": "hub_session", "value": f"jeton-{name}", "url": self.site.url}
            await context.add_cookies([cookie])  # type: ignore[list-item]
        return context

    async def open(self, path: str, name: str = "nadia", **options: Any) -> Page:
        """A page in a new browser profile, connected to its stream."""
        return await self.tab(await self.context(name, **options), path)

    async def tab(self, context: BrowserContext, path: str) -> Page:
        page = await context.new_page()
        page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        page.on("console", lambda line: self.complaints.append(line.text) if _is_ours(line) else None)
        await page.goto(path)
        return page


def _is_ours(line: Any) -> bool:
    """A refused request is what a test asks for; anything else on the console (a policy, a bug) is a finding."""
    return line.type == "error" and "Failed to load resource" not in line.text and "ERR_" not in line.text


@contextlib.asynccontextmanager
async def opened(app: Any) -> AsyncIterator[Screens]:
    """The site and the browser, for one test."""
    if not PROGRAM.exists():
        pytest.skip("no Chromium on this machine")
    site = Site(app)
    await site.start()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(PROGRAM), args=ARGUMENTS.split())
        screens = Screens(browser, site, [])
        try:
            yield screens
        finally:
            await browser.close()
            await site.stop()
    assert screens.complaints == [], screens.complaints


@contextlib.contextmanager
def phone(url: str) -> Iterator[sync_api.Page]:
    """A page of somebody's phone at this address, in a new browser, for a test without an event loop."""
    if not PROGRAM.exists():
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(PROGRAM), args=ARGUMENTS.split())
        page = browser.new_context(viewport=PHONE, locale="fr-FR").new_page()  # type: ignore[arg-type]
        page.goto(url)
        yield page
        browser.close()

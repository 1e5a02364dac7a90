"""How does a template become a page, with what every page carries?"""

from __future__ import annotations

from typing import Any

from starlette.responses import HTMLResponse

from web.room import Room
from web.session import SignedIn


def policy(form_action: str = "") -> str:
    """The Content-Security-Policy of a page; its forms may lead on to one more origin."""
    return (
        "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        f"form-action 'self'{' ' if form_action else ''}{form_action}; frame-ancestors 'none'"
    )


def page(
    room: Room, template: str, *, person: SignedIn | None = None, status: int = 200, **values: Any
) -> HTMLResponse:
    """The rendered template. `csrf` is what forms on the page must send back."""
    csrf = person.csrf if person else values.pop("csrf", "")
    shared = {"demo": room.demo, "person": person, "csrf": csrf, "status": status}
    return HTMLResponse(room.templates.get_template(template).render({**shared, **values}), status)

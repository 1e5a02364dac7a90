"""What do the tables of errors, events, settings and topics in docs/ say? They are rendered from the code.

`hub docs` writes them; tests/test_docs.py fails when a page says something else.
"""

from __future__ import annotations

import importlib
import pkgutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from common import errors, events
from fhir_server.subscriptions.topics import Topic
from hub import settings, topics

# Rooms whose modules may define refusals of their own.
_ROOMS = ("common", "mapping", "fhir_server", "identity", "mss", "connectors", "hub")


def write(folder: Path) -> list[Path]:
    """Write every page into `folder`; returns the paths whose text changed."""
    changed = []
    for name, render in PAGES.items():
        path, text = folder / f"{name}.md", render()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed.append(path)
    return changed


def error_page() -> str:
    """One line per code of refusal that any room defines, and what each door says."""
    _import_rooms()
    rows = [
        (
            f"`{kind.code}`",
            f"`{kind.__module__}.{kind.__name__}`",
            str(kind.status),
            kind.fhir,
            f"{kind.hl7}, {kind.hl7_application}",
            kind.smtp,
        )
        for kind in sorted(_descendants(errors.HubError), key=lambda kind: (kind.status, kind.code, kind.__name__))
    ]
    return _page(
        "Errors",
        "Every expected refusal, raised deep and translated once at the door: an OperationOutcome on FHIR paths, "
        "problem JSON elsewhere, an ERR segment (tables 0357 and 0533) in HL7 v2, a reply code in mail. The code is "
        "stable.",
        ("code", "class", "HTTP", "FHIR issue type", "HL7 v2", "SMTP"),
        rows,
    )


def event_page() -> str:
    """One line per numbered log event."""
    rows = [(f"`{one.name}`", one.value.level, one.value.text, one.value.remedy) for one in events.Events]
    return _page(
        "Events",
        "Every line that the hub logs has one of these numbers and a correlation id, and no health data. Numbers are "
        "never used again for something else.",
        ("number", "level", "what happened", "what to do"),
        rows,
    )


def settings_page() -> str:
    """One line per setting: its variable, type and default."""
    rows = [
        (f"`{one.name}`", f"`HUB_{one.name.upper()}`", _kind(one.type), _default(one.default), one.metadata["doc"])
        for one in fields(settings.Settings)
    ]
    return _page(
        "Settings",
        "A setting comes from its environment variable, else from `hub.toml`, else from the default; some have a "
        "command line option as well, which wins. A secret is a path to a file, never a value.",
        ("in hub.toml", "variable", "type", "default", "what it is"),
        rows,
    )


def topic_page() -> str:
    """One line per topic of subscriptions."""
    rows = [
        (f"`{one.url}`", one.type or "any", ", ".join(sorted(one.on)), _condition(one), one.title)
        for one in topics.TOPICS
    ]
    return _page(
        "Subscription topics",
        "What a Subscription of the R5 backport may name in `criteria`; each filter is a search such as "
        "`Task?status=requested`, and all filters of one type must hold. A topic of any type needs a filter. Any other "
        "criteria is a plain R4 search.",
        ("topic", "type", "on", "when", "what it tells"),
        rows,
    )


def _condition(topic: Topic) -> str:
    became = f", and `{topic.became[0]}` was another before" if topic.became else ""
    return f"`{topic.criteria}`{became}" if topic.criteria else ""


PAGES: dict[str, Callable[[], str]] = {
    "errors": error_page,
    "events": event_page,
    "settings": settings_page,
    "topics": topic_page,
}


def _import_rooms() -> None:
    for room in _ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, f"{room}."):
            # Alembic runs its environment and versions itself: they act when imported.
            if ".migrations" not in module.name:
                importlib.import_module(module.name)


def _descendants(kind: type[errors.HubError]) -> Iterator[type[errors.HubError]]:
    for child in kind.__subclasses__():
        if child.__module__.split(".")[0] in _ROOMS:
            if "code" in vars(child):
                yield child
            yield from _descendants(child)


_KINDS = {
    "str": "text",
    "bool": "true, false",
    "int": "number",
    "float": "number",
    "Path": "path",
    "Path | None": "path, optional",
}


def _kind(annotation: object) -> str:
    return _KINDS.get(str(annotation), str(annotation))


def _default(value: object) -> str:
    return "" if value in (None, "") else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _page(title: str, text: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [
        f"# {title}",
        "",
        "<!-- Printed from the code by `./run docs`: edit the code. -->",
        "",
        textwrap.fill(text, 120),
        "",
        _row(heads),
        _row(tuple("---" for _ in heads)),
        *(_row(row) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

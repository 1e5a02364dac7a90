"""Does the documentation say what the code does? Tables printed from code, paths that exist, commands that run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from hub import cli, reference

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))

README_LINES = 150
DECISION_LINES = 60

_CODE = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_COMMAND = re.compile(r"(?:^|\$\()\./run +([^)\n]+)|^\./(demo|check|run)\b", re.MULTILINE)


@pytest.mark.parametrize("page", reference.PAGES)
def test_a_table_made_from_code_is_up_to_date(page: str) -> None:
    assert (DOCS / f"{page}.md").read_text() == reference.PAGES[page](), "./run docs"


def test_every_path_in_where_is_what_exists() -> None:
    named = _CODE.findall((DOCS / "where-is-what.md").read_text())
    paths = [one for one in named if "/" in one and not one.startswith(("/", "./run", "hub "))]
    assert len(paths) > 30
    assert [one for one in paths if not list(ROOT.glob(one.rstrip("/").removeprefix("./")))] == []


def test_every_test_that_the_threat_model_names_is_there() -> None:
    named = [one for one in _CODE.findall((DOCS / "security.md").read_text()) if one.startswith("tests/")]
    assert len(named) > 20
    for one in named:
        path, _, test = one.partition("::")
        assert not test or re.search(rf"\bdef {test}\b", (ROOT / path).read_text()), one
        assert (ROOT / path).exists(), one


def test_every_room_has_its_line_in_where_is_what() -> None:
    text = (DOCS / "where-is-what.md").read_text()
    rooms = {one.parent.name for one in ROOT.glob("*/__init__.py")} - {"tests"}
    assert {one for one in rooms if f"`{one}/" not in text} == set()


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in _LINK.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_command_in_the_readme_exists() -> None:
    text = "".join(body for kind, body in _FENCE.findall((ROOT / "README.md").read_text()) if kind == "sh")
    scripts = {one for _, one in _COMMAND.findall(text) if one}
    lines = {one for one, _ in _COMMAND.findall(text) if one}
    assert {"demo", "check"} <= scripts
    assert [one for one in scripts if not (ROOT / one).stat().st_mode & 0o111] == []
    assert [problem for one in sorted(lines) if (problem := _unknown(one))] == []


def test_the_readme_is_read_in_one_go() -> None:
    assert (ROOT / "README.md").read_text().count("\n") <= README_LINES


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_says_context_decision_and_consequences(path: Path) -> None:
    text = path.read_text()
    assert re.match(r"# \d{4}\. ", text), "the title starts with the number"
    assert text.startswith(f"# {path.name[:4]}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert text.count("\n") <= DECISION_LINES


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(one.name[:4]) for one in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def _unknown(line: str) -> str | None:
    """The command or option in `send mllp --port 1 file` that the command line does not know, or None."""
    command: Any = typer.main.get_command(cli.app)
    words = shlex.split(line, comments=True)
    while commands := getattr(command, "commands", None):
        name = words.pop(0)
        if name not in commands:
            return f"{line}: {name}"
        command = commands[name]
    options = {"--help"} | {option for one in command.params for option in one.opts}
    return next((f"{line}: {word}" for word in words if word.startswith("--") and word not in options), None)

"""Does the code keep the shape that makes it readable? Sizes, names, and what an `__init__.py` may hold."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("bench", "common", "conformance", "connectors", "fhir_server", "hub", "identity", "mapping", "mss", "web")

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 40
MOST_POSITIONAL = 4
COMMON = {"__init__.py", "clock.py", "errors.py", "events.py"}

# Names that say nothing about what is inside.
EMPTY_NAMES = re.compile(r"(^|_)(utils?|helpers?|manager|base|impl|misc|stuff)($|_)|(Manager|Helper|Utils?|Base|Impl)$")

# file -> why it may be longer than MOST_LINES
LONG_FILES: dict[str, str] = {}
# "file:function" -> why it may be longer or take more positional parameters
LONG_FUNCTIONS: dict[str, str] = {}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def sources() -> dict[str, str]:
    """Path -> text of every Python file of ours, tests included."""
    found = (one for room in (*ROOMS, "tests") for one in sorted((ROOT / room).rglob("*.py")))
    return {one.relative_to(ROOT).as_posix(): one.read_text() for one in found}


@cache
def trees() -> dict[str, ast.Module]:
    """Path -> syntax tree of every Python file of ours."""
    return {path: ast.parse(text) for path, text in sources().items()}


@cache
def functions() -> dict[str, Function]:
    """`file:name` -> definition, for the rooms: tests have long builders, a migration stays as it was released."""
    return {
        f"{path}:{node.name}": node
        for path, tree in trees().items()
        if not path.startswith(("tests/", "hub/migrations/versions/"))
        for node in ast.walk(tree)
        if isinstance(node, Function)
    }


def _lines(node: Function) -> int:
    """Lines of a function without its docstring, which is as long as it must be."""
    first = node.body[0]
    doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    inside = (first.end_lineno or 0) - first.lineno + 1 if doc else 0
    return (node.end_lineno or 0) - node.lineno + 1 - inside


def _positional(node: Function) -> int:
    """Parameters that may be given by place; none for a command, whose parameters are options given by name."""
    if any(isinstance(one, ast.Call) and ast.unparse(one.func).endswith(".command") for one in node.decorator_list):
        return 0
    names = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_no_file_is_longer_than_a_person_reads_at_once() -> None:
    long = {path: count for path, text in sources().items() if (count := text.count("\n")) > MOST_LINES}
    assert long.keys() - LONG_FILES.keys() == set(), long
    assert LONG_FILES.keys() <= long.keys(), "a listed file has become short: take it off the list"


def test_no_function_is_longer_than_a_screen() -> None:
    long = {name: count for name, node in functions().items() if (count := _lines(node)) > MOST_LINES_OF_A_FUNCTION}
    assert {name: count for name, count in long.items() if name not in LONG_FUNCTIONS} == {}


def test_no_function_takes_more_than_four_positional_parameters() -> None:
    many = {name: count for name, node in functions().items() if (count := _positional(node)) > MOST_POSITIONAL}
    assert {name: count for name, count in many.items() if name not in LONG_FUNCTIONS} == {}


def test_no_name_says_nothing() -> None:
    files = [path for path in sources() if EMPTY_NAMES.search(Path(path).stem)]
    classes = [
        f"{path}:{node.name}"
        for path, tree in trees().items()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and EMPTY_NAMES.search(node.name)
    ]
    assert files + classes == []


def test_every_file_opens_by_saying_what_it_answers() -> None:
    silent = [path for path, tree in trees().items() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def test_an_init_file_holds_a_docstring_and_nothing_else() -> None:
    loaded = [path for path, tree in trees().items() if path.endswith("__init__.py") and len(tree.body) > 1]
    assert loaded == []


def test_common_is_a_closed_list_of_three_modules() -> None:
    assert {one.name for one in (ROOT / "common").glob("*.py")} == COMMON

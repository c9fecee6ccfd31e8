"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSE = ROOT / "packages" / "umbel" / "src" / "umbel"
MODULES = sorted(HOUSE.rglob("*.py"))
CODE_LINES = 400
VAGUE = {"utils", "util", "common", "helpers", "misc", "types", "base", "core"}


def relative(path: Path) -> str:
    return str(path.relative_to(HOUSE))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "umbel":
            # ``from umbel import errors`` means the room; ``from umbel import Umbel`` the door.
            rooms = [a.name for a in node.names if (HOUSE / f"{a.name}.py").exists()]
            names.update(f"umbel.{name}" for name in rooms)
            names.update(["umbel"] if len(rooms) < len(node.names) else [])
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def code_lines(path: Path) -> int:
    """Lines that are neither blank, nor comment, nor docstring."""
    text = path.read_text(encoding="utf-8")
    docs: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            docs.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(
        1
        for number, line in enumerate(text.splitlines(), 1)
        if number not in docs and line.strip() and not line.strip().startswith("#")
    )


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_nothing_inside_imports_the_front_door(path):
    if path != HOUSE / "__init__.py":
        assert "umbel" not in imported(path)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_fits_in_a_head(path):
    assert code_lines(path) <= CODE_LINES


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_says_what_lives_in_it(path):
    if path.read_text(encoding="utf-8").strip():
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert doc
        assert doc.splitlines()[0].rstrip().endswith((".", "?", "!", ":")), doc.splitlines()[0]


def test_module_names_say_something_and_are_unique_outside_the_drivers():
    names = Counter(
        path.stem
        for path in MODULES
        if path.stem not in ("__init__", "__main__") and "drivers" not in path.parts
    )
    assert [name for name, count in names.items() if count > 1] == []
    assert not VAGUE & set(names)


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("redis", {"drivers/redis"}),
        ("hiredis", {"drivers/redis"}),
        ("sqlite3", {"drivers/sqlite"}),
        ("click", {"cli"}),
        ("rich", {"cli"}),
    ],
)
def test_a_third_party_library_is_known_in_one_room(library, rooms):
    found = {
        str(path.parent.relative_to(HOUSE))
        for path in MODULES
        if any(name == library or name.startswith(f"{library}.") for name in imported(path))
    }
    assert found <= rooms


def test_supervisor_modules_do_not_know_the_app():
    """The supervisor never runs user code, so what it is made of must not hold an app."""
    for name in ("supervisor", "intake", "endings", "ledger", "admission", "plan"):
        known = imported(HOUSE / "worker" / f"{name}.py")
        assert not {"umbel.app.app", "umbel.app.task", "umbel.app.running"} & known, name

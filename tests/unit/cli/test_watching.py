"""Waiting for source files to change, told by the system and looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from umbel.cli import watching
from umbel.cli.watching import Stop, is_source


@pytest.fixture(params=["_told", "_looked"])
def watch(request, tmp_path):
    """Both ways to watch; a generator that has begun."""
    if request.param == "_told":
        pytest.importorskip("watchfiles")
    stop = Stop()
    generator = getattr(watching, request.param)(str(tmp_path), stop)
    assert next(generator) == {}
    yield generator
    stop.set()
    generator.close()


def next_change(generator) -> dict[str, str]:
    """Return the next batch that is not empty, with names instead of paths."""
    for batch in generator:
        if batch:
            return {Path(path).name: what for path, what in batch.items()}
    raise AssertionError("the generator ended")


def test_adding_changing_and_deleting(watch, tmp_path):
    file = tmp_path / "tasks.py"
    file.write_text("x = 1\n")
    assert next_change(watch) == {"tasks.py": "added"}
    file.write_text("x = 22\n")
    assert next_change(watch) == {"tasks.py": "modified"}
    file.unlink()
    assert next_change(watch) == {"tasks.py": "deleted"}


def test_other_files_are_left_out(watch, tmp_path):
    for name in ("umbel.sqlite3", "notes.txt", ".hidden.py"):
        (tmp_path / name).write_text("x")
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    (cache / "tasks.py").write_text("x")
    (tmp_path / "real.py").write_text("x")
    assert next_change(watch) == {"real.py": "added"}


def test_it_ends_when_told_to(tmp_path):
    stop = Stop()
    stop.set()
    assert [batch for batch in watching.changes(str(tmp_path), stop) if batch] == []


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("tasks.py", True),
        ("proj/tasks.py", True),
        ("./tasks.py", True),
        ("tasks.pyc", False),
        (".venv/lib/x.py", False),
        ("venv/x.py", False),
        ("node_modules/x.py", False),
    ],
)
def test_what_is_source(path, wanted):
    assert is_source(path) is wanted

"""Queries out of files: all of them can be prepared, all of them are used, none scans a table."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from umbel.drivers import sqlite as driver_package
from umbel.drivers.sqlfiles import load_migrations, load_queries
from umbel.drivers.sqlite.statements import SQL


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(":memory:")
    for _, statements in load_migrations("umbel.drivers.sqlite"):
        database.executescript(statements)
    yield database
    database.close()


def values(statement: str) -> list[int]:
    return [1] * statement.count("?")


@pytest.mark.parametrize("name", sorted(SQL))
def test_no_query_numbers_its_values(name: str) -> None:
    """Values given in a sequence to numbered ones are refused by sqlite3 of Python 3.14."""
    assert re.findall(r"\?\d", SQL[name]) == []


@pytest.mark.parametrize("name", sorted(SQL))
def test_every_query_can_be_prepared(database: sqlite3.Connection, name: str) -> None:
    database.execute(f"EXPLAIN {SQL[name]}", values(SQL[name]))


def test_every_query_is_used() -> None:
    folder = Path(driver_package.__file__).parent
    code = "".join(file.read_text() for file in folder.glob("*.py"))
    assert [name for name in SQL if f'"{name}"' not in code] == []


SMALL = {
    "take_places": "one row",
    "dead_owners": "one row for each worker",
    "next_lease_end": "one row for each worker",
    "presences": "one row for each worker",
    "count_claimed": "one row for each claim",
    "drop_dead_mailboxes": "one row for each listener",
    "fetch_results": "json_each is the list of ids",
}


@pytest.mark.parametrize("name", sorted(SQL))
def test_no_query_scans_what_may_be_long(database: sqlite3.Connection, name: str) -> None:
    plan = database.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", values(SQL[name])).fetchall()
    scans = [row[3] for row in plan if row[3].startswith("SCAN") and "CONSTANT ROW" not in row[3]]
    assert name in SMALL or scans == [], scans


def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    folder = tmp_path / name
    (folder / "sql" / "migrations").mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return folder / "sql"


def test_queries_are_named_and_bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package(tmp_path, monkeypatch, "made_up_queries")
    (folder / "queries.sql").write_text(
        "-- About all of them.\n\n-- name: one\n-- Why.\nSELECT 1;\n\n-- name: two\nSELECT\n  2;\n"
    )
    assert load_queries("made_up_queries") == {"one": "SELECT 1", "two": "SELECT\n  2"}


def test_a_query_named_twice_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package(tmp_path, monkeypatch, "made_up_twice")
    (folder / "queries.sql").write_text("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")
    with pytest.raises(ValueError, match="one is empty or there twice"):
        load_queries("made_up_twice")


def test_migrations_have_no_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package(tmp_path, monkeypatch, "made_up_gap")
    for name in ("0001_a.sql", "0003_c.sql", "README"):
        (folder / "migrations" / name).write_text("SELECT 1;")
    with pytest.raises(ValueError, match="without gaps"):
        load_migrations("made_up_gap")
    (folder / "migrations" / "0002_b.sql").write_text("SELECT 2;")
    assert [number for number, _ in load_migrations("made_up_gap")] == [1, 2, 3]

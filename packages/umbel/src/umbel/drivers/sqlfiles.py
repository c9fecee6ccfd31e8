"""Named queries and numbered migrations, out of .sql files that lie beside a driver.

Called by the SQL drivers when they are imported. Opens no database.

A file of queries is a sequence of ``-- name: some_name`` lines, each followed by comments and one
statement. What several statements have in common stands once, below ``-- part: some_name``, and
``{{some_name}}`` in a statement is replaced by it. Migrations are files called
``NNNN_what_it_does.sql``; each holds any number of statements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

_NAME = re.compile(r"^-- (name|part): (\w+)[ \t]*$", re.MULTILINE)
_PART = re.compile(r"\{\{(\w+)\}\}")
_COMMENT = re.compile(r"^[ \t]*--.*$\n?", re.MULTILINE)


def load_queries(package: str, name: str = "queries.sql") -> Mapping[str, str]:
    """Return the queries in ``sql/<name>`` of a package, by name, without their comments.

    Raises ValueError when a name is given twice or has no statement, or where a statement names a
    part that there is not: a fault in the file.
    """
    text = (files(package) / "sql" / name).read_text(encoding="utf-8")
    pieces = _NAME.split(text)
    found: dict[str, dict[str, str]] = {"name": {}, "part": {}}
    for kind, key, body in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        statement = _COMMENT.sub("", body).strip().removesuffix(";")
        if key in found[kind] or not statement:
            raise ValueError(f"{package}/sql/{name}: the query {key} is empty or there twice")
        found[kind][key] = statement
    parts = found["part"]

    def part(match: re.Match[str]) -> str:
        if match[1] not in parts:
            raise ValueError(f"{package}/sql/{name}: there is no part {match[1]}")
        return _PART.sub(part, parts[match[1]])

    return {key: _PART.sub(part, statement) for key, statement in found["name"].items()}


def load_migrations(package: str) -> Sequence[tuple[int, str]]:
    """Return (number, statements) of every file in ``sql/migrations``, in order.

    Raises ValueError when the numbers are not 1, 2, 3, ...: a fault in the files.
    """
    found = sorted(
        (int(entry.name.partition("_")[0]), entry.read_text(encoding="utf-8"))
        for entry in (files(package) / "sql" / "migrations").iterdir()
        if entry.name.endswith(".sql")
    )
    if [number for number, _ in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"{package}/sql/migrations: the numbers must be 1, 2, 3, ... without gaps")
    return found

"""Named queries and numbered migrations, out of .sql files that lie beside a driver.

Called by the SQL drivers when they are imported. Opens no database.

A file of queries is a sequence of ``-- name: some_name`` lines, each followed by comments and one
statement. Migrations are files called ``NNNN_what_it_does.sql``; each holds any number of
statements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*--.*$\n?", re.MULTILINE)


def load_queries(package: str, name: str = "queries.sql") -> Mapping[str, str]:
    """Return the queries in ``sql/<name>`` of a package, by name, without their comments.

    Raises ValueError when a name is given twice or has no statement: a fault in the file.
    """
    text = (files(package) / "sql" / name).read_text(encoding="utf-8")
    parts = _NAME.split(text)
    queries: dict[str, str] = {}
    for key, body in zip(parts[1::2], parts[2::2], strict=True):
        statement = _COMMENT.sub("", body).strip().removesuffix(";")
        if key in queries or not statement:
            raise ValueError(f"{package}/sql/{name}: the query {key} is empty or there twice")
        queries[key] = statement
    return queries


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

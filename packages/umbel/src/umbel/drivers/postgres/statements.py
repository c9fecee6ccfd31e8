"""The driver's statements by name, for one schema; the statements themselves are in sql/*.sql."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib.resources import files

import msgspec

from umbel.drivers.sqlfiles import load_migrations, load_queries

_QUERIES = load_queries("umbel.drivers.postgres")


@functools.cache
def statements(schema: str) -> Mapping[str, bytes]:
    """Return every statement, with the name of the schema in its places.

    The name has been checked (``address``): it is safe in a statement.
    """
    return {name: text.replace("{schema}", schema).encode() for name, text in _QUERIES.items()}


class Migration(msgspec.Struct, frozen=True):
    """One numbered step. ``phase``: ``pre`` keeps older programs working, ``post`` may not."""

    number: int
    phase: str
    name: str
    text: str


def migrations() -> Sequence[Migration]:
    """Return every migration, in order. Its file is called ``NNNN_<phase>_<name>.sql``."""
    return _MIGRATIONS


def _read_migrations() -> Sequence[Migration]:
    names = sorted(
        entry.name.removesuffix(".sql")
        for entry in (files("umbel.drivers.postgres") / "sql" / "migrations").iterdir()
        if entry.name.endswith(".sql")
    )
    found = load_migrations("umbel.drivers.postgres")
    steps: list[Migration] = []
    for (number, text), name in zip(found, names, strict=True):
        _, phase, words = name.split("_", 2)
        if phase not in ("pre", "post"):
            raise ValueError(f"the migration {name} is neither pre nor post")
        steps.append(Migration(number, phase, words, text))
    return steps


_MIGRATIONS = _read_migrations()

"""What a ``db+…://`` URL and its options say, read once.

Called by ``open`` in this package. Opens nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import msgspec

from umbel.config.urls import censored
from umbel.drivers.option_reader import OptionReader
from umbel.errors import ImproperlyConfigured

TABLES = {"task": "celery_taskmeta", "group": "celery_tasksetmeta"}
"""Their names where nobody gave others."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the driver was told."""

    url: str
    """SQLAlchemy's."""
    shown: str
    """The URL as it may be shown: without password."""
    engine: Mapping[str, Any] = {}
    names: Mapping[str, str]
    schemas: Mapping[str, str] = {}
    short_lived: bool = False
    """A connection for each operation, closed after it."""
    serializer: str = "json"
    """Of results; only for what this driver has to say itself."""
    polling: float = 0.5
    """Seconds between looks for results somebody waits for, at most."""


def read(url: str, options: Mapping[str, Any]) -> Options:
    """Return what URL and options say. Raises ImproperlyConfigured for anything wrong in them."""
    shown = censored(url)
    reader = OptionReader(options, shown, accepted=frozenset({"create_tables_at_setup"}))
    _, _, inner = url.partition("+")
    if not inner.partition("://")[2] and not inner.startswith("sqlite"):
        raise ImproperlyConfigured(
            f"{shown} names no database: write for example db+postgresql://user@host/database, "
            "db+mysql+pymysql://user@host/database or db+sqlite:///results.sqlite3."
        )
    if inner.startswith("sqlite") and inner.partition("://")[2].strip("/") in ("", ":memory:"):
        raise ImproperlyConfigured(
            f"{shown} is a database in the memory of one process, where no worker could leave a "
            "result: name a file, db+sqlite:///results.sqlite3."
        )
    read_options = Options(
        url=inner,
        shown=shown,
        engine=_engine(reader),
        names=TABLES | _named(reader, "table_names"),
        schemas=_named(reader, "table_schemas"),
        short_lived=reader.flag("short_lived_sessions", False) is True,
        serializer=reader.text("result_serializer", "json") or "json",
        polling=reader.number("polling_interval", 0.5, least=0.01) or 0.5,
    )
    reader.refuse_unknown()
    return read_options


def _engine(reader: OptionReader) -> dict[str, Any]:
    given = reader.raw("engine_options", {})
    if not isinstance(given, Mapping):
        raise reader.wrong("engine_options", given, "a mapping of options of SQLAlchemy's engine")
    found = dict(given)
    pool = found.get("poolclass")
    if isinstance(pool, str):
        # Classes come in by their dotted names, which can cross to the supervisor.
        module, _, name = pool.rpartition(".")
        try:
            found["poolclass"] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise reader.wrong("poolclass", pool, f"importable ({error})") from error
    return found


def _named(reader: OptionReader, option: str) -> dict[str, str]:
    given = reader.raw(option, {})
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for each in given.values()):
        raise reader.wrong(option, given, "a mapping with 'task' and 'group'")
    unknown = sorted(set(given) - set(TABLES))
    if unknown:
        raise reader.wrong(
            option, dict(given), f"a mapping with 'task' and 'group', without {unknown[0]!r}"
        )
    return dict(given)

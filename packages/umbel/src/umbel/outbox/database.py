"""The outbox in its database: rows taken, sent rows deleted, and what is told of them.

The relay and ``umbel outbox`` use it, by ``outbox_url``. Any number of processes take rows at once:
where the database skips locked rows a taken row is locked, until the taker commits or dies;
elsewhere (SQLite, MariaDB before 10.6) it is held for ``HOLD`` seconds by its columns.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.config.urls import censored
from umbel.drivers.engines import make_engine, translated
from umbel.errors import BrokerUnavailable, ImproperlyConfigured
from umbel.model.migrations import MigrationStep
from umbel.outbox import table as tables
from umbel.ports import Migrator

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, TextClause

HOLD = 30.0
"""Seconds; longer than sending a batch may take."""


class Row(msgspec.Struct, frozen=True):
    """One message that was committed and is not known to be sent."""

    seq: int
    task_id: str
    message: bytes


class Faulty(msgspec.Struct, frozen=True):
    """A row that could not be sent, and why. It is tried again."""

    task_id: str
    task: str
    queue: str
    fault: str


class Status(msgspec.Struct, frozen=True):
    """What rests in the outbox. ``oldest`` is when the oldest was written, in Unix seconds."""

    waiting: int
    oldest: float | None
    faulty: tuple[Faulty, ...]


class Taken:
    """Rows that nobody else has now. What is not said to be sent or at fault goes back."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.sent: list[int] = []
        self.faults: dict[int, tuple[str, float]] = {}
        """By ``seq``: why it was not sent, and the Unix time before which it is not tried again."""


class OutboxDatabase:
    """One outbox. Connects when first used; one thread at a time."""

    def __init__(self, url: str, table: str) -> None:
        """Raises ImproperlyConfigured where the URL or the name cannot be used."""
        self.place = censored(url)
        self.table = tables.checked(table)
        self._engine: Engine = make_engine(url, what="outbox_url")
        self.database = self._engine.dialect.name.replace("mariadb", "mysql")
        if self.database not in tables.DATABASES:
            raise ImproperlyConfigured(
                f"outbox_url is {self.place}: the outbox can be in PostgreSQL, MariaDB, MySQL or "
                "SQLite"
            )
        if self.database == "mysql":
            # Under its default level, REPEATABLE READ, a lock on rows keeps others from inserting
            # behind them, so that callers would wait while a batch is sent.
            self._engine = self._engine.execution_options(isolation_level="READ COMMITTED")

    @contextmanager
    def take(self, limit: int, now: float) -> Iterator[Taken]:
        """Take the oldest ``limit`` rows that are due at ``now`` (Unix seconds).

        At the end of the block what was sent is deleted. If the block raises, or the process dies,
        nothing is, and the rows are sent again. Raises BrokerUnavailable where the database does
        not answer, ImproperlyConfigured where it has no such table.
        """
        with self._connection() as connection:
            holder = None if _skips_locked(connection) else uuid.uuid4().hex
            if holder is None:
                rows = self._lock(connection, limit, now)
            else:
                rows = self._hold(connection, limit, now, holder)
            taken = Taken(rows)
            try:
                yield taken
            except BaseException:
                if holder is not None:
                    self._let_go(connection, holder)
                raise
            self._settle(connection, taken)
            if holder is not None:
                self._let_go(connection, holder)
            connection.commit()

    def _lock(self, connection: Connection, limit: int, now: float) -> Sequence[Row]:
        return _rows(
            connection,
            f"SELECT seq, task_id, message FROM {self.table} WHERE held_until <= :now "  # noqa: S608 - checked
            "ORDER BY seq LIMIT :most FOR UPDATE SKIP LOCKED",
            {"now": now, "most": limit},
        )

    def _hold(self, connection: Connection, limit: int, now: float, holder: str) -> Sequence[Row]:
        # The inner SELECT stands in another one because MySQL does not read what it updates.
        connection.execute(
            _text(
                f"UPDATE {self.table} SET held_until = :until, held_by = :holder "  # noqa: S608 - checked
                f"WHERE held_until <= :now AND seq IN (SELECT seq FROM (SELECT seq FROM "
                f"{self.table} WHERE held_until <= :now ORDER BY seq LIMIT :most) AS due)"
            ),
            {"until": now + HOLD, "holder": holder, "now": now, "most": limit},
        )
        rows = _rows(
            connection,
            f"SELECT seq, task_id, message FROM {self.table} WHERE held_by = :holder "  # noqa: S608 - checked
            "ORDER BY seq",
            {"holder": holder},
        )
        connection.commit()
        return rows

    def _let_go(self, connection: Connection, holder: str) -> None:
        connection.execute(
            _text(
                f"UPDATE {self.table} SET held_until = 0, held_by = NULL "  # noqa: S608 - checked
                "WHERE held_by = :holder"
            ),
            {"holder": holder},
        )
        connection.commit()

    def _settle(self, connection: Connection, taken: Taken) -> None:
        if taken.sent:
            delete = _text(f"DELETE FROM {self.table} WHERE seq = :seq")  # noqa: S608 - checked
            connection.execute(delete, [{"seq": seq} for seq in taken.sent])
        for seq, (fault, until) in taken.faults.items():
            connection.execute(
                _text(
                    f"UPDATE {self.table} SET fault = :fault, held_until = :until, "  # noqa: S608 - checked
                    "held_by = NULL WHERE seq = :seq"
                ),
                {"seq": seq, "fault": fault, "until": until},
            )

    def status(self, shown: int) -> Status:
        """Return what rests there, with up to ``shown`` rows that could not be sent."""
        with self._connection() as connection:
            count, oldest = connection.execute(
                _text(f"SELECT count(*), min(created_at) FROM {self.table}")  # noqa: S608 - checked
            ).one()
            faulty = connection.execute(
                _text(
                    f"SELECT task_id, task, queue, fault FROM {self.table} "  # noqa: S608 - checked
                    "WHERE fault IS NOT NULL ORDER BY seq LIMIT :shown"
                ),
                {"shown": shown},
            ).all()
        return Status(count, oldest, tuple(Faulty(*row) for row in faulty))

    def has_table(self) -> bool:
        """Whether the table is there."""
        try:
            with self._connection() as connection:
                connection.execute(_text(f"SELECT seq FROM {self.table} WHERE seq = 0"))  # noqa: S608 - checked
        except TableMissing:
            return False
        return True

    def create(self) -> None:
        """Make the table where it is missing. Raises as ``take``."""
        with self._connection() as connection:
            connection.execute(_text(tables.creation(self.database, self.table)))
            connection.commit()

    def close(self) -> None:
        """Let go of the connections. May be used again afterwards."""
        self._engine.dispose()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with (
            translated(self.place, BrokerUnavailable, missing=self._missing),
            self._engine.connect() as connection,
        ):
            yield connection

    def _missing(self) -> ImproperlyConfigured:
        return TableMissing(
            f"{self.place} has no table {self.table!r}, the outbox: make it with umbel migrate "
            "(or see umbel outbox sql)"
        )


class TableMissing(ImproperlyConfigured):
    """The database has no outbox yet."""


class OutboxMigrator(Migrator):
    """The outbox for ``umbel migrate``: one step, known by the table that it makes."""

    def __init__(self, database: OutboxDatabase) -> None:
        self._database = database

    @property
    def place(self) -> str:
        return f"{self._database.place}, table {self._database.table}"

    def steps(self) -> Sequence[MigrationStep]:
        there = self._database.has_table()
        return [MigrationStep(number=1, phase="pre", name="outbox", at=None, applied=there)]

    def fault(self) -> str | None:
        return None if self._database.has_table() else f"{self.place} is missing: run umbel migrate"

    def apply(self, phases: Sequence[str]) -> Sequence[MigrationStep]:
        if "pre" not in phases or self._database.has_table():
            return []
        self._database.create()
        return self.steps()


def _text(statement: str) -> TextClause:
    from sqlalchemy import text  # noqa: PLC0415 - there, for the engine is its own

    return text(statement)


def _rows(connection: Connection, statement: str, values: dict[str, Any]) -> Sequence[Row]:
    found = connection.execute(_text(statement), values).all()
    return [Row(seq, task_id, bytes(message)) for seq, task_id, message in found]


def _skips_locked(connection: Connection) -> bool:
    dialect = connection.dialect
    if dialect.name == "postgresql":
        return True
    version = dialect.server_version_info or (0,)
    if getattr(dialect, "is_mariadb", False):
        return tuple(version) >= (10, 6)
    return dialect.name == "mysql" and tuple(version) >= (8, 0, 1)

"""Celery's two tables: their columns, and making them where they are missing.

Called by ``connection``. As Celery makes them, down to the names of sequences and indexes, so that
it does not matter who comes first.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    String,
    Table,
    Text,
    inspect,
)
from sqlalchemy.schema import CreateColumn

from umbel.drivers.celery_tables.address import Options


class Tables:
    """The two tables under the names and in the schemas that somebody chose. Immutable."""

    def __init__(self, options: Options) -> None:
        self.metadata = MetaData()
        self.tasks = Table(
            options.names["task"],
            self.metadata,
            _id("task_id_sequence"),
            Column("task_id", String(155), unique=True),
            Column("status", String(50), default="PENDING"),
            Column("result", LargeBinary, nullable=True),
            Column("date_done", DateTime, nullable=True, index=True),
            Column("traceback", Text, nullable=True),
            Column("children", LargeBinary, nullable=True),
            Column("name", String(155), nullable=True),
            Column("args", LargeBinary, nullable=True),
            Column("kwargs", LargeBinary, nullable=True),
            Column("worker", String(155), nullable=True),
            Column("retries", Integer, nullable=True),
            Column("queue", String(155), nullable=True),
            Column("stamps", LargeBinary, nullable=True),
            schema=options.schemas.get("task"),
            sqlite_autoincrement=True,
        )
        self.groups = Table(
            options.names["group"],
            self.metadata,
            _id("taskset_id_sequence"),
            Column("taskset_id", String(155), unique=True),
            Column("result", LargeBinary, nullable=True),
            Column("date_done", DateTime, nullable=True, index=True),
            schema=options.schemas.get("group"),
            sqlite_autoincrement=True,
        )

    def make(self, connection: Connection) -> None:
        """Make what is missing: tables, and columns that older releases of Celery did not have.

        Raises what the database raises; also where somebody else makes them at the same moment.
        """
        self.metadata.create_all(connection)
        for table in (self.tasks, self.groups):
            for column in self._missing(connection, table):
                preparer = connection.dialect.identifier_preparer
                added = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(
                    f"ALTER TABLE {preparer.format_table(table)} ADD COLUMN {added}"
                )

    @staticmethod
    def _missing(connection: Connection, table: Table) -> list[Column[object]]:
        there = {each["name"] for each in inspect(connection).get_columns(table.name, table.schema)}
        return [column for column in table.columns if column.name not in there]


def _id(sequence: str) -> Column[int]:
    return Column("id", Integer, Sequence(sequence), primary_key=True, autoincrement=True)

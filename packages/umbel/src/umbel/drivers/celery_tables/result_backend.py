"""The result backend port on Celery's tables.

``open`` in this package makes it. Values are encoded and opened elsewhere (``wire.result_row``):
here rows are moved, and that a SUCCESS stays is seen to by the condition of each UPDATE.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Select,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from umbel.drivers.celery_tables.address import Options
from umbel.drivers.celery_tables.connection import Database, Unfit
from umbel.drivers.celery_tables.watcher import TableWatcher
from umbel.errors import ImproperlyConfigured, TaskError
from umbel.model.outcome import READY_STATES, ResultRecord
from umbel.ports import ResultBackend, Watcher
from umbel.wire.portable_errors import to_portable
from umbel.wire.result_row import ResultRow, dump_row, load_row
from umbel.wire.serializers import JSON, SERIALIZERS

logger = logging.getLogger("umbel.drivers.celery_tables")

_T = TypeVar("_T")

CHUNK = 500
"""Ids in one statement: SQLite and others take no more than about a thousand parameters."""
_ALWAYS = ("status", "result", "traceback", "children", "date_done")
_EXTENDED = ("name", "args", "kwargs", "worker", "retries", "queue", "stamps")
"""Columns that keep what they have where a later state says nothing of them."""


class TableResultBackend(ResultBackend):
    """Thread-safe."""

    drops_expired = False

    def __init__(self, options: Options) -> None:
        self._database = Database(options)
        self._tasks, self._groups = self._database.tables.tasks, self._database.tables.groups
        try:
            self._serializer = SERIALIZERS.get(options.serializer)
        except ImproperlyConfigured:
            # One of the user's own, which this process does not know.
            self._serializer = JSON
        self._polling = options.polling
        self._watchers: weakref.WeakSet[TableWatcher] = weakref.WeakSet()

    def store(self, records: Sequence[ResultRecord]) -> None:
        for chunk in _chunks(list(_last_of_each(records).items())):
            self._store(dict(chunk))
        for watcher in list(self._watchers):
            watcher.look()

    def _store(self, rows: Mapping[str, ResultRow]) -> None:
        try:
            self._database.run(lambda connection: self._write(connection, rows))
        except Unfit as error:
            if len(rows) > 1:
                for task_id, row in rows.items():
                    self._store({task_id: row})
                return
            ((task_id, row),) = rows.items()
            self._store_refusal(task_id, row, str(error))

    def _store_refusal(self, task_id: str, row: ResultRow, said: str) -> None:
        """Store, in place of a result that the table does not take, a failure that says so.

        To try again would never end, and whoever waits would wait for ever.
        """
        size = len(row.result or b"")
        error = TaskError(
            f"the result ({size} bytes, {row.status}) does not fit into the table "
            f"{self._tasks.name}: {said}. Widen its column (LONGBLOB), or return less"
        )
        logger.error("Task %s: %s", task_id, error)
        portable = self._serializer.dumps(to_portable(error, self._serializer))
        instead = ResultRow(status="FAILURE", result=portable, date_done=row.date_done or _utcnow())
        try:
            self._database.run(lambda connection: self._write(connection, {task_id: instead}))
        except Unfit:
            logger.exception("Task %s: not even that can be stored", task_id)

    def _write(self, connection: Connection, rows: Mapping[str, ResultRow]) -> None:
        table = self._tasks
        known = self._known(connection, list(rows))
        values = {task_id: _values(row) for task_id, row in sorted(rows.items())}
        # In one order in every process, so that two of them wait for each other in one direction.
        old = [_bound(task_id, one) for task_id, one in values.items() if task_id in known]
        fresh = [{"task_id": key, **one} for key, one in values.items() if key not in known]
        if old:
            kept: dict[str, ColumnElement[Any]] = {
                name: bindparam(f"new_{name}") for name in _ALWAYS
            }
            for name in _EXTENDED:
                new = bindparam(f"new_{name}", type_=table.c[name].type)
                kept[name] = func.coalesce(new, table.c[name])
            unfinished = or_(table.c.status.is_(None), table.c.status != "SUCCESS")
            statement = update(table).where(table.c.task_id == bindparam("of_task"), unfinished)
            connection.execute(statement.values(kept), old)
        if fresh:
            # Race: another process inserts the same id first. Then this one is refused by the
            # unique index, and the whole is done again, which finds the row there.
            connection.execute(insert(table), fresh)

    def _known(self, connection: Connection, task_ids: list[str]) -> set[str]:
        column = self._tasks.c.task_id
        return set(connection.execute(select(column).where(column.in_(task_ids))).scalars())

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        found: dict[str, ResultRecord] = {}
        table = self._tasks
        wanted = [table.c.task_id, *(table.c[name] for name in (*_ALWAYS, *_EXTENDED))]
        for chunk in _chunks(task_ids):
            statement = select(*wanted).where(table.c.task_id.in_(chunk))
            rows = self._database.run(partial(_all, statement))
            found.update({row[0]: _record(row[0], row[1:]) for row in rows})
        return found

    def open_watcher(self) -> Watcher:
        watcher = TableWatcher(self.fetch, self._polling)
        self._watchers.add(watcher)
        return watcher

    def forget(self, task_ids: Sequence[str]) -> None:
        table = self._tasks
        for chunk in _chunks(task_ids):
            statement = delete(table).where(table.c.task_id.in_(chunk))
            self._database.run(partial(_done, statement))

    def store_group(
        self,
        group_id: str,
        document: bytes,
        expires: float | None,  # noqa: ARG002 - rows have no life of their own
    ) -> None:
        table = self._groups
        values = {"result": document, "date_done": datetime.now(UTC).replace(tzinfo=None)}

        def write(connection: Connection) -> None:
            here = table.c.taskset_id == group_id
            if connection.execute(select(table.c.id).where(here)).first() is None:
                connection.execute(insert(table).values(taskset_id=group_id, **values))
            else:
                connection.execute(update(table).where(here).values(**values))

        self._database.run(write)

    def fetch_group(self, group_id: str) -> bytes | None:
        table = self._groups
        statement = select(table.c.result).where(table.c.taskset_id == group_id)
        found = self._database.run(lambda connection: connection.execute(statement).scalar())
        return None if found is None else bytes(found)

    def forget_group(self, group_id: str) -> None:
        table = self._groups
        statement = delete(table).where(table.c.taskset_id == group_id)
        self._database.run(partial(_done, statement))

    def clean_up(self, before: datetime) -> int:
        # As Celery writes them: of tasks the wall clock of the app, of groups UTC.
        local, utc = before.replace(tzinfo=None), before.astimezone(UTC).replace(tzinfo=None)
        statements = [
            delete(table).where(table.c.date_done < moment)
            for table, moment in ((self._tasks, local), (self._groups, utc))
        ]

        def remove(connection: Connection) -> int:
            return sum(_done(each, connection) for each in statements)

        return self._database.run(remove)

    def ping(self) -> str:
        return self._database.dialect()

    def close(self) -> None:
        self._database.close()


def _all(statement: Select[Any], connection: Connection) -> Sequence[Any]:
    return connection.execute(statement).all()


def _done(statement: Delete, connection: Connection) -> int:
    return connection.execute(statement).rowcount


def _last_of_each(records: Sequence[ResultRecord]) -> dict[str, ResultRow]:
    """Return the row to write for each id: the last, or the first SUCCESS."""
    found: dict[str, ResultRow] = {}
    for record in records:
        known = found.get(record.task_id)
        if known is None or known.status != "SUCCESS":
            found[record.task_id] = load_row(record.document)
    return found


def _values(row: ResultRow) -> dict[str, Any]:
    values = msgspec.structs.asdict(row)
    if row.date_done is not None:
        values["date_done"] = datetime.fromisoformat(row.date_done)
    return values


def _bound(task_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {"of_task": task_id, **{f"new_{name}": one for name, one in values.items()}}


def _record(task_id: str, columns: Sequence[Any]) -> ResultRecord:
    values = dict(zip((*_ALWAYS, *_EXTENDED), columns, strict=True))
    done = values["date_done"]
    values["date_done"] = None if done is None else done.isoformat()
    for name in ("result", "children", "args", "kwargs", "stamps"):
        if values[name] is not None:
            values[name] = _bytes(values[name])
    state = values["status"] = values["status"] or "PENDING"
    document = dump_row(ResultRow(**values))
    return ResultRecord(
        task_id=task_id, state=state, document=document, final=state in READY_STATES
    )


def _bytes(value: Any) -> bytes:
    """Return what a column holds; tables that somebody else made may have text there."""
    return value.encode() if isinstance(value, str) else bytes(value)


def _utcnow() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


def _chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]

"""What one transaction does to results, groups and what has outlived its time.

Called by ``result_backend.py`` and ``consumer.py`` inside their transactions. Wakes nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from umbel.drivers.sqlite import joins
from umbel.drivers.sqlite.connection import Database
from umbel.drivers.sqlite.statements import SQL
from umbel.model.outcome import ResultRecord

SWEEP_LIMIT = 500
"""Rows that one sweep drops of each kind, so that no transaction is long."""


def store(database: Database, records: Iterable[ResultRecord], now: float) -> None:
    """Write these, except over a SUCCESS."""
    database.executemany(
        SQL["store_result"],
        [
            (
                record.task_id,
                str(record.state),
                record.final,
                None if record.expires is None else now + record.expires,
                record.document,
                record.task_id,
                now,
            )
            for record in records
        ],
    )


def fetch(
    database: Database, task_ids: Sequence[str], now: float
) -> dict[str, tuple[int, ResultRecord]]:
    """Return serial and record of each id that has one."""
    if not task_ids:
        return {}
    rows = database.execute(SQL["fetch_results"], (json.dumps(task_ids), now))
    return {row[1]: (row[0], _record(row)) for row in rows}


def since(
    database: Database, serial: int, task_ids: Iterable[str], now: float
) -> tuple[int, list[tuple[int, ResultRecord]]]:
    """Return the newest serial, and what was stored of ``task_ids`` after ``serial``, in order.

    Reads whichever is less: the rows that are new, or those of the ids.
    """
    (newest,) = database.execute(SQL["last_result"]).fetchone()
    newest = newest or 0
    wanted = task_ids if isinstance(task_ids, dict | set) else set(task_ids)
    if newest <= serial or not wanted:
        return max(newest, serial), []
    if newest - serial > 4 * len(wanted):
        found = sorted(fetch(database, list(wanted), now).values(), key=lambda pair: pair[0])
        return newest, [pair for pair in found if serial < pair[0] <= newest]
    rows = database.execute(SQL["results_since"], (serial, now)).fetchall()
    told = [(row[0], _record(row)) for row in rows if row[1] in wanted]
    # A row stored between the two statements is told now, so the next look begins above it.
    return max(newest, rows[-1][0] if rows else 0), told


def _record(row: tuple[int, str, str, int, bytes]) -> ResultRecord:
    _, task_id, state, final, document = row
    return ResultRecord(task_id=task_id, state=state, document=document, final=bool(final))


def sweep(database: Database, now: float) -> bool:
    """Drop what has expired; True when there may be more."""
    results = database.execute(SQL["drop_old_results"], (now, SWEEP_LIMIT)).rowcount
    groups = database.execute(SQL["drop_old_groups"], (now, SWEEP_LIMIT)).rowcount
    database.execute(SQL["drop_old_revocations"], (now,))
    closed = joins.sweep(database, now, SWEEP_LIMIT)
    return max(results, groups, closed) >= SWEEP_LIMIT

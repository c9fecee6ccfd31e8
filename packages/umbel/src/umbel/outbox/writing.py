"""Writing messages to the outbox, in a transaction of the caller's.

Called by ``app.sending``. Commits nothing: the message is sent once the caller's transaction is
committed, by a relay.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from umbel.drivers.callers_transaction import enlist, wanted
from umbel.drivers.engines import is_missing_table
from umbel.errors import ImproperlyConfigured, InvalidOption
from umbel.model.queues import Outgoing
from umbel.outbox import table as tables


def write(transaction: Any, outgoing: Sequence[Outgoing], *, table: str) -> None:
    """Write a row for each message in the open transaction of the caller's connection.

    Raises InvalidOption where ``transaction`` is nothing known, ImproperlyConfigured where its
    database has no such table. What the connection raises is passed on as it is.
    """
    enlisted = enlist(transaction, tables.DATABASES)
    if enlisted.database not in tables.DATABASES:
        raise InvalidOption(
            f"this connection of {enlisted.whose} talks to {enlisted.database}, which has no "
            f"outbox: a message can be sent in the transaction of {wanted(tables.DATABASES)}"
        )
    statement = tables.INSERT.format(table=tables.checked(table))
    for each in outgoing:
        headers = each.message.headers
        values = {
            "task_id": str(headers.get("id")),
            "task": str(headers.get("task")),
            "queue": each.queue.name,
            "message": tables.packed(each),
            "created_at": time.time(),
        }
        try:
            enlisted.execute(statement, values)
        except Exception as error:
            if not is_missing_table(error):
                raise
            raise ImproperlyConfigured(
                f"your transaction's database has no table {table!r}, the outbox: is it the "
                "database of outbox_url? Make the table with: umbel migrate (or see umbel outbox "
                "sql)"
            ) from error

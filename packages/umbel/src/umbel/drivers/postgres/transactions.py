"""Sending inside a transaction of the caller's: a psycopg, psycopg2, SQLAlchemy or Django one.

``broker.publish_within`` calls it. Whose the transaction is tells ``callers_transaction``.
Commits nothing and opens nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from umbel.drivers.callers_transaction import causes, enlist
from umbel.drivers.postgres import failures, packing
from umbel.drivers.postgres.address import Address
from umbel.drivers.postgres.bells import Bells
from umbel.drivers.postgres.statements import statements
from umbel.errors import ImproperlyConfigured, InvalidOption
from umbel.model.queues import Outgoing
from umbel.wire.envelope import dump_compact

_MISSING = frozenset({"42P01", "3F000"})
_FORBIDDEN = "42501"
_OURS = "postgresql"


def publish_within(
    transaction: Any, address: Address, bells: Bells, outgoing: Sequence[Outgoing]
) -> None:
    """Write the messages on the caller's connection, and ring when it commits."""
    enlisted = enlist(transaction, (_OURS,))
    if enlisted.database != _OURS:
        raise InvalidOption(
            f"this connection of {enlisted.whose} talks to {enlisted.database}, and the messages "
            "rest in PostgreSQL: one transaction cannot hold both (with the setting outbox_url a "
            "row is written there, and sent from it)"
        )
    execute = enlisted.execute
    sql = {name: text.decode() for name, text in statements(address.schema).items()}
    try:
        for each in outgoing:
            values = {
                "queue": packing.text_of(each.queue.name, "a queue's name"),
                "priority": packing.priority_of(each),
                "raw": dump_compact(each.message),
            }
            if each.due_at is None:
                execute(sql["add_one_ready"], values)
            else:
                execute(sql["add_one_delayed"], {**values, "due": each.due_at})
        for bell, _ in bells.of_queues(each.queue.name for each in outgoing):
            execute(sql["ring_at_commit"], {"channel": bell.channel})
    except Exception as error:
        explained = _explained(error, address)
        if explained is None:
            raise
        raise explained from error


def _explained(error: BaseException, address: Address) -> Exception | None:
    """Return our error where the tables are missing or closed to the user; else None."""
    for found in causes(error):
        code = getattr(found, "sqlstate", None) or getattr(found, "pgcode", None)
        if code in _MISSING:
            return ImproperlyConfigured(
                f"your transaction's database has no tables of Umbel in the schema "
                f"{address.schema!r}: is it the broker's database, {address.database!r}? "
                "Make the tables with: umbel migrate"
            )
        if code == _FORBIDDEN:
            return ImproperlyConfigured(failures.not_allowed(address, found))
    return None

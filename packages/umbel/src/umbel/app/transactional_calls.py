"""Sending inside the caller's own transaction: it commits and the message is sent, or neither.

``task.Task`` inherits it. What a transaction may be is said by the driver
(``Broker.publish_within``) or, with ``outbox_url``, by the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from umbel.app import sending

if TYPE_CHECKING:
    from umbel.app.handles import AsyncResult
    from umbel.app.task import Task

P = ParamSpec("P")
R = TypeVar("R")


class TransactionalCalls(Generic[P, R]):
    """The calls of a task that take part in a transaction."""

    def delay_tx(self, transaction: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send it if, and only if, ``transaction`` is committed; the handle is there at once.

        ``transaction`` is the connection or session whose open transaction the message joins: one
        of psycopg or psycopg2, SQLAlchemy's Session or Connection, or Django's connection; with
        ``outbox_url`` also of sqlite3 and of the libraries for MariaDB and MySQL. Nothing is
        committed here. Outside a transaction (autocommit) the message is sent at once.

        Raises what ``delay`` raises; NotSupported where the broker cannot take part;
        InvalidOption for anything that is no such connection.
        """
        return self.apply_async_tx(transaction, args, kwargs)

    def apply_async_tx(
        self,
        transaction: Any,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> AsyncResult[R]:
        """Do as ``delay_tx``, with the options of ``apply_async``."""
        task = cast("Task[P, R]", self)
        plan = task.plan
        if plan.settings.task_always_eager:
            return task.apply_async(args, kwargs, **given)
        checked_args, checked_kwargs = task.checked_call(args, kwargs)
        sent = sending.send_within(plan, transaction, checked_args, checked_kwargs, given)
        return cast("AsyncResult[R]", sent)

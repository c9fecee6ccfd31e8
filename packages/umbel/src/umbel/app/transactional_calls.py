"""Sending with the caller's own transaction: it commits and the message is sent, or neither.

``task.Task`` inherits it. What a transaction may be is said by the driver
(``Broker.publish_within``) or, with ``outbox_url``, by the outbox. Who uses Django may leave it to
Django which transaction that is, and when it has committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from umbel.app import sending
from umbel.errors import ImproperlyConfigured

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

    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Send it when Django's open transaction is committed, and never if it is rolled back.

        Outside a transaction it is sent at once. There is no handle, for the message may never be
        sent: ``delay_tx`` gives one. With ``outbox_url`` this is ``delay_tx``, a row in the
        transaction itself; else the message is sent after the commit, and a process that dies
        between the two, or a broker that is away then, has it lost.

        Raises TaskSignatureMismatch at once, ImproperlyConfigured without Django.
        """
        self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        using: str | None = None,
        **given: Any,
    ) -> None:
        """Do as ``delay_on_commit``, with the options of ``apply_async``.

        ``using``: the name of the database whose transaction is meant; Django's default one.
        """
        task = cast("Task[P, R]", self)
        task.checked_call(args, kwargs)
        database = _django_database()
        settings = task.plan.settings
        if settings.outbox_url is not None and not settings.task_always_eager:
            connection = database.connections[using or database.DEFAULT_DB_ALIAS]
            self.apply_async_tx(connection, args, kwargs, **given)
            return
        database.transaction.on_commit(lambda: task.apply_async(args, kwargs, **given), using=using)


def _django_database() -> Any:
    """Return ``django.db``. Raises ImproperlyConfigured where there is no Django."""
    try:
        return import_module("django.db")
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(
            "delay_on_commit and apply_async_on_commit wait for Django's transactions, and Django "
            "is not installed; with another library take delay_tx(session, ...)"
        ) from error

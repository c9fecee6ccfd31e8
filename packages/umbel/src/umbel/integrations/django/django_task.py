"""Tasks that can wait for the commit of Django's own transaction.

The base class of tasks in a Django project, unless the app or the task names another.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from umbel.app.task import Task

P = ParamSpec("P")
R = TypeVar("R")


class DjangoTask(Task[P, R]):
    """A task that can be sent when the transaction that is open now is committed.

    The call waits in this process: where it dies between the commit and the sending, nothing is
    sent. ``delay_tx(connection)`` has no such gap, where the broker or an outbox is in the same
    database.
    """

    abstract = True

    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Send it with these arguments once the open transaction is committed, at once if none is.

        There is no handle: the id is made when it is sent. Nothing is sent after a rollback.
        """
        self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        using: str | None = None,
        **options: Any,
    ) -> None:
        """Do as ``delay_on_commit``, with the options of ``apply_async``.

        ``using`` is the database whose transaction is meant. Arguments are checked now.
        """
        from django.db import transaction  # noqa: PLC0415 - tasks are defined before Django is up

        checked_args, checked_kwargs = self.checked_call(args, kwargs)
        transaction.on_commit(
            functools.partial(self.apply_async, checked_args, checked_kwargs, **options),
            using=using,
        )

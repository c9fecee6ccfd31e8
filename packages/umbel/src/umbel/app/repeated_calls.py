"""``task.map``, ``task.starmap`` and other less common things a task can do.

The base of ``Task`` for these alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from umbel.app.task_attributes import TaskAttributes
from umbel.errors import UsageError
from umbel.workflows.signature import Signature

if TYPE_CHECKING:
    from umbel.app.context import Context

logger = logging.getLogger("umbel.task")


class RepeatedCalls(TaskAttributes):
    """Calls of one task for many items in one message; and what is not there yet."""

    if TYPE_CHECKING:

        @property
        def request(self) -> Context:
            """The current run."""
            ...

    def map(self, it: Iterable[Any]) -> Signature[list[Any]]:
        """Return one call that runs this task with each item, one after another, in one run.

        Its value is the list of values. The calls within it are plain ones: none of them is
        retried, stored or seen by itself.
        """
        return self._repeated("celery.map", it)

    def starmap(self, it: Iterable[Iterable[Any]]) -> Signature[list[Any]]:
        """Do as ``map``; each item is all the arguments of one call."""
        return self._repeated("celery.starmap", it)

    def _repeated(self, name: str, it: Iterable[Any]) -> Signature[list[Any]]:
        call = Signature[Any](self, app=self.app)
        return Signature(
            name,
            kwargs={"task": dict(call), "it": list(it)},
            options={"route_name": self.name},  # it goes where the task's own messages go
            app=self.app,
            immutable=True,
        )

    def chunks(self, it: Iterable[Any], n: int) -> NoReturn:  # noqa: ARG002 - as it will be
        """Refuse: the parts would be a group, which is not built yet."""
        raise UsageError(
            f"{self.name}.chunks: groups are not built yet in this version. Send the parts by "
            "send_many, or each of them as a starmap."
        )

    def add_to_chord(self, sig: Mapping[str, Any], lazy: bool = False) -> NoReturn:  # noqa: ARG002
        """Refuse: chords are not built yet. Raises ValueError where the run is in none."""
        if not self.request.chord:
            raise ValueError(f"{self.name} does not run in a chord, so nothing can be added to it.")
        raise UsageError(f"{self.name}.add_to_chord: chords are not built yet in this version.")

    def send_event(self, type_: str, **fields: Any) -> None:
        """Tell monitors something about this run; nothing yet, for no monitor can be told.

        A program that calls it works as it will with monitors. A debug line says what was lost.
        """
        logger.debug(
            "Task %s: event %s is not sent, for there is no stream of events yet: %r",
            self.name,
            type_,
            fields,
        )

"""``task.map``, ``task.starmap`` and other less common things a task can do.

The base of ``Task`` for these alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from umbel.app import repeating
from umbel.app.task_attributes import TaskAttributes
from umbel.workflows.canvas import chunks, xmap, xstarmap
from umbel.workflows.signature import Signature

if TYPE_CHECKING:
    from umbel.app.context import Context
    from umbel.app.task import Task


class RepeatedCalls(TaskAttributes):
    """Calls of one task for many items in one message; and calls added to a chord."""

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
        return xmap(Signature[Any](self, app=self.app), it, app=self.app)

    def starmap(self, it: Iterable[Iterable[Any]]) -> Signature[list[Any]]:
        """Do as ``map``; each item is all the arguments of one call."""
        return xstarmap(Signature[Any](self, app=self.app), it, app=self.app)

    def chunks(self, it: Iterable[Iterable[Any]], n: int) -> chunks:
        """Return calls in messages of ``n`` each; an item is all the arguments of one call.

        The value is a list of lists. Raises UsageError where ``n`` is no positive number.
        """
        return chunks(Signature[Any](self, app=self.app), it, n, app=self.app)

    def add_to_chord(self, sig: Mapping[str, Any], lazy: bool = False) -> Any:
        """Have the chord that this run is a member of wait for one call more; return its handle.

        It is sent, and counted, together with the end of this run, and its value comes after those
        of the header. ``lazy``: it is only counted, and returned for you to send. Raises ValueError
        where the run is in no chord.
        """
        return repeating.added_to_chord(cast("Task[..., Any]", self), sig, lazy=lazy)

    def send_event(self, type_: str, **fields: Any) -> None:
        """Tell monitors something about this run: an event of any type and fields.

        It is told at once, whether task events are on or not. Where it cannot be told the run goes
        on, with a line in the log.
        """
        told = {"uuid": self.request.id, **fields}
        self.app.events.tell_quietly(type_, told)

"""map, starmap and chunks: many runs of one task in few messages.

Made by ``task.map``, ``task.starmap`` and ``task.chunks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

from umbel.errors import UsageError
from umbel.wire.signature_dict import read_signature, write_signature
from umbel.workflows.binding import Host, RunHandle
from umbel.workflows.groups import group
from umbel.workflows.joined import Workflow, as_signature
from umbel.workflows.planning import chunks_as_group, read_all
from umbel.workflows.signature import Signature


class _Repeated(Signature[list[Any]]):
    """One message in which a task runs once for each item."""

    task_name: ClassVar[str]

    def __init__(
        self, task: Any, it: Iterable[Any], app: Host | None = None, **options: Any
    ) -> None:
        call = as_signature(task) if isinstance(task, Mapping) else Signature[Any](task)
        kind = type(self)
        kwargs = {"task": dict(call), "it": list(it)}
        # It goes where the task's own messages go.
        options = {"route_name": call.task, **options}
        plain = write_signature(
            kind.task_name, (), kwargs, options, subtask_type=kind.__name__, immutable=True
        )
        dict.__init__(self, plain)
        own = app if app is not None else call._app
        if own is not None:
            self._app = own

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Host | None = None) -> Self:
        """Return the call that this mapping describes. Raises DecodeError."""
        made = cls.__new__(cls)
        dict.__init__(made, read_signature(d))
        if app is not None:
            made._app = app
        return made


@Signature.register_type()
class xmap(_Repeated):  # noqa: N801 - Celery's name
    """One run of a task for each item, one after another in one message: ``task.map(items)``."""

    task_name = "celery.map"

    def __repr__(self) -> str:
        return f"[{self['kwargs']['task']['task']}(x) for x in {self['kwargs']['it']!r}]"


@Signature.register_type()
class xstarmap(_Repeated):  # noqa: N801 - Celery's name
    """As ``xmap``; each item is all the arguments of one run: ``task.starmap(items)``."""

    task_name = "celery.starmap"

    def __repr__(self) -> str:
        return f"[{self['kwargs']['task']['task']}(*x) for x in {self['kwargs']['it']!r}]"


@Signature.register_type()
class chunks(Workflow[list[Any]]):  # noqa: N801 - Celery's name
    """Many runs of a task in few messages of ``n`` runs each: ``task.chunks(items, n)``.

    Each item is all the arguments of one run; the value is a list of lists.
    """

    task_name = "celery.chunks"

    def __init__(
        self, task: Any, it: Iterable[Any], n: int, app: Host | None = None, **options: Any
    ) -> None:
        if type(n) is not int or n < 1:
            raise UsageError(f"chunks takes a number of calls for each message, and got {n!r}.")
        call = as_signature(task) if isinstance(task, Mapping) else Signature[Any](task)
        kwargs = {"task": dict(call), "it": list(it), "n": n}
        super().__init__(
            kwargs, {"route_name": call.task, **options}, app if app is not None else call._app
        )

    def _adopt(self, change: Callable[[Any], Any]) -> None:
        """Its part is a plain mapping, shared by all messages."""

    def parts(self) -> Iterator[Signature[Any]]:
        """It has no parts before it is a group."""
        return iter(())

    def group(self) -> group[Any]:
        """Return it as the group of the messages that it stands for."""
        made = group.from_dict(chunks_as_group(read_all(self)), app=self._app)
        made["options"].pop("task_id", None)
        return made

    def freeze(self, *_: Any, **__: Any) -> RunHandle[list[Any]]:
        """Refuse: the group it stands for can be frozen."""
        raise UsageError("chunks cannot be frozen as they are: freeze their group, chunks.group().")

    def __repr__(self) -> str:
        kwargs = self["kwargs"]
        return f"chunks({kwargs['task']['task']}, {len(kwargs['it'])} calls, {kwargs['n']})"

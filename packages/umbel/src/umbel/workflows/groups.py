"""group: calls side by side. Users make it by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, cast

from umbel.workflows.binding import Host, R, RunHandle
from umbel.workflows.joined import Workflow, as_signature, gathered
from umbel.workflows.signature import Signature

WIDE = 1000
"""A group of more calls is sent in pieces."""


@Signature.register_type()
class group(Workflow[list[R]]):  # noqa: N801 - Celery's name
    """Calls side by side. The value is the list of their values, in their order."""

    task_name = "celery.group"

    def __init__(self, *tasks: Any, app: Host | None = None, **options: Any) -> None:
        """``tasks``: signatures, one by one or in one iterable; ``options``: those of each."""
        if len(tasks) == 1 and isinstance(tasks[0], group):
            options = {**tasks[0].options, **options}
            tasks = tuple(tasks[0].tasks)
        super().__init__({"tasks": [as_signature(one) for one in gathered(tasks)]}, options, app)

    @property
    def tasks(self) -> list[Signature[R]]:
        """The calls, in order."""
        return cast("list[Signature[R]]", self["kwargs"]["tasks"])

    def members(self) -> list[Signature[R]]:
        """Return its calls."""
        return self.tasks

    def _wide(self) -> Self | None:
        return self.empty() if len(self.tasks) > WIDE else None

    def empty(self) -> Self:
        """Return a group without calls that is otherwise this one."""
        kwargs = {**self["kwargs"], "tasks": []}
        parts = {**self, "kwargs": kwargs, "options": dict(self["options"])}
        return self.of_parts(parts, self.own_app())

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunHandle[list[R]]:
        """Send every call; return a GroupResult."""
        _refuse_links(options)
        return super().apply_async(args, kwargs, **options)

    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunHandle[list[R]]:
        """Do as ``apply_async``, without blocking the event loop."""
        _refuse_links(options)
        return await super().aapply_async(args, kwargs, **options)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Delay the calls one after another: by ``start`` seconds, and each by ``step`` more.

        With ``stop`` it begins again at ``start`` whenever it would reach that. Returns itself.
        """
        delays: Iterator[float] = itertools.count(start, step)
        if stop is not None:
            rounds = list(itertools.takewhile(lambda one: one < stop, itertools.count(start, step)))
            delays = itertools.cycle(rounds or [start])
        for one, delay in zip(self.tasks, delays, strict=False):
            one.set(countdown=delay)
        return self

    def link(self, callback: Any) -> Any:
        """Have ``callback`` sent when the first call succeeded, without its value.

        Celery's rule. What is to follow all of them is ``group(...) | callback``.
        """
        return super().link(callback)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> Any:
        return self.tasks[key] if isinstance(key, int | slice) else dict.__getitem__(self, key)

    def __repr__(self) -> str:
        return f"group({', '.join(map(repr, self.tasks))})"


def _refuse_links(options: Mapping[str, Any]) -> None:
    for name in ("link", "link_error"):
        if options.get(name) is not None:
            raise TypeError(
                f"a group takes no {name} when it is sent: give it to the group itself, "
                f"group.{'link' if name == 'link' else 'on_error'}(...), or follow the whole group "
                "by a task, group(...) | task.s()."
            )

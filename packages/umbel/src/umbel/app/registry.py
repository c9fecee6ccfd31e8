"""The tasks of an app by name. Filled by the app; read by everybody."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from umbel.errors import NotRegistered

if TYPE_CHECKING:
    from umbel.app.task import Task

    AnyTask: TypeAlias = Task[..., Any]


class TaskRegistry(dict[str, "AnyTask"]):
    """Name to task: ``app.tasks``."""

    NotRegistered = NotRegistered

    def __missing__(self, name: str) -> AnyTask:
        raise NotRegistered(not_registered(name, self))

    def register(self, task: AnyTask) -> None:
        """Enter a task under its name. Raises ValueError for a task without one."""
        if not task.name:
            raise ValueError(
                f"{type(task).__name__} has no name: set the class attribute `name`, or let "
                "app.register_task give it one."
            )
        self[task.name] = task

    def unregister(self, name: str | AnyTask) -> None:
        """Take a task out, named by its name or by itself. Raises NotRegistered."""
        key = name if isinstance(name, str) else name.name
        if key not in self:
            raise NotRegistered(not_registered(key, self))
        del self[key]

    def regular(self) -> dict[str, AnyTask]:
        """Return the tasks that are not periodic: all of them."""
        return dict(self)


def not_registered(name: object, known: Iterable[str]) -> str:
    """Return the message for a task name that nobody registered."""
    text = f"There is no task {name!r} here"
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    if close:
        return f"{text}: did you mean {close[0]!r}?"
    return (
        f"{text}. Is the module that defines it imported (`include`, `imports`, "
        "autodiscover_tasks), and is its name the one that the sender uses?"
    )

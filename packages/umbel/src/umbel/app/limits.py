"""Limits of tasks that all workers share, as the user writes them: ``Limit``.

Read by ``worker.loading``, which makes of them what the supervisor needs. The stores keep them.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.errors import ImproperlyConfigured

if TYPE_CHECKING:
    from umbel.app.task import Task


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """How many runs at once (``concurrency``), or how many begin in a time (``rate``), on all
    workers together.

    ``rate`` is ``10/s``, ``100/m``, ``5/h`` or a number a second. With ``key`` the limit holds for
    each value of an argument by itself: the name of a parameter, or a path into it with dots
    (``order.customer``). ``name`` is shared by all tasks that give the same; else it is the task's
    own. Immutable.
    """

    concurrency: int | None = None
    rate: str | float | None = None
    key: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if (self.concurrency is None) == (self.rate is None):
            raise ImproperlyConfigured(
                "a Limit takes either concurrency= (how many at once) or rate= (how many begin,"
                " such as '100/m'); give two limits for both"
            )
        if self.concurrency is not None and self.concurrency < 1:
            raise ImproperlyConfigured(
                f"concurrency={self.concurrency}: under a limit at least one must be able to run;"
                " to hold tasks back, pause their queue"
            )


def checked_limits(task: Task[..., Any]) -> tuple[Limit, ...]:
    """Return the limits of a task. Raises ImproperlyConfigured, naming the task."""
    given: Any = task.limits
    limits = (given,) if isinstance(given, Limit) else tuple(given or ())
    for each in limits:
        if not isinstance(each, Limit):
            raise ImproperlyConfigured(
                f"limits of the task {task.name}: {each!r} is no umbel.Limit"
            )
    if sum(each.rate is None for each in limits) > 1 or sum(bool(e.rate) for e in limits) > 1:
        raise ImproperlyConfigured(
            f"limits of the task {task.name}: one of concurrency and one of rate at most; here are"
            f" {len(limits)}"
        )
    return limits


def parameter_of(task: Task[..., Any], key: str) -> tuple[int | None, str | None]:
    """Return the position of the parameter that a key names, and its default as text.

    Raises ImproperlyConfigured where the task has no such parameter.
    """
    function = task.__wrapped__
    parameters = list(inspect.signature(function).parameters.values())
    if task.bound and not inspect.ismethod(function):
        parameters = parameters[1:]
    name = key.partition(".")[0]
    position = 0
    for one in parameters:
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD):
            if one.name == name:
                return position, _default(one)
            position += 1
        elif one.kind is one.KEYWORD_ONLY and one.name == name:
            return None, _default(one)
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return None, None
    known = ", ".join(one.name for one in parameters) or "none"
    raise ImproperlyConfigured(
        f"limits of the task {task.name}: key={key!r} names no parameter; there are {known}"
    )


def _default(one: inspect.Parameter) -> str | None:
    return None if one.default in (one.empty, None) else str(one.default)

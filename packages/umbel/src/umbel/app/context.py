"""What a running task knows about its run (``task.request``), and which run is the current one.

Whoever runs a task pushes its request and pops it afterwards; sending reads the current one to
give messages their parent, and ``AsyncResult.get`` to refuse waiting inside a task. Nothing here
sends, stores or runs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any

from umbel.model.message import TaskMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.app.cancellations import Cancellations

_NO_MESSAGE = TaskMessage(id="", task="")


class Context:
    """One run of a task, as the task sees it: ``self.request``.

    Cheap to make: it holds the message, and what is asked for is derived from it then. Custom
    message headers can be read as attributes. Belongs to the run; changing it changes nothing that
    was sent.
    """

    task: str | None
    id: str
    """None where nothing runs, as everything else here that has no better empty value."""
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    retries: int
    root_id: str | None
    parent_id: str | None
    eta: str | None
    expires: str | None
    timelimit: list[float | None] | None
    time_limit: float | None
    soft_time_limit: float | None
    headers: Mapping[str, Any] | None
    properties: Mapping[str, Any] | None
    group: str | None
    group_index: int | None
    chord: Mapping[str, Any] | None
    chain: list[Mapping[str, Any]] | None
    callbacks: list[Mapping[str, Any]] | None
    errbacks: list[Mapping[str, Any]] | None
    correlation_id: str | None
    reply_to: str | None
    origin: str | None
    ignore_result: bool
    shadow: str | None
    argsrepr: str | None
    kwargsrepr: str | None
    replaced_task_nesting: int
    stamps: Mapping[str, Any] | None
    stamped_headers: Sequence[str] | None
    delivery_info: dict[str, Any] | None
    children: list[Any]
    taskset: str | None

    hostname: str | None = None
    is_eager: bool = False
    called_directly: bool = True
    utc: bool | None = None
    loglevel: int | None = None
    logfile: str | None = None
    queue: str = ""
    _redelivered: bool = False
    additions: Sequence[Any] = ()
    """What this run added to its chord, to be sent with its end."""
    _assignment: int = 0
    _cancellations: Cancellations | None = None

    message: TaskMessage | None = None
    """The message this run came from; None for a plain call."""

    def __init__(self, fields: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        if fields:
            self.__dict__.update(fields)
        self.__dict__.update(more)

    @classmethod
    def from_message(
        cls,
        message: TaskMessage,
        *,
        hostname: str = "",
        delivery_info: dict[str, Any] | None = None,
        is_eager: bool = False,
        called_directly: bool = False,
        queue: str = "",
        redelivered: bool = False,
        assignment: int = 0,
        cancellations: Cancellations | None = None,
    ) -> Context:
        """Return the request of one run of this message.

        ``delivery_info`` has Celery's keys (``exchange``, ``routing_key``, ``priority``,
        ``redelivered``); where it is not given it is made from ``queue`` and ``redelivered`` when
        asked for. ``assignment`` is what ``cancellations`` knows this run by.
        """
        request = cls.__new__(cls)
        fields = request.__dict__
        fields["message"] = message
        fields["id"] = message.id
        fields["args"] = message.args
        fields["kwargs"] = message.kwargs
        fields["hostname"] = hostname
        fields["queue"] = queue
        fields["called_directly"] = called_directly
        if is_eager:
            fields["is_eager"] = True
        if redelivered:
            fields["_redelivered"] = True
        if delivery_info is not None:
            fields["delivery_info"] = delivery_info
        if cancellations is not None:
            fields["_assignment"] = assignment
            fields["_cancellations"] = cancellations
        return request

    @property
    def cancelled(self) -> str | None:
        """Why this run should come to an end (``revoked``, for example), or None."""
        known = self._cancellations
        return None if known is None else known.reason(self._assignment)

    @property
    def shutdown_requested(self) -> bool:
        """Whether the worker that runs it is shutting down."""
        known = self._cancellations
        return known is not None and known.worker_ends()

    def __getattr__(self, name: str) -> Any:
        # Reached only for what is not in __dict__ yet: derive it once and keep it.
        derive = _DERIVED.get(name)
        message = self.message
        if derive is not None:
            value = _WITHOUT_MESSAGE[name]() if message is None else derive(self, message)
            self.__dict__[name] = value
            return value
        if message is not None and name in message.headers:
            return message.headers[name]
        raise AttributeError(
            f"The request of task {self.__dict__.get('task') or (message and message.task)!r} "
            f"has no {name!r}: neither a field nor a custom header of the message."
        )

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field or custom header by name, or the default."""
        return getattr(self, name, default)

    def update(self, fields: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Set fields."""
        self.__dict__.update(fields or {}, **more)

    def clear(self) -> None:
        """Forget everything: afterwards it is the request of no run."""
        self.__dict__.clear()

    def as_execution_options(self) -> dict[str, Any]:
        """Return the options that make another message go the way this one went."""
        message = self.message
        hard, soft = self.timelimit or (None, None)
        return {
            "task_id": self.id,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.chain,
            "link": self.callbacks,
            "link_error": self.errbacks,
            "expires": message.expires if message is not None else self.expires,
            "soft_time_limit": soft,
            "time_limit": hard,
            "headers": self.headers,
            "retries": self.retries,
            "reply_to": self.reply_to,
            "replaced_task_nesting": self.replaced_task_nesting,
            "origin": self.origin,
            "stamps": self.stamps,
            "stamped_headers": self.stamped_headers,
        }

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.__dict__.items() if name != "message"}
        return f"<Context: {shown!r}>"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _timelimit(_: Context, message: TaskMessage) -> list[float | None] | None:
    if message.time_limit is None and message.soft_time_limit is None:
        return None
    return [message.time_limit, message.soft_time_limit]


def _delivery_info(request: Context, message: TaskMessage) -> dict[str, Any]:
    if request.is_eager:
        return {
            "is_eager": True,
            "exchange": None,
            "routing_key": None,
            "priority": message.priority,
        }
    return {
        "exchange": "",
        "routing_key": request.queue,
        "priority": message.priority or 0,
        "redelivered": request._redelivered,
    }


def _custom_headers(_: Context, message: TaskMessage) -> Mapping[str, Any] | None:
    return dict(message.headers) or None


def _listed(value: Sequence[Mapping[str, Any]] | None) -> list[Mapping[str, Any]] | None:
    return None if value is None else list(value)


_DERIVED: Mapping[str, Callable[[Context, TaskMessage], Any]] = {
    "task": lambda _, message: message.task,
    "id": lambda _, message: message.id,
    "args": lambda _, message: message.args,
    "kwargs": lambda _, message: message.kwargs,
    "retries": lambda _, message: message.retries,
    "root_id": lambda _, message: message.root_id,
    "parent_id": lambda _, message: message.parent_id,
    "eta": lambda _, message: _iso(message.eta),
    "expires": lambda _, message: _iso(message.expires),
    "timelimit": _timelimit,
    "time_limit": lambda _, message: message.time_limit,
    "soft_time_limit": lambda _, message: message.soft_time_limit,
    "headers": _custom_headers,
    "properties": lambda _, message: dict(message.properties),
    "group": lambda _, message: message.group_id,
    "taskset": lambda _, message: message.group_id,
    "group_index": lambda _, message: message.group_index,
    "chord": lambda _, message: message.chord,
    "chain": lambda _, message: _listed(message.chain),
    "callbacks": lambda _, message: _listed(message.callbacks),
    "errbacks": lambda _, message: _listed(message.errbacks),
    "correlation_id": lambda _, message: message.correlation_id,
    "reply_to": lambda _, message: message.reply_to,
    "origin": lambda _, message: message.origin,
    "ignore_result": lambda _, message: bool(message.ignore_result),
    "shadow": lambda _, message: message.shadow,
    "argsrepr": lambda _, message: message.argsrepr,
    "kwargsrepr": lambda _, message: message.kwargsrepr,
    "replaced_task_nesting": lambda _, message: message.replaced_task_nesting,
    "stamps": lambda _, message: message.stamps or None,
    "stamped_headers": lambda _, message: message.stamped_headers,
    "delivery_info": _delivery_info,
    "children": lambda _, __: [],
}


def _nothing() -> None:
    return None


_WITHOUT_MESSAGE: Mapping[str, Callable[[], Any]] = {
    **dict.fromkeys(_DERIVED, _nothing),
    "args": tuple,
    "kwargs": dict,
    "retries": int,
    "ignore_result": bool,
    "replaced_task_nesting": int,
    "children": list,
}
"""What each field is in the request of a plain call, or of no run at all."""


# --- which run is the current one -----------------------------------------------------------------


class Running:
    """One task being run in this context, and the run it was called from."""

    __slots__ = ("entered", "previous", "request", "task")

    def __init__(self, task: Any, request: Context, previous: Running | None) -> None:
        self.task = task
        self.request = request
        self.previous = previous
        self.entered = False
        """The base ``Task.__call__`` was reached in this run: a further call is a new one."""


current: ContextVar[Running | None] = ContextVar("umbel.running", default=None)
"""The innermost run. Each thread, coroutine and greenlet has its own."""


def push(task: Any, request: Context) -> Running:
    """Make this run the current one."""
    running = Running(task, request, current.get())
    current.set(running)
    return running


def pop() -> None:
    """Make the run that was current before ``push`` current again."""
    running = current.get()
    if running is not None:
        current.set(running.previous)


def request_of(task: Any) -> Context | None:
    """Return the request of the innermost run of this task here, or None when it does not run."""
    running = current.get()
    while running is not None:
        if running.task is task:
            return running.request
        running = running.previous
    return None


def worker_run() -> Running | None:
    """Return the innermost run that came from a message, skipping plain and eager calls."""
    running = current.get()
    while running is not None:
        request = running.request
        if not request.called_directly and not request.is_eager:
            return running
        running = running.previous
    return None

"""The signals: what a program may watch, and the list of who fires each.

Signals are for watching. What a receiver raises is logged and returned to whoever fired the
signal; it never changes what Umbel does. What must wrap a call is ``ports.Middleware``.

Each signal below says who fires it. Firing costs one truth test while nobody listens:
``if signal.receivers: signal.send(...)``.
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, overload

logger = logging.getLogger("umbel.signals")

F = TypeVar("F", bound=Callable[..., Any])


class _Entry:
    """One connected receiver. ``reference`` returns it, or None once it was collected."""

    __slots__ = ("key", "reference", "sender", "uid")

    def __init__(
        self, key: object, reference: Callable[[], Callable[..., Any] | None], sender: Any
    ) -> None:
        self.key = key
        self.reference = reference
        self.sender = sender


class Signal:
    """Something a program can watch. Any thread may connect, disconnect and send.

    Receivers are called in the order in which they were connected, with ``signal`` and ``sender``
    as keywords beside the signal's own.
    """

    def __init__(self, providing_args: Iterable[str] = (), *, name: str | None = None) -> None:
        self.name = name
        self.providing_args = frozenset(providing_args)
        self.receivers: tuple[_Entry, ...] = ()
        """Who listens; falsy while nobody does. Replaced as a whole, so readers need no lock."""
        self._lock = threading.RLock()

    @overload
    def connect(
        self,
        receiver: F,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: object = None,
        retry: bool = False,
    ) -> F: ...
    @overload
    def connect(
        self,
        receiver: None = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: object = None,
        retry: bool = False,
    ) -> Callable[[F], F]: ...
    def connect(
        self,
        receiver: F | None = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: object = None,
        retry: bool = False,
    ) -> F | Callable[[F], F]:
        """Call ``receiver`` whenever the signal is sent; also a decorator, bare or with options.

        ``sender`` limits it to one sender (text is compared by value, everything else by
        identity). Receivers are held weakly unless ``weak`` is false: a function made inside
        another function needs ``weak=False``, or it is forgotten at once. Connecting the same
        receiver, or the same ``dispatch_uid``, again changes nothing. With ``retry`` a receiver
        that raises is called again, after a growing pause, until it returns. Raises ValueError for
        a receiver that does not take arbitrary keywords.
        """
        if receiver is None:
            return lambda function: self.connect(function, sender, weak, dispatch_uid, retry)
        if not callable(receiver):
            raise TypeError(f"A signal receiver must be callable, and {receiver!r} is not.")
        if not _takes_any_keyword(receiver):
            raise ValueError(
                f"The signal receiver {_name_of(receiver)} must accept arbitrary keywords: "
                "add **kwargs to its parameters, so that it goes on working when a signal "
                "learns to tell more."
            )
        entry = _Entry(
            _key(receiver, sender, dispatch_uid), self._reference(receiver, weak, retry), sender
        )
        with self._lock:
            if all(old.key != entry.key for old in self._alive()):
                self.receivers = (*self._alive(), entry)
        return receiver

    def disconnect(
        self,
        receiver: Callable[..., Any] | None = None,
        sender: Any = None,
        weak: bool | None = None,  # noqa: ARG002 - part of the signature programs call
        dispatch_uid: object = None,
    ) -> bool:
        """Forget a receiver, named as it was when connecting; tell whether it was there."""
        key = _key(receiver, sender, dispatch_uid)
        with self._lock:
            before = self._alive()
            self.receivers = tuple(entry for entry in before if entry.key != key)
            return len(self.receivers) < len(before)

    def has_listeners(self, sender: Any = None) -> bool:
        """Tell whether anybody would be called for this sender."""
        return any(_concerns(entry, sender) for entry in self._alive())

    def send(self, sender: Any, **named: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Call every receiver; return (receiver, its answer or its exception) for each."""
        answers: list[tuple[Callable[..., Any], Any]] = []
        for entry in self.receivers:
            receiver = entry.reference()
            if receiver is None or not _concerns(entry, sender):
                continue
            try:
                answer = receiver(signal=self, sender=sender, **named)
            except Exception as error:
                logger.exception(
                    "The receiver %s of signal %s raised", _name_of(receiver), self.name
                )
                answer = error
            answers.append((receiver, answer))
        return answers

    send_robust = send

    def _alive(self) -> tuple[_Entry, ...]:
        return tuple(entry for entry in self.receivers if entry.reference() is not None)

    def _collected(self, _: object) -> None:
        with self._lock:
            self.receivers = self._alive()

    def _reference(
        self, receiver: Callable[..., Any], weak: bool, retry: bool
    ) -> Callable[[], Callable[..., Any] | None]:
        if not weak:
            kept = _until_it_returns(receiver) if retry else receiver
            return lambda: kept
        bound = getattr(receiver, "__self__", None) is not None and hasattr(receiver, "__func__")
        found: Callable[[], Callable[..., Any] | None] = (
            weakref.WeakMethod(receiver, self._collected)
            if bound
            else weakref.ref(receiver, self._collected)
        )
        if not retry:
            return found

        def retrying() -> Callable[..., Any] | None:
            alive = found()
            return None if alive is None else _until_it_returns(alive)

        return retrying

    def __repr__(self) -> str:
        return f"<Signal: {self.name or 'unnamed'} providing_args={sorted(self.providing_args)}>"


def reraise(answers: Sequence[tuple[Callable[..., Any], Any]]) -> None:
    """Raise the first exception among the answers of a signal whose receivers must not fail."""
    for _, answer in answers:
        if isinstance(answer, Exception):
            raise answer


def _key(receiver: object, sender: Any, uid: object) -> object:
    bound_to = getattr(receiver, "__self__", None)
    who: object
    if uid is not None:
        who = ("uid", uid)
    elif bound_to is not None:
        who = (id(bound_to), id(getattr(receiver, "__func__", receiver)))
    else:
        who = id(receiver)
    return who, sender if isinstance(sender, str) else id(sender)


def _concerns(entry: _Entry, sender: Any) -> bool:
    wanted = entry.sender
    if wanted is None or wanted is sender:
        return True
    # A task stands for its name too: publishing signals are sent by name, the others by task.
    return isinstance(sender, str) and (wanted == sender or getattr(wanted, "name", None) == sender)


def _takes_any_keyword(receiver: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(receiver).parameters.values()
    except (TypeError, ValueError):
        return True  # written in C: it will say so itself
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _until_it_returns(receiver: Callable[..., Any]) -> Callable[..., Any]:
    def repeat(**named: Any) -> Any:
        pause = 0.2
        while True:
            try:
                return receiver(**named)
            except Exception:
                logger.exception(
                    "The signal receiver %s raised; it is called again in %.1f s",
                    _name_of(receiver),
                    pause,
                )
            time.sleep(pause)
            pause = min(pause * 2, 20.0)

    return repeat


def _name_of(receiver: object) -> str:
    return getattr(receiver, "__qualname__", None) or repr(receiver)


def _signal(name: str, *providing_args: str) -> Signal:
    return Signal(providing_args, name=name)


# --- fired where a task is sent: app/sending.py ---------------------------------------------------

before_task_publish = _signal(
    "before_task_publish",
    "body",
    "exchange",
    "routing_key",
    "headers",
    "properties",
    "declare",
    "retry_policy",
)
"""Sender: the task's name. Headers, properties and body may be changed in place."""
after_task_publish = _signal("after_task_publish", "body", "exchange", "routing_key", "headers")
"""Sender: the task's name. The broker holds the message. Not sent for eager calls."""
task_sent = _signal("task_sent", "task_id", "task", "args", "kwargs", "eta", "taskset")
"""The old form of ``after_task_publish``."""

# --- fired around one run, where it runs: app/running.py ------------------------------------------

task_prerun = _signal("task_prerun", "task_id", "task", "args", "kwargs")
task_postrun = _signal("task_postrun", "task_id", "task", "args", "kwargs", "retval", "state")
task_success = _signal("task_success", "result", "runtime")
task_failure = _signal(
    "task_failure", "task_id", "exception", "args", "kwargs", "traceback", "einfo"
)
task_retry = _signal("task_retry", "request", "reason", "einfo")
task_internal_error = _signal(
    "task_internal_error",
    "task_id",
    "args",
    "kwargs",
    "request",
    "exception",
    "traceback",
    "einfo",
)

# --- fired by the worker --------------------------------------------------------------------------

task_received = _signal("task_received", "request")
task_revoked = _signal("task_revoked", "request", "terminated", "signum", "expired")
task_rejected = _signal("task_rejected", "message", "exc")
task_unknown = _signal("task_unknown", "message", "exc", "name", "id")
celeryd_init = _signal("celeryd_init", "instance", "conf", "options")
celeryd_after_setup = _signal("celeryd_after_setup", "instance", "conf")
worker_init = _signal("worker_init")
worker_ready = _signal("worker_ready")
worker_shutting_down = _signal("worker_shutting_down", "sig", "how", "exitcode")
worker_shutdown = _signal("worker_shutdown")
worker_before_create_process = _signal("worker_before_create_process")
worker_process_init = _signal("worker_process_init")
worker_process_shutdown = _signal("worker_process_shutdown", "pid", "exitcode")
heartbeat_sent = _signal("heartbeat_sent")
eventlet_pool_started = _signal("eventlet_pool_started")
eventlet_pool_preshutdown = _signal("eventlet_pool_preshutdown")
eventlet_pool_postshutdown = _signal("eventlet_pool_postshutdown")
eventlet_pool_apply = _signal("eventlet_pool_apply", "target", "args", "kwargs")

# --- fired by whoever sets up logging, finds modules, schedules, or reads the command line --------

import_modules = _signal("import_modules")
"""Sender: the app. Time to import the task modules; what a receiver raises is raised again."""
setup_logging = _signal("setup_logging", "loglevel", "logfile", "format", "colorize")
"""Connecting anything switches Umbel's own logging set-up off."""
after_setup_logger = _signal(
    "after_setup_logger", "logger", "loglevel", "logfile", "format", "colorize"
)
after_setup_task_logger = _signal(
    "after_setup_task_logger", "logger", "loglevel", "logfile", "format", "colorize"
)
beat_init = _signal("beat_init")
beat_embedded_init = _signal("beat_embedded_init")
user_preload_options = _signal("user_preload_options", "app", "options")
test_worker_starting = _signal("test_worker_starting")
test_worker_started = _signal("test_worker_started")
test_worker_stopped = _signal("test_worker_stopped")

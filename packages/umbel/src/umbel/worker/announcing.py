"""The worker's signals, fired where user code may run: in the template, or in a ``solo`` worker.

The supervisor never runs user code; it sends an ``Announce``, and the template fires the signal.
What a receiver raises is logged and changes nothing. Signals of executors
(``worker_process_init`` and its like) are fired here too, by themselves.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.app import signals
from umbel.app.context import Context
from umbel.errors import ImproperlyConfigured, NotRegistered, WireError
from umbel.model.assignment import Notice
from umbel.model.message import EncodedMessage
from umbel.wire import envelope
from umbel.worker.plan import Announce

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.signals import Signal

logger = logging.getLogger("umbel.worker")

_BY_NAME: dict[str, Signal] = {
    "worker_ready": signals.worker_ready,
    "worker_shutdown": signals.worker_shutdown,
}


_ENDS: dict[str, Signal] = {
    "task_revoked": signals.task_revoked,
    "task_unknown": signals.task_unknown,
    "task_rejected": signals.task_rejected,
}


class WorkerFace(msgspec.Struct, frozen=True):
    """What receivers get as sender or ``instance``: which worker of which app speaks.

    The worker itself lives in another process, so there is nothing here to steer it with.
    """

    app: Any
    hostname: str
    """The node name, such as ``celery@host``."""
    options: Any = None
    pid: int = 0
    """The supervisor's."""


def face_of(app: App, node: str, options: Any) -> WorkerFace:
    """Return the face of the worker whose template, or whose only process, this is."""
    solo = options.pool == "solo"
    return WorkerFace(app, node, options, os.getpid() if solo else os.getppid())


def tell_init(face: WorkerFace) -> None:
    """``celeryd_init``: the first of all, before the modules are imported."""
    if signals.celeryd_init.receivers:
        signals.celeryd_init.send(
            sender=face.hostname, instance=face, conf=face.app.conf, options=face.options
        )


def tell_setup(face: WorkerFace) -> None:
    """``celeryd_after_setup`` and ``worker_init``: all is imported, nothing is started."""
    if signals.celeryd_after_setup.receivers:
        signals.celeryd_after_setup.send(sender=face.hostname, instance=face, conf=face.app.conf)
    if signals.worker_init.receivers:
        signals.worker_init.send(sender=face)


def announce(face: WorkerFace, word: Announce) -> None:
    """Fire what the supervisor says happened."""
    if word.name == "worker_shutting_down":
        if signals.worker_shutting_down.receivers:
            signals.worker_shutting_down.send(
                sender=face.hostname, sig=word.sig, how=word.how, exitcode=word.exitcode
            )
        return
    signal = _BY_NAME[word.name]
    if not signal.receivers:
        return
    before = threading.active_count()
    signal.send(sender=face)
    if threading.active_count() > before and face.pid != os.getpid():
        logger.warning(
            "A receiver of %s started a thread. It lives in the process that starts executors:"
            " a lock that it holds when one is started stays locked there",
            word.name,
        )


def listened() -> frozenset[str]:
    """Return the names of the signals of ends that somebody has connected to."""
    return frozenset(name for name, one in _ENDS.items() if one.receivers)


def tell_received(face: WorkerFace, request: Context) -> None:
    """``task_received``: an executor has it, and will run it if nothing comes between."""
    signals.task_received.send(sender=face, request=request)


def tell_notice(face: WorkerFace, notice: Notice, raw: bytes, queue: str) -> None:
    """``task_revoked``, ``task_unknown``, ``task_rejected``: what the supervisor found of it.

    A message that cannot be opened is told with what can be known of it: for ``task_rejected``
    ``message`` is then its bytes.
    """
    try:
        encoded = envelope.load(raw)
    except WireError as error:
        if notice.signal == "task_rejected":
            tell_rejected(face, raw, error)
        return
    if notice.signal == "task_rejected":
        tell_rejected(face, encoded, WireError(notice.why))
        return
    task, task_id = encoded.headers.get("task"), encoded.headers.get("id")
    if notice.signal == "task_unknown":
        unknown = NotRegistered(task)
        signals.task_unknown.send(sender=face, message=encoded, exc=unknown, name=task, id=task_id)
        return
    try:
        message = face.app.decode(encoded)
    except (WireError, ImproperlyConfigured):
        request = Context(id=task_id, task=task, hostname=face.hostname)
    else:
        request = Context.from_message(message, hostname=face.hostname, queue=queue)
    signals.task_revoked.send(
        sender=dict.get(face.app.tasks, task, task),
        request=request,
        terminated=notice.terminated,
        signum=notice.signum,
        expired=notice.expired,
    )


def tell_rejected(face: WorkerFace, message: EncodedMessage | bytes, error: Exception) -> None:
    """``task_rejected``: a message that cannot be read."""
    if signals.task_rejected.receivers:
        signals.task_rejected.send(sender=face, message=message, exc=error)


def tell_before_create_process(face: WorkerFace) -> None:
    """``worker_before_create_process``: in the template, right before an executor is forked."""
    if signals.worker_before_create_process.receivers:
        signals.worker_before_create_process.send(sender=face)


def tell_process_init(face: WorkerFace) -> None:
    """``worker_process_init``: in each executor, before it takes work."""
    if signals.worker_process_init.receivers:
        signals.worker_process_init.send(sender=face.hostname)


def tell_process_shutdown(exitcode: int) -> None:
    """``worker_process_shutdown``: in an executor that ends by itself."""
    if signals.worker_process_shutdown.receivers:
        signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=exitcode)

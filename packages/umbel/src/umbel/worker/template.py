"""The template: the only process that imports the user's app, and the parent of every executor.

Single-threaded from birth to end, so that forking it is safe; the supervisor, which has threads,
never forks. It imports the app, tells the supervisor its plan, and then forks an executor for each
order, handing the child the socket that came with it. It ends when the supervisor does.
"""

from __future__ import annotations

import array
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

from umbel.errors import UmbelError
from umbel.worker.announcing import announce, tell_before_create_process
from umbel.worker.executor import run_executor
from umbel.worker.frames import FrameReader, pack
from umbel.worker.lineage import die_with_parent
from umbel.worker.loading import Loaded
from umbel.worker.plan import Announce, Fork, Forked, Gone, Planned, Quit, TemplateOrder, Unplanned
from umbel.worker.scheduler_keeper import SchedulerKeeper

logger = logging.getLogger("umbel.worker")

# The plain functions, taken before gevent or eventlet replace them: their versions hand children,
# signals and the closing of descriptors to an event loop, and there is none in the template.
_fork = getattr(os, "fork", None)
_waitpid = os.waitpid
_close = os.close
_set_handler = signal.signal


def run_template(
    sock: socket.socket, load: Callable[[], Loaded], *, with_scheduler: bool = False
) -> None:
    """Import the app, send its plan, fork executors on order. Returns at the end; never raises."""
    die_with_parent()
    _ignore_signals()
    try:
        loaded = load()
    except UmbelError as error:
        _send(sock, Unplanned(str(error), getattr(error, "exit_code", 1)))
        return
    except SystemExit as error:
        _send(sock, Unplanned(f"the app called exit({error.code!r}) while it was imported", 1))
        return
    except BaseException:  # noqa: BLE001 - whatever a module does when it is imported
        _send(sock, Unplanned(traceback.format_exc(), 1))
        return
    if threading.active_count() > 1:
        names = ", ".join(t.name for t in threading.enumerate() if t is not threading.main_thread())
        loaded.warn(
            f"importing the app started threads ({names}); they do not exist in the executors,"
            " and a lock that one of them holds now stays locked there: start them in a"
            " worker_process_init handler instead"
        )
    _send(sock, Planned(loaded.plan))
    # Before the handler of SIGCHLD is set: the keeper is no executor.
    keeper = SchedulerKeeper(loaded.app, let_go=sock.close) if with_scheduler else None
    # What tasks send is prepared in executors: without this each of them would import the driver
    # for itself, in the middle of its first retry. What is wrong with the URL the supervisor says.
    with contextlib.suppress(UmbelError):
        _ = loaded.app.connections.sending_broker
    _Template(sock, loaded).serve()
    if keeper is not None:
        keeper.stop()


class _Template:
    """Forks on order and reaps."""

    def __init__(self, sock: socket.socket, loaded: Loaded) -> None:
        self._sock = sock
        self._loaded = loaded
        self._reader: FrameReader[TemplateOrder] = FrameReader(TemplateOrder)
        self._children: set[int] = set()
        self._descriptors: deque[int] = deque()
        """Sockets of executors that are not forked yet."""
        self._index = 0

    def serve(self) -> None:
        # What was imported is never collected, so collecting must not touch (and so copy) its
        # pages in every executor.
        gc.collect()
        gc.freeze()
        _set_handler(signal.SIGCHLD, self._reap)
        while True:
            data = self._receive()
            if not data:
                return
            for order in self._reader.feed(data):
                match order:
                    case Fork():
                        self._fork(order, self._descriptors.popleft())
                    case Announce():
                        announce(self._loaded.face, order)
                    case Quit():
                        return

    def _receive(self) -> bytes:
        # recvmsg on the plain socket type: gevent and eventlet replace the methods that wait.
        size = socket.CMSG_SPACE(16 * array.array("i").itemsize)
        try:
            data, ancillary, _, _ = self._sock.recvmsg(65_536, size)
        except OSError:
            return b""
        descriptors = array.array("i")
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(payload[: len(payload) - len(payload) % 4])
        for descriptor in descriptors:
            # A program that a task starts must not keep its executor's socket open.
            os.set_inheritable(descriptor, False)
        self._descriptors.extend(descriptors)
        return data

    def _fork(self, order: Fork, descriptor: int) -> None:
        self._index += 1
        tell_before_create_process(self._loaded.face)
        # A child may end before it is written down: hold its SIGCHLD back until it is.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        assert _fork is not None
        try:
            pid = _fork()
            if pid == 0:
                self._become_executor(descriptor)
            self._children.add(pid)
            _send(self._sock, Forked(order.seat, pid))
        except OSError as error:
            # The supervisor sees the line end at once, and tries again later.
            logger.error("No executor can be forked: %s", error)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            _close(descriptor)

    def _become_executor(self, descriptor: int) -> None:
        """Never returns: whatever happens, the child must not go on as a second template."""
        code = 1
        try:
            _set_handler(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            self._sock.close()
            for other in self._descriptors:  # or its socket would outlive it in this process
                _close(other)
            code = run_executor(self._loaded, descriptor, self._index)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:  # noqa: BLE001 - the last stop before the process ends
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self, _number: int, _frame: FrameType | None) -> None:
        for pid in list(self._children):
            try:
                ended, status = _waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                self._children.discard(pid)
                continue
            if ended:
                self._children.discard(pid)
                _send(self._sock, Gone(pid, os.waitstatus_to_exitcode(status)))


def _send(sock: socket.socket, word: Any) -> None:
    try:
        sock.sendall(pack((word,)))
    except OSError:
        pass  # the supervisor is gone; the next read says so


def _ignore_signals() -> None:
    """The supervisor decides when to end. A handler, not SIG_IGN: programs that tasks start must
    not inherit a deaf ear."""

    def nothing(_number: int, _frame: FrameType | None) -> None: ...

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(number, nothing)

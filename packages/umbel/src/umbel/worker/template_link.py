"""The supervisor's end of the line to the template process.

Sends fork orders, with the new executor's socket as a file descriptor, and hears what became of
them. Belongs to the supervisor's main thread.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Sequence

from umbel.errors import ImproperlyConfigured, UmbelError
from umbel.worker.frames import FrameReader, pack, read_some
from umbel.worker.plan import Announce, Fork, Planned, Quit, TemplateWord, Unplanned, WorkerPlan


class TemplateGone(UmbelError):
    """The template process ended; no executor can be started any more."""


class TemplateFailed(ImproperlyConfigured):
    """The app could not be imported or configured. The text is for the person who started it."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class TemplateLink:
    """One template, heard and ordered about over one socket."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.sock = sock
        self.pid = pid
        self._reader: FrameReader[TemplateWord] = FrameReader(TemplateWord)

    def plan(self) -> WorkerPlan:
        """Wait until the app is imported and return what it says.

        Raises TemplateFailed with the reason, or TemplateGone when the process died.
        """
        while True:
            for word in self.hear():
                match word:
                    case Planned(plan=plan):
                        self.sock.setblocking(False)
                        return plan
                    case Unplanned(text=text, exit_code=code):
                        raise TemplateFailed(text, code)
                    case _:
                        pass

    def hear(self) -> Sequence[TemplateWord]:
        """Return what the template said. Raises TemplateGone."""
        data = read_some(self.sock)
        if data is None:
            return ()
        if not data:
            raise TemplateGone(
                "the process that imports the app ended unexpectedly"
                " (killed, out of memory, or the app called exit); see its last log lines"
            )
        return self._reader.feed(data)

    def fork(self, seat: int, theirs: socket.socket) -> bool:
        """Order one executor. False when too many orders wait already. Raises TemplateGone."""
        frame = pack((Fork(seat),))
        try:
            socket.send_fds(self.sock, [frame], [theirs.fileno()])
            return True
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:
                return False
            raise TemplateGone("the process that starts executors is gone") from error

    def announce(self, word: Announce) -> None:
        """Have one of the worker's signals fired."""
        self._send(word)

    def quit(self, timeout: float = 0.0) -> None:
        """Let the template end, and wait for it so long: receivers of signals may have to finish.

        It dies with this process in any case.
        """
        self._send(Quit())
        deadline = time.monotonic() + timeout
        self.sock.setblocking(True)
        while (left := deadline - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                if not self.sock.recv(65_536):
                    break
            except OSError:
                break
        self.sock.close()

    def _send(self, word: Announce | Quit) -> None:
        try:
            self.sock.send(pack((word,)))
        except OSError:
            pass  # gone already

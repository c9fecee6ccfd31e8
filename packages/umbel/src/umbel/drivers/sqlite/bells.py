"""How processes that share one database file wake each other: a named pipe for each who waits.

Called by the consumers and watchers (who wait) and by everybody who has committed something (who
rings). Measured against polling, inotify and sockets in
docs/design/0004-how-sqlite-processes-wake-each-other.md.

The pipes lie in a directory beside the database file, named ``<what for>-<pid>-<random>``. A bell
is only a hint: who is rung looks into the database, and who hears nothing looks now and then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from enum import Enum
from pathlib import Path

from umbel.drivers.selfpipe import SelfPipe

LOOK_ANYWAY = 1.0
"""Seconds between looks where bells work: covers a process that died between commit and ring."""
LOOK_WITHOUT_BELLS = 0.01
"""The same where the file system has no named pipes."""


class Interest(Enum):
    """What a bell is rung for."""

    MESSAGES = "m"
    RESULTS = "r"
    NOTICES = "n"


def directory_of(database: Path) -> Path:
    """Return where the bells of a database file lie."""
    return database.with_name(database.name + "-bells")


def ring(database: Path, interest: Interest, *, but: str = "") -> None:
    """Wake who waits for this, in any process, except the bell named ``but``.

    Never fails and never waits: a bell that cannot be rung is one whose owner looks by itself.
    Takes away the bells of processes that have died.
    """
    try:
        entries = os.listdir(directory_of(database))
    except OSError:
        return  # nobody has ever waited here
    for name in entries:
        if name[0] == interest.value and name != but:
            _ring_one(os.path.join(directory_of(database), name))


def _ring_one(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nobody reads: its process is dead
            # Race: a bell gets its final name only once it is open for reading (Bell), so one
            # without a reader has lost it for good; and names are random, so none is used again.
            with contextlib.suppress(OSError):
                os.unlink(path)
        return
    with contextlib.suppress(OSError):  # full: it has rung already
        os.write(descriptor, b"!")
    os.close(descriptor)


class Bell:
    """One thread's bell: rung by other processes, and by this one through ``wake``.

    Belongs to the thread that waits; ``wake`` may be called by any thread and signal handlers.
    """

    def __init__(self, database: Path, interest: Interest) -> None:
        self._directory = directory_of(database)
        self.name = f"{interest.value}-{os.getpid()}-{secrets.token_hex(6)}"
        self._pid = os.getpid()
        self._descriptor = self._hang()
        self._pipe = SelfPipe(*([] if self._descriptor is None else [self._descriptor]))
        self.patience = LOOK_WITHOUT_BELLS if self._descriptor is None else LOOK_ANYWAY
        """The longest one should wait before looking into the database all the same."""

    def _hang(self) -> int | None:
        hidden = self._directory / f".{self.name}"
        for _ in range(5):
            try:
                self._directory.mkdir(exist_ok=True)
                os.mkfifo(hidden, 0o660)
                # For writing too: else the pipe reads as ended whenever no one has it open.
                descriptor = os.open(hidden, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                os.rename(hidden, self._directory / self.name)
            except FileNotFoundError:
                continue  # the last to leave took the directory away in between
            except (OSError, AttributeError):  # no named pipes in this file system or platform
                return None
            return descriptor
        return None

    def wait(self, timeout: float) -> None:
        """Wait until rung or woken; at most ``timeout`` seconds. Rings are used up."""
        for descriptor in self._pipe.wait(timeout):
            with contextlib.suppress(BlockingIOError):
                while len(os.read(descriptor, 4096)) == 4096:
                    pass

    def wake(self) -> None:
        """End the current or the next wait. Any thread and signal handlers may call it."""
        self._pipe.ring()

    def close(self) -> None:
        """Take the bell away. May be called twice; in a forked child it leaves the parent's."""
        self._pipe.close()
        if self._descriptor is None:
            return
        os.close(self._descriptor)
        self._descriptor = None
        if self._pid == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(self._directory / self.name)
                os.rmdir(self._directory)  # only the last one finds it empty

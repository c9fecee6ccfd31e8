"""What tasks write down outside of every queue: one file a process, one write a line.

Runs in the interpreters of the peers, so it knows only the standard library. A line that was
written outlives ``kill -9``: the kernel has it. Read by ``torture.journal``.
"""

import os
import threading
import time

_file = None
_owner = 0
_opening = threading.Lock()


def note(letter, number, step):
    """Write ``B`` (begun) or ``E`` (ended) for one run, with the machine's monotonic time."""
    if os.getpid() != _owner:
        with _opening:
            _open()
    os.write(_file, f"{letter} {number} {step} {time.monotonic():.6f}\n".encode())


def _open():
    global _file, _owner  # noqa: PLW0603 - one file for each process
    owner = os.getpid()
    if owner != _owner:
        name = f"{os.environ['TORTURE_WORKER']}.{owner}.{time.monotonic_ns()}"
        path = os.path.join(os.environ["TORTURE_JOURNAL"], name)
        _file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        _owner = owner  # last: other threads look at it without the lock

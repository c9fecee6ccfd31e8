"""What the kernel says of processes: who descends from whom, CPU spent, memory held.

Called by ``scenarios``. Linux only: it reads ``/proc``. It starts workers and ends only those.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

PROC = Path("/proc")
STOP_SECONDS = 5.0


def descendants(roots: Iterable[int]) -> list[int]:
    """Return these processes and all that came from them, the roots first."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                # The name in parentheses may hold anything; the parent is the second word after it.
                words = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(words[1]), []).append(int(entry.name))
    found: list[int] = []
    todo = list(roots)
    while todo:
        pid = todo.pop(0)
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_of_each(pids: Iterable[int]) -> dict[int, float]:
    """Return the CPU seconds each process has spent, to the nanosecond, in its living threads."""
    spent: dict[int, float] = {}
    for pid in pids:
        nanoseconds = 0
        with contextlib.suppress(OSError):
            for thread in (PROC / str(pid) / "task").iterdir():
                with contextlib.suppress(OSError):
                    nanoseconds += int((thread / "schedstat").read_text().split()[0])
        spent[pid] = nanoseconds / 1e9
    return spent


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU seconds these processes have spent together."""
    return sum(cpu_of_each(pids).values())


def pss_bytes(pids: Iterable[int]) -> int:
    """Return the memory of these processes, each shared page divided by those who share it."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


class Worker:
    """The worker processes of one peer, started together and ended together."""

    def __init__(
        self, commands: Sequence[Sequence[str]], environment: Mapping[str, str], log: Path
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.started = [
                subprocess.Popen(
                    command,
                    env=dict(environment),
                    cwd=environment["BENCH_HOME"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                for command in commands
            ]

    def pids(self) -> list[int]:
        """Return every process of the worker that is alive."""
        return descendants(process.pid for process in self.started)

    def check_alive(self) -> None:
        """Raise RuntimeError with the end of its log when a process has ended."""
        for process in self.started:
            if process.poll() is not None:
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
                raise RuntimeError(f"the worker ended with status {process.returncode}:\n{tail}")

    def stop(self) -> None:
        """End it: politely, and after five seconds for good."""
        everyone = self.pids()
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in self.started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for pid in everyone:
            if self._ours(pid):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait()

    def _ours(self, pid: int) -> bool:
        """Whether a process still belongs to a session we started (pids are used again)."""
        with contextlib.suppress(OSError):
            return os.getsid(pid) in {process.pid for process in self.started}
        return False

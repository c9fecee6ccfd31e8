"""The processes under torture: a worker with everything that it forks, and the sender.

Called by ``arena``. Every worker runs in a session of its own, so that all that came from it can be
killed or stopped at once, like a machine, and nothing else is hit.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

PROGRAMS = Path(__file__).parent / "programs"


class Worker:
    """One start of one worker."""

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        environment: Mapping[str, str],
        home: Path,
        *,
        template: bool,
    ) -> None:
        self.name = name
        self.log = home / f"{name}.log"
        self._ready = home / f"{name}.ready"
        self._template = template
        """Whether executors are grandchildren (by way of the template) rather than children."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                words,
                env={**environment, "TORTURE_WORKER": name},
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.status: int | None = None

    @property
    def pid(self) -> int:
        """The supervisor."""
        return self._process.pid

    def template(self) -> int | None:
        """Return the process that imported the app and forks, where there is one."""
        found = children(self.pid) if self._template else []
        return found[0] if found else None

    def executors(self) -> list[int]:
        """Return the processes that run tasks."""
        if not self._template:
            return children(self.pid)
        template = self.template()
        return children(template) if template is not None else []

    def everyone(self) -> list[int]:
        """Return every process of its session, the supervisor first."""
        return [self.pid, *(each for each in session(self.pid) if each != self.pid)]

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        if self.alive():
            send_signal(self.pid, number)

    def signal_all(self, number: int) -> None:
        """Send a signal to every process of the worker at once."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def alive(self) -> bool:
        """Whether the supervisor lives; reaps it where it has ended."""
        self.status = self._process.poll()
        return self.status is None

    def ready(self) -> bool:
        """Whether it has said that it claims tasks."""
        return self._ready.exists()

    def end(self, timeout: float) -> bool:
        """Ask it to end, kill it after ``timeout`` seconds; return whether that was needed."""
        self.signal_all(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        killed = False
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            killed = True
        for pid in session(self.pid):
            send_signal(pid, signal.SIGKILL)
        self._process.wait()
        self.status = self._process.returncode
        return killed


class Sender:
    """The client: a process in the peer's interpreter that sends calls and says what came of it."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], home: Path) -> None:
        self.log = home / "sender.log"
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(
            words,
            env=dict(environment),
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            text=True,
        )
        self._said: SimpleQueue[list[str]] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        words_said = self._said.get(timeout=60)
        if words_said != ["ready"]:
            raise RuntimeError(f"torture: the sender did not start; see {self.log}")

    def send(self, words: Mapping[str, Any]) -> None:
        """Hand over one order. Waits while the sender is far behind (a full pipe)."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def said(self) -> list[list[str]]:
        """Return what it said since the last call. Raises RuntimeError when it has died."""
        found: list[list[str]] = []
        with contextlib.suppress(Empty):
            while True:
                found.append(self._said.get_nowait())
        if [] in found:
            raise RuntimeError(f"torture: the sender ended; see {self.log}")
        return found

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._reader.join(5)
        for stream in (self._process.stdin, self._process.stdout, self._output):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line.split())
        self._said.put([])


def send_signal(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def children(pid: int) -> list[int]:
    """Return the children of a process, oldest first."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(each) for each in text.split()]
    return []


def session(leader: int) -> list[int]:
    """Return the living processes of the session that ``leader`` began."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                # The name in parentheses may hold anything; state, parent, group, session follow.
                words = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(words[3]) == leader and words[0] != "Z":
                    found.append(int(entry.name))
    return sorted(found)


def memory(pid: int) -> tuple[int, int]:
    """Return the bytes of a process that are resident, and those that are its own (USS)."""
    resident = own = 0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "Rss":
                resident = int(rest.split()[0]) * 1024
            elif name in ("Private_Clean", "Private_Dirty"):
                own += int(rest.split()[0]) * 1024
    return resident, own

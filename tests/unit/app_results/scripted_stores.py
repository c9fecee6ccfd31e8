"""Ports whose misfortunes a test decides: a publisher, and a result backend over the memory one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from umbel.drivers.memory import MemoryDriver
from umbel.drivers.memory.broker import MemoryBroker
from umbel.model.message import EncodedMessage
from umbel.model.outcome import ResultRecord
from umbel.model.queues import Outgoing, Queue
from umbel.ports import Publisher, ResultBackend, Watcher


def outgoing(task_id: str = "id-1", task: str = "tasks.add") -> Outgoing:
    message = EncodedMessage(
        headers={"id": task_id, "task": task},
        properties={},
        body=b"[]",
        content_type="application/json",
        content_encoding="utf-8",
    )
    return Outgoing(message=message, queue=Queue(name="celery"))


def ids(batch: Sequence[Outgoing]) -> list[str]:
    return [str(one.message.headers["id"]) for one in batch]


class ScriptedBroker(MemoryBroker):
    """A broker whose publishers do what the script says, one entry for each call.

    An entry is None (all is well), an exception to raise, or a function to call with the batch.
    Past its end all is well.
    """

    def __init__(self, *script: BaseException | Callable[[Sequence[Outgoing]], None] | None):
        super().__init__(MemoryDriver().broker().memory)
        self.script = list(script)
        self.batches: list[list[str]] = []
        self.threads: list[str] = []
        self.timeouts: list[float] = []
        self.opened = 0
        self.closed = 0

    def open_publisher(self) -> Publisher:  # type: ignore[override]  # a publisher all the same
        self.opened += 1
        return ScriptedPublisher(self)


class ScriptedPublisher(Publisher):
    def __init__(self, broker: ScriptedBroker) -> None:
        self._broker = broker

    def publish(self, outgoing: Sequence[Outgoing], *, timeout: float) -> None:
        self._broker.batches.append(ids(outgoing))
        self._broker.timeouts.append(timeout)
        self._broker.threads.append(threading.current_thread().name)
        step = self._broker.script.pop(0) if self._broker.script else None
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            step(outgoing)

    def close(self) -> None:
        self._broker.closed += 1


class Blockade:
    """A step of the script that waits until the test lets it go on."""

    def __init__(self, then: BaseException | None = None) -> None:
        self.reached = threading.Event()
        self.released = threading.Event()
        self._then = then

    def __call__(self, batch: Sequence[Outgoing]) -> None:
        self.reached.set()
        assert self.released.wait(20)
        if self._then is not None:
            raise self._then


class FragileBackend(ResultBackend):
    """The memory result backend, with connections that a test can cut."""

    def __init__(self) -> None:
        self.inner = MemoryDriver().result_backend()
        self.watchers: list[FragileWatcher] = []
        self.refuse: Exception | None = None
        """Raised by everything, while set."""
        self.receiving = threading.Semaphore(0)
        """Released each time a watcher begins to wait."""

    def _check(self) -> None:
        if self.refuse is not None:
            raise self.refuse

    def store(self, records: Sequence[ResultRecord]) -> None:
        self.inner.store(records)

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        self._check()
        return self.inner.fetch(task_ids)

    def open_watcher(self) -> Watcher:
        self._check()
        watcher = FragileWatcher(self)
        self.watchers.append(watcher)
        return watcher

    def forget(self, task_ids: Sequence[str]) -> None:
        self.inner.forget(task_ids)

    def store_group(self, group_id: str, document: bytes, expires: float | None) -> None:
        self.inner.store_group(group_id, document, expires)

    def fetch_group(self, group_id: str) -> bytes | None:
        return self.inner.fetch_group(group_id)

    def forget_group(self, group_id: str) -> None:
        self.inner.forget_group(group_id)

    def ping(self) -> str:
        return self.inner.ping()

    def close(self) -> None:
        self.inner.close()


class FragileWatcher(Watcher):
    """Counts what it is asked, and breaks when told to."""

    def __init__(self, backend: FragileBackend) -> None:
        self._backend = backend
        self._inner = backend.inner.open_watcher()
        self.cut: Exception | None = None
        self.deaf = False
        self.watched: list[list[str]] = []
        self.unwatched: list[str] = []
        self.threads: list[str] = []
        self.closed = False

    def break_with(self, error: Exception) -> None:
        self.cut = error
        self._inner.wake()

    def watch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        self._backend._check()
        self.watched.append(sorted(task_ids))
        return self._inner.watch(task_ids)

    def unwatch(self, task_ids: Sequence[str]) -> None:
        self.unwatched.extend(task_ids)
        self._inner.unwatch(task_ids)

    def receive(self, timeout: float) -> Sequence[ResultRecord]:
        self.threads.append(threading.current_thread().name)
        self._backend.receiving.release()
        records = self._inner.receive(timeout)
        if self.cut is not None:
            raise self.cut
        return () if self.deaf else records

    def wake(self) -> None:
        self._inner.wake()

    def close(self) -> None:
        self.closed = True
        self._inner.close()


def run_script(script: str) -> None:
    """Run a program in a fresh interpreter that finds what this one finds; fail if it fails."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(one or os.getcwd() for one in sys.path)},
        timeout=50,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

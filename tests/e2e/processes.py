"""Processes that a test starts, listens to and ends; among them a Redis server of its own."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

PATIENCE = 30.0


class Program:
    """A running program whose output is read as it comes. Ended when the ``with`` block is left."""

    def __init__(
        self, words: Sequence[str], *, cwd: Path, env: Mapping[str, str], group: bool = False
    ) -> None:
        self.words = list(words)
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            self.words,
            cwd=cwd,
            env=dict(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=group,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._closed = False

    @property
    def output(self) -> str:
        """Everything it printed so far."""
        with self._news:
            return "".join(self._lines)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, pattern: str, *, timeout: float = PATIENCE, count: int = 1) -> str:
        """Return the output once ``pattern`` is in it ``count`` times; fail with the output."""
        deadline = time.monotonic() + timeout
        with self._news:
            while len(re.findall(pattern, "".join(self._lines))) < count:
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    how = "ended" if self._closed else f"ran {timeout} s"
                    raise AssertionError(
                        f"{' '.join(self.words)} {how} without printing {pattern!r} "
                        f"{count} time(s). It printed:\n{''.join(self._lines)}"
                    )
                self._news.wait(left)
            return "".join(self._lines)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return the exit code; fail with the output when it does not end."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{' '.join(self.words)} does not end:\n{self.output}") from None
        self._reader.join(PATIENCE)
        return status

    def end(self) -> int:
        """Ask it to end, as a service manager would; return the exit code."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process.poll() is None:
                self.signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(10)
                if self._process.poll() is None:
                    self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()
        with self._news:
            self._closed = True
            self._news.notify_all()


class RedisServer:
    """A Redis server on a free port, without persistence, gone at the end."""

    def __init__(self, password: str | None = None) -> None:
        self.password = password
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._home = tempfile.TemporaryDirectory(prefix="umbel-redis-")
        words = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        words += ["--appendonly", "no", "--dir", self._home.name]
        words += ["--requirepass", password] if password else []
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)

    def url(self, database: int) -> str:
        """Return the address of one database."""
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> RedisServer:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except ConnectionRefusedError:
                time.sleep(0.02)  # the server tells nobody when it begins to listen
            else:
                return self
        raise AssertionError("redis-server does not listen")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._home.cleanup()

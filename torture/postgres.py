"""A PostgreSQL server of our own: a temporary directory, a free port, an unprivileged user.

``torture.stores`` and the tests start it, and do to it what they like: kill, freeze, promote.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

START_SECONDS = 60.0
END_SECONDS = 20.0
_USERS = ("postgres", "nobody")
"""Who runs it where we are root, which PostgreSQL refuses to be run by."""


def binaries() -> Path | None:
    """Return the directory of the newest server's programs here, or None."""
    places = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda place: int(place.parent.name) if place.parent.name.isdigit() else 0,
    )
    in_path = shutil.which("initdb")
    places += [Path(in_path).resolve().parent] if in_path else []
    found = [place for place in places if (place / "initdb").exists()]
    return found[-1] if found else None


class PrivatePostgres:
    """One server. ``stop`` and ``start`` as often as wanted; ``close`` leaves nothing behind."""

    def __init__(
        self, *settings: str, password: str = "", standby_of: PrivatePostgres | None = None
    ) -> None:
        """``settings``: such as ``max_connections=7``. Raises RuntimeError without the programs."""
        found = binaries()
        if found is None:
            raise RuntimeError(
                "no PostgreSQL server here: no initdb in PATH or /usr/lib/postgresql"
            )
        self._programs = found
        self._user = _unprivileged()
        self._home = Path(tempfile.mkdtemp(prefix="umbel-postgres-"))
        if self._user is not None:
            shutil.chown(self._home, self._user)
        self.password = password
        self.port = _free_port()
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._copy(standby_of) if standby_of is not None else self._make()

    def _make(self) -> None:
        words = ["initdb", "-D", self._data, "-U", "postgres", "--no-sync", "-E", "UTF8"]
        if self.password:
            secret = self._home / "password"
            secret.write_text(self.password, encoding="utf-8")
            secret.chmod(0o644)
            words += ["--auth=scram-sha-256", f"--pwfile={secret}"]
        else:
            words += ["--auth=trust"]
        self._run(*words)

    def _copy(self, primary: PrivatePostgres) -> None:
        self.password = primary.password
        self._run(
            "pg_basebackup", "-d", primary.url("postgres"), "-D", self._data, "-R", "--no-sync"
        )

    @property
    def _data(self) -> str:
        return str(self._home / "data")

    def _run(self, *words: str) -> None:
        done = subprocess.run(
            [str(self._programs / words[0]), *words[1:]],
            user=self._user,
            extra_groups=[] if self._user is not None else None,
            cwd=self._home,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{words[0]} failed: {done.stderr.strip()}")

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Return the address of a database, through another port where there is a network."""
        secret = f":{self.password}" if self.password else ""
        return f"postgresql://postgres{secret}@127.0.0.1:{port or self.port}/{database}"

    # --- life and death ---------------------------------------------------------------------------

    def start(self) -> PrivatePostgres:
        """Start it (again), and return when it answers."""
        settings = (f"port={self.port}", "listen_addresses=127.0.0.1", "fsync=off")
        words = [str(self._programs / "postgres"), "-D", self._data, "-k", str(self._home)]
        for setting in (*settings, *self._settings):
            words += ["-c", setting]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                words,
                user=self._user,
                extra_groups=[] if self._user is not None else None,
                cwd=self._home,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._home / "log").read_text(errors="replace").splitlines()[-5:]
                raise RuntimeError("the PostgreSQL server does not start: " + " / ".join(said))
            time.sleep(0.02)
        return self

    def _answers(self) -> bool:
        done = subprocess.run(
            [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)],
            check=False,
        )
        return done.returncode == 0

    @property
    def pid(self) -> int:
        """The server's first process."""
        assert self._process is not None
        return self._process.pid

    def everyone(self) -> list[int]:
        """Return the ids of all of its processes."""
        found = [self.pid]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    state = (entry / "stat").read_text(errors="replace").rpartition(")")[2]
                    if int(state.split()[1]) == self.pid:
                        found.append(int(entry.name))
        return found

    def _signal_all(self, number: int) -> None:
        for pid in self.everyone():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """SIGKILL for every process of it at once: what was not written to the kernel is gone."""
        assert self._process is not None
        everyone = self.everyone()
        for pid in everyone:  # the first process first: it starts no other one
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + END_SECONDS
        while any(Path(f"/proc/{pid}").exists() for pid in everyone[1:]):
            if time.monotonic() > deadline:
                raise RuntimeError("the PostgreSQL server outlives SIGKILL")
            time.sleep(0.005)

    def stop(self, *, immediate: bool = False) -> None:
        """End it: ``fast``, sessions are ended politely, or ``immediate``, as ``pg_ctl`` says."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        self._process.wait(END_SECONDS)

    def freeze(self, frozen: bool = True) -> None:
        """Stop every process of it without closing anything, or let them go on."""
        self._signal_all(signal.SIGSTOP if frozen else signal.SIGCONT)

    def promote(self) -> None:
        """Make a standby the primary; return when it takes writes."""
        self._run("pg_ctl", "promote", "-D", self._data, "-w")

    def close(self) -> None:
        """End it and remove its files."""
        if self._process is not None and self._process.poll() is None:
            self.freeze(frozen=False)
            self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    @contextlib.contextmanager
    def admin(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        """Give a session of the owner for the block."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=10) as session:
            yield session


def _unprivileged() -> str | None:
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError("PostgreSQL cannot be run by root, and there is no user postgres or nobody")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

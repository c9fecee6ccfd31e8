"""One session with PostgreSQL as psycopg sees it: made, and waited for, until a deadline.

``connection`` and ``migrator`` make sessions. psycopg counts the time for connecting in whole
seconds, two at least, and for each host anew; a worker has a part of a lease for all of it.
"""

from __future__ import annotations

import contextlib
import math
import random
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import tuple_row

from umbel.drivers.postgres.address import Address

_READY_R, _READY_W = 1, 2
_MASKS: dict[int, int] = {
    pq.PollingStatus.READING: select.POLLIN,
    pq.PollingStatus.WRITING: select.POLLOUT,
}


class TimedOut(Exception):
    """No answer came before the deadline."""


class NotConnected(psycopg.OperationalError):
    """No server would have us. ``said``: what each of them said, or libpq of it."""

    def __init__(self, said: list[str]) -> None:
        super().__init__("\n".join(said))
        self.said = said


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A psycopg connection whose waits end at a deadline, once ``allow`` has given one."""

    deadline = math.inf
    allowed = math.inf
    """Seconds that the answer may take which is awaited, or was awaited last."""

    dismissed = False
    """The server has said that it ends the session; the end of the stream may come later."""

    overdue = False
    """A deadline has passed while an answer was awaited: whatever comes on it is not ours."""

    def allow(self, seconds: float) -> None:
        """Have the next waits end in so many seconds."""
        self.allowed = max(0.0, seconds)
        self.deadline = time.monotonic() + self.allowed

    def note(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        """Look at what the server said unasked."""
        if diagnostic.severity_nonlocalized in ("FATAL", "PANIC"):
            self.dismissed = True

    def wait(self, gen: Any, *_: Any, **__: Any) -> Any:
        try:
            return self._wait(gen)
        except (TimedOut, psycopg.Error):
            # What is left of a conversation on a lost connection has nothing to say to anybody.
            with contextlib.suppress(psycopg.Error):
                gen.close()
            raise

    def _wait(self, gen: Any) -> Any:
        poll = select.poll()
        try:
            state = next(gen)
            descriptor = self.pgconn.socket
            while True:
                poll.register(
                    descriptor,
                    (select.POLLIN if state & _READY_R else 0)
                    | (select.POLLOUT if state & _READY_W else 0),
                )
                remaining = max(0.0, self.deadline - time.monotonic())
                found = poll.poll(None if math.isinf(remaining) else remaining * 1000)
                if not found:
                    self.overdue = True
                    raise TimedOut
                mask = found[0][1]
                ready = _READY_W if mask & select.POLLOUT else 0
                if mask & ~select.POLLOUT:
                    ready |= _READY_R
                state = gen.send(ready & state or state)
        except StopIteration as end:
            return end.value


def connect(address: Address, seconds: float | None = None) -> Session:
    """Return a session with the first server that will have us. Raises NotConnected.

    ``seconds``: for all hosts and addresses together, where that is less than ``connect_timeout``
    for each. Who is silent leaves the others their share of it. Looking a name up in the DNS is the
    system's, and takes as long as it takes.
    """
    ways = list(_ways(address.conninfo))
    deadline = time.monotonic() + (
        len(ways) * address.connect_timeout if seconds is None else seconds
    )
    said: list[str] = []
    for number, way in enumerate(ways):
        share = (deadline - time.monotonic()) / (len(ways) - number)
        try:
            pgconn = _reach(way, min(address.connect_timeout, share))
        except psycopg.Error as error:
            said.append(str(error))
        else:
            session = Session(pgconn, row_factory=tuple_row)
            session.autocommit = True
            return session
    raise NotConnected(said) from None


def _reach(conninfo: str, seconds: float) -> pq.abc.PGconn:
    """Let libpq connect, and wait for it no longer than this."""
    deadline = time.monotonic() + seconds
    pgconn = pq.PGconn.connect_start(conninfo.encode())
    try:
        while pgconn.status != pq.ConnStatus.BAD:
            status = pgconn.connect_poll()
            if status == pq.PollingStatus.OK:
                pgconn.nonblocking = 1
                return pgconn
            if status == pq.PollingStatus.FAILED:
                break
            poll = select.poll()  # another address of the host has another descriptor
            poll.register(pgconn.socket, _MASKS[status])
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise psycopg.OperationalError(f"no answer within {seconds:.2g} s")
        raise psycopg.OperationalError(pgconn.error_message.decode(errors="replace"))
    except BaseException:
        pgconn.finish()
        raise


def _ways(conninfo: str) -> Iterator[str]:
    """Yield a conninfo for each address of each host, in the order to try them.

    Left to itself libpq goes on to the next one when it is refused, and not when nobody answers.
    """
    given = conninfo_to_dict(conninfo)
    given.pop("connect_timeout", None)
    several = {
        name: str(given[name]).split(",")
        for name in ("host", "hostaddr", "port")
        if given.get(name)
    }
    hosts = max((len(several[name]) for name in ("host", "hostaddr") if name in several), default=1)
    fitting = all(
        len(values) in ((1, hosts) if name == "port" else (hosts,))
        for name, values in several.items()
    )
    if not fitting or given.get("target_session_attrs") == "prefer-standby":
        yield make_conninfo("", **given)  # libpq says what is wrong, or knows them all
        return
    ways = [
        {**given, **{name: values[at % len(values)] for name, values in several.items()}}
        for at in range(hosts)
    ]
    if given.get("load_balance_hosts") == "random":
        random.shuffle(ways)
    for way in ways:
        for more in _addresses(str(way.get("host", "")), str(way.get("port") or 5432), way):
            yield make_conninfo("", **{**way, **more})


def _addresses(host: str, port: str, way: dict[str, Any]) -> list[dict[str, str]]:
    """Return the addresses of a name; nothing to add where there is none to look up."""
    if not host or host.startswith(("/", "@")) or way.get("hostaddr"):
        return [{}]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return [{}]  # libpq has the words for it
    return [{"hostaddr": each} for each in dict.fromkeys(str(info[4][0]) for info in found)]

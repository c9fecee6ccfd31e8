"""One socket to Redis: RESP3 over ``hiredis``, nothing in between.

Every other module of this driver talks to Redis through here. This is the only module that imports
the third-party client and the only one that sees its errors and the socket's: what leaves it is
``OperationalError`` with one sentence that names the (censored) URL.

Differs because: redis-py costs every process 90 ms and 16 MiB on import and 60 µs per round trip
(docs/design/0003), and hides whether a command left the machine before the connection broke, which
a publisher must know. ``hiredis``, its parser, is all of it that we need.

Every wait ends: connecting by ``connect_timeout``, a reply by its deadline. A connection that broke
is never used again; ``generation`` counts how many there were, so that its user can tell.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import hiredis
import msgspec

from umbel.drivers.redis.address import Address, Endpoint
from umbel.drivers.redis.handshake import OLDEST, facts_of, greeting, old_version
from umbel.drivers.tls import secured
from umbel.errors import BackendUnavailable, BrokerUnavailable, OperationalError, OutcomeUnknown

Argument: TypeAlias = str | bytes | int | float
Command: TypeAlias = Sequence[Argument]

# The stub of hiredis says "tuples of one", and nothing about what comes back.
pack: Callable[[tuple[Argument, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]
"""Encode one command, a tuple of texts, bytes and numbers."""

Refusal = hiredis.ReplyError
"""What Redis answers when it refuses a command; also found inside the replies of a pipeline."""

_NOTHING = object()
"""What the parser says when no reply is complete; nil, false and empty are replies."""
_READ_SIZE = 65536
_LONGEST_WAIT = 86400.0
"""Seconds; the system takes no number, however great."""


class Role(msgspec.Struct, frozen=True):
    """What we call the server in errors, and which errors we raise."""

    name: str
    unavailable: type[OperationalError]
    unknown: type[OperationalError]


BROKER = Role("broker", BrokerUnavailable, OutcomeUnknown)
BACKEND = Role("result store", BackendUnavailable, BackendUnavailable)


class Connection:
    """One socket to the server, made when needed. One thread at a time."""

    def __init__(self, address: Address, role: Role, *, db: int | None = None) -> None:
        self.address = address
        self.role = role
        self.generation = 0
        self.server: dict[str, Any] = {}
        """What the server said about itself: ``server``, ``version``, ``mode``, ``role``, ..."""
        self.pushes: deque[list[Any]] = deque()
        """What the server told unasked (messages, invalidations), until somebody takes it."""
        self._db = address.db if db is None else db
        self._socket: socket.socket | None = None
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._poll: Any = None
        self._pid = 0
        self._last_heard = 0.0
        self._timeout = -1.0

    # --- life ---------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a connection of this process that has not been seen to break."""
        return self._socket is not None and self._pid == os.getpid()

    def fileno(self) -> int:
        """Return the descriptor to wait on; only while connected."""
        assert self._socket is not None
        return self._socket.fileno()

    def ensure(self, deadline: float) -> None:
        """Connect unless there is a live connection. Raises ``role.unavailable``.

        A connection that the server closed meanwhile (a restart, an idle timeout) is noticed here,
        before anything is sent on it.
        """
        if self._socket is not None:
            if self._pid != os.getpid():
                # The socket is the parent's. Closing our copy sends nothing.
                self.drop()
            elif self._is_live(deadline):
                return
        self._connect(deadline)

    def drop(self) -> None:
        """Forget the connection, whatever state it is in."""
        dropped, self._socket = self._socket, None
        self._poll = None
        self.pushes.clear()
        if dropped is not None:
            with contextlib.suppress(OSError):
                dropped.close()

    close = drop

    def _is_live(self, deadline: float) -> bool:
        assert self._socket is not None
        idle = time.monotonic() - self._last_heard
        interval = self.address.health_check_interval
        if interval and idle > interval:
            return self._answers(deadline)
        if not self._readable():
            return True
        if self.address.tls is not None:
            # Readable may mean a session ticket; only an answer shows that the peer is there.
            return self._answers(deadline)
        try:
            self._receive(self._socket, deadline)
        except (OSError, EOFError, hiredis.HiredisError):
            self.drop()
            return False
        return True

    def _answers(self, deadline: float) -> bool:
        """Tell whether PING comes back in half the time there is, at most a second."""
        now = time.monotonic()
        try:
            self._talk(pack(("PING",)), 1, now + min(1.0, max(0.05, (deadline - now) / 2)))
        except OperationalError:
            return False
        return True

    def _readable(self) -> bool:
        if self._poll is None:
            return bool(select.select([self.fileno()], [], [], 0)[0])
        return bool(self._poll.poll(0))

    def _connect(self, deadline: float) -> None:
        self.drop()
        deadline = min(deadline, time.monotonic() + self.address.connect_timeout)
        failures: list[str] = []
        last: Exception | None = None
        endpoints = self.address.endpoints
        if self.address.sentinels is not None:
            endpoints = (self._ask_sentinels(deadline),)
        for endpoint in endpoints:
            try:
                self._connect_to(endpoint, deadline)
            except (OSError, EOFError, hiredis.ProtocolError) as error:
                self.drop()
                failures.append(f"{endpoint}: {_why(error)}")
                last = error
            else:
                self.generation += 1
                return
        raise self.role.unavailable(
            f"The {self.role.name} {self.address.url} cannot be reached ({'; '.join(failures)})."
        ) from last

    def _connect_to(self, endpoint: Endpoint, deadline: float) -> None:
        made = dial(endpoint, deadline)
        self._socket = made
        if self.address.tls is not None:
            self._socket = made = secured(made, self.address.tls, endpoint.host)
        if endpoint.path is None:
            _tune(made, keepalive=self.address.keepalive)
        poll = getattr(select, "poll", None)  # eventlet takes it away when it patches
        if poll is not None:
            self._poll = poll()
            self._poll.register(made, select.POLLIN)
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._pid = os.getpid()
        self._timeout = -1.0
        self.server = self._greet(deadline)

    def _greet(self, deadline: float) -> dict[str, Any]:
        commands = greeting(self.address, self._db)
        self._send(b"".join([pack(command) for command in commands]), deadline)
        replies = self._replies(len(commands), deadline)
        for reply in replies:
            if isinstance(reply, Refusal):
                self.drop()
                if "unknown command" in str(reply).lower():
                    raise self._too_old("before 6.0")
                raise self.refused(reply)
        facts = facts_of(replies[0])
        version = old_version(facts)
        if version is not None:
            self.drop()
            raise self._too_old(version)
        return facts

    def _too_old(self, version: str) -> OperationalError:
        return self.role.unavailable(
            f"The {self.role.name} {self.address.url} is Redis {version}; "
            f"Umbel needs {OLDEST[0]}.{OLDEST[1]} or newer."
        )

    def _ask_sentinels(self, deadline: float) -> Endpoint:
        sentinels = self.address.sentinels
        assert sentinels is not None
        said: list[str] = []
        for endpoint in sentinels.endpoints:
            asked = Connection(
                msgspec.structs.replace(
                    self.address,
                    endpoints=(endpoint,),
                    sentinels=None,
                    username=sentinels.username,
                    password=sentinels.password,
                    credentials=None,
                ),
                self.role,
                db=0,
            )
            try:
                asked.ensure(deadline)
                master = asked.call(("SENTINEL", "MASTER", sentinels.master_name), deadline)
            except OperationalError as error:
                said.append(str(error))
                continue
            finally:
                asked.drop()
            facts = facts_of(master)
            if int(facts.get("num-other-sentinels", 0)) < sentinels.min_other_sentinels:
                said.append(f"{endpoint} knows too few other sentinels")
                continue
            return Endpoint(str(facts["ip"]), int(facts["port"]))
        raise self.role.unavailable(
            f"No sentinel of {self.address.url} knows where {sentinels.master_name!r} is "
            f"({'; '.join(said)})."
        )

    # --- talk ---------------------------------------------------------------------------------

    def call(self, command: Command, deadline: float) -> Any:
        """Send one command on a live connection and return the reply; a refusal is raised."""
        reply = self.exchange(pack(tuple(command)), 1, deadline)[0]
        if isinstance(reply, Refusal):
            raise self.refused(reply)
        return reply

    def pipeline(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        """Send commands in one write and return the replies; the first refusal is raised."""
        data = b"".join([pack(tuple(command)) for command in commands])
        replies = self.exchange(data, len(commands), deadline)
        for reply in replies:
            if isinstance(reply, Refusal):
                raise self.refused(reply)
        return replies

    def exchange(self, data: bytes, count: int, deadline: float) -> list[Any]:
        """Connect if need be, send ``data``, and return ``count`` replies, refusals among them.

        Raises ``role.unavailable`` when Redis cannot have carried anything out, ``role.unknown``
        when it may have. The connection is gone after either.
        """
        self.ensure(deadline)
        return self._talk(data, count, deadline)

    def _talk(self, data: bytes, count: int, deadline: float) -> list[Any]:
        try:
            self._send(data, deadline)
        except (OSError, ValueError) as error:
            self.drop()
            # Redis carries out whole commands only. If more than one was on the way, the first of
            # them may have arrived.
            kind = self.role.unavailable if count == 1 else self.role.unknown
            raise kind(f"{self._lost()} while sending ({_why(error)}).") from error
        try:
            return self._replies(count, deadline)
        except (OSError, EOFError, hiredis.HiredisError) as error:
            self.drop()
            raise self.role.unknown(
                f"{self._lost()} before the reply came ({_why(error)})."
            ) from error

    def _send(self, data: bytes, deadline: float) -> None:
        peer = self._socket
        assert peer is not None
        self._allow(peer, deadline)
        peer.sendall(data)

    def _replies(self, count: int, deadline: float) -> list[Any]:
        peer, gets = self._socket, self._reader.gets
        assert peer is not None
        replies: list[Any] = []
        while len(replies) < count:
            reply = gets()
            if reply is _NOTHING:
                self._receive(peer, deadline)
            elif type(reply) is hiredis.PushNotification:
                self.pushes.append(reply)
            else:
                replies.append(reply)
        return replies

    def take_pushes(self) -> None:
        """Read what has arrived unasked into ``pushes``; call it when the descriptor is readable.

        Raises ``role.unavailable`` when the connection turns out to be lost.
        """
        peer = self._socket
        if peer is None:
            raise self.role.unavailable(f"{self._lost()}.")
        try:
            if self._readable() or _pending(peer):
                self._receive(peer, time.monotonic() + self.address.socket_timeout)
            while (reply := self._reader.gets()) is not _NOTHING:
                if type(reply) is hiredis.PushNotification:
                    self.pushes.append(reply)
        except (OSError, EOFError, hiredis.HiredisError) as error:
            self.drop()
            raise self.role.unavailable(f"{self._lost()} ({_why(error)}).") from error

    def refused(self, refusal: BaseException) -> OperationalError:
        """Return the error that says what Redis refused, and why."""
        return self.role.unavailable(_refusal_sentence(self.role, self.address.url, str(refusal)))

    def _receive(self, peer: socket.socket, deadline: float) -> None:
        self._allow(peer, deadline)
        data = peer.recv(_READ_SIZE)
        if not data:
            raise EOFError("the server closed it")
        self._reader.feed(data)
        self._last_heard = time.monotonic()

    def _allow(self, peer: socket.socket, deadline: float) -> None:
        """Let the next wait on the socket last until the deadline."""
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the time is up")
        # Each change is a system call. A wait may last a tenth longer than asked, never for ever.
        if not remaining <= self._timeout <= remaining * 1.1:
            self._timeout = min(remaining, _LONGEST_WAIT) * 1.05
            peer.settimeout(self._timeout)

    def _lost(self) -> str:
        return f"The connection to the {self.role.name} {self.address.url} was lost"


def dial(endpoint: Endpoint, deadline: float) -> socket.socket:
    """Return a socket connected to the endpoint. Raises OSError."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("the time is up")
    if endpoint.path is None:
        return socket.create_connection((endpoint.host, endpoint.port), timeout=remaining)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(remaining)
        made.connect(endpoint.path)
    except BaseException:
        made.close()
        raise
    return made


def _tune(made: socket.socket, *, keepalive: bool) -> None:
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not keepalive:
        return
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # A peer that vanished without a word is noticed within half a minute even while we only wait.
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        option = getattr(socket, name, None)
        if option is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)


def _pending(peer: socket.socket) -> bool:
    """Tell whether TLS holds bytes that it has decrypted already."""
    pending = getattr(peer, "pending", None)
    return bool(pending is not None and pending())


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


_REFUSALS = {
    "NOAUTH": "wants a password; put it into the URL: redis://:password@host",
    "WRONGPASS": "does not accept this user and password",
    "NOPERM": "does not allow this user to do that",
    "OOM": "is out of memory (maxmemory) and takes nothing more",
    "MISCONF": "cannot save to disk and therefore takes no writes",
    "READONLY": "is a read-only replica; connect to the master, or use sentinel://",
    "LOADING": "is still loading its data",
    "MASTERDOWN": "has lost its master",
    "CLUSTERDOWN": "is a cluster that is down",
    "MOVED": "is a cluster, which Umbel does not support yet; use one server or sentinel://",
    "CROSSSLOT": "is a cluster, which Umbel does not support yet; use one server or sentinel://",
    "WRONGTYPE": "holds something else under a key that Umbel needs",
}


def _refusal_sentence(role: Role, url: str, text: str) -> str:
    word = text.partition(" ")[0]
    meaning = _REFUSALS.get(word, "refused a command")
    return f"The {role.name} {url} {meaning} (Redis says: {text[:200]})."

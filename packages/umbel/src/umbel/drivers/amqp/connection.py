"""One socket to RabbitMQ: handshake, channels, heartbeats, and the errors of both worlds.

Every other module of this driver talks to the broker through here. This is the only module that
sees the socket's errors: what leaves it is ``OperationalError`` with one sentence that names the
(censored) URL, or ``Refused`` when the broker closed a channel over what it was asked.

Differs because: the clients of the field own the thread they run in or cost 50 to 340 µs for each
message, and hide whether a message left the machine before the connection broke, which a publisher
must know. ``pamqp``, the codec under several of them, is all of it that we need
(docs/design/0012).

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
from typing import Any, TypeVar

import msgspec
from pamqp import base, commands
from pamqp.exceptions import UnmarshalingException

from umbel.drivers.amqp.address import Address, Endpoint
from umbel.drivers.amqp.frames import (
    GREETING,
    HEARTBEAT,
    Assembler,
    Event,
    Method,
    method_frame,
)
from umbel.drivers.amqp.refusals import refusal_sentence
from umbel.drivers.tls import secured
from umbel.errors import BackendUnavailable, BrokerUnavailable, OperationalError, OutcomeUnknown
from umbel.version import __version__

_READ_SIZE = 65536
_LONGEST_WAIT = 86400.0
_LEAST_FRAME = 4096
_LARGEST_FRAME = 131072
_BROKEN = (OSError, EOFError, ValueError, UnmarshalingException)
"""What tells that a connection is of no use any more."""

Reply = TypeVar("Reply", bound=base.Frame)


class Role(msgspec.Struct, frozen=True):
    """What we call the server in errors, and which errors we raise."""

    name: str
    unavailable: type[OperationalError]
    unknown: type[OperationalError]


BROKER = Role("broker", BrokerUnavailable, OutcomeUnknown)
BACKEND = Role("result store", BackendUnavailable, BackendUnavailable)


class Refused(Exception):
    """The broker closed a channel over something. ``code`` is AMQP's, ``text`` the broker's."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(code, text)


class ChannelClosed(msgspec.Struct, frozen=True):
    """The broker closed this channel while nobody waited for a reply on it."""

    channel: int
    code: int
    text: str


class Connection:
    """One socket to the broker, made when needed. One thread at a time."""

    def __init__(self, address: Address, role: Role, *, heartbeat: float = 0.0) -> None:
        """``heartbeat`` in seconds; 0 for connections that nobody waits on."""
        self.address = address
        self.role = role
        self.generation = 0
        self.product = ""
        """What the server said it is, such as ``RabbitMQ 3.13.2``."""
        self.frame_max = _LARGEST_FRAME
        self.events: deque[Event | ChannelClosed] = deque()
        """What came unasked, until somebody takes it."""
        self.blocked = ""
        """Why the broker takes no messages now: its memory or its disk; empty while it does."""
        self._wanted_heartbeat = heartbeat
        self._heartbeat = 0.0
        self._socket: socket.socket | None = None
        self._assembler = Assembler()
        self._pid = 0
        self._last_heard = self._last_sent = 0.0
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

        A connection that the broker closed meanwhile is noticed here, before anything is sent.
        """
        if self._socket is not None:
            if self._pid != os.getpid():
                self.drop()  # the socket is the parent's; closing our copy sends nothing
            elif self._is_live():
                return
        self._connect(deadline)

    def drop(self) -> None:
        """Forget the connection, whatever state it is in."""
        dropped, self._socket = self._socket, None
        self.events.clear()
        self.blocked = ""
        if dropped is not None:
            with contextlib.suppress(OSError):
                dropped.close()

    def close(self) -> None:
        """Say goodbye, so that the broker logs no fault, and forget the connection."""
        if self.connected:
            with contextlib.suppress(OSError):
                self.send(method_frame(0, commands.Connection.Close(200, "", 0, 0)), _soon(1.0))
                assert self._socket is not None
                self._socket.shutdown(socket.SHUT_WR)
                self._allow(self._socket, _soon(0.5))
                while self._socket.recv(_READ_SIZE):
                    pass
        self.drop()

    def _is_live(self) -> bool:
        if not self.readable():
            return True
        try:
            self._receive(_soon(0.5))
        except TimeoutError:
            return True  # TLS: a part of a record
        except (*_BROKEN, Refused):
            self.drop()
        return self._socket is not None

    def readable(self) -> bool:
        """Tell whether something has come, or the connection has ended."""
        peer = self._socket
        if peer is None:
            return True
        pending = getattr(peer, "pending", None)
        if pending is not None and pending():
            return True
        return bool(select.select([peer], [], [], 0)[0])

    def _connect(self, deadline: float) -> None:
        self.drop()
        deadline = min(deadline, time.monotonic() + self.address.connect_timeout)
        failures: list[str] = []
        last: Exception | None = None
        for endpoint in self.address.endpoints:
            try:
                self._connect_to(endpoint, deadline)
            except Refused as error:
                self.drop()
                failures.append(refusal_sentence(error.code, error.text, self.address))
                last = error
            except _BROKEN as error:
                self.drop()
                failures.append(f"{endpoint}: {_why(error)}")
                last = error
            else:
                self.generation += 1
                return
        refused = isinstance(last, Refused)
        verb = "refuses the connection" if refused else "cannot be reached"
        raise self.role.unavailable(
            f"The {self.role.name} {self.address.url} {verb} ({'; '.join(failures)})."
        ) from last

    def _connect_to(self, endpoint: Endpoint, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the time is up")
        made = socket.create_connection((endpoint.host, endpoint.port), timeout=remaining)
        self._socket = made
        if self.address.tls is not None:
            self._socket = made = self._secured(made, endpoint)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._pid = os.getpid()
        self._timeout = -1.0
        self._assembler = Assembler()
        self._heartbeat = 0.0
        self._greet(deadline)

    def _secured(self, plain: socket.socket, endpoint: Endpoint) -> socket.socket:
        import ssl  # noqa: PLC0415 - as in drivers.tls: only users of TLS pay for it

        assert self.address.tls is not None
        try:
            return secured(plain, self.address.tls, endpoint.host)
        except ssl.SSLCertVerificationError:
            raise
        except (ssl.SSLError, ConnectionError) as error:
            raise OSError(
                f"it does not speak TLS on this port ({_why(error)}); without TLS the URL begins "
                "with amqp://"
            ) from error

    def _greet(self, deadline: float) -> None:
        address = self.address
        self.send(GREETING, deadline)
        try:
            start = self._expect(0, commands.Connection.Start, deadline)
        except (ValueError, EOFError, ConnectionError) as error:
            if isinstance(error, ValueError) or address.tls is None:
                hint = "" if address.tls is not None else "; with TLS the URL begins with amqps://"
                raise OSError(f"it does not speak AMQP 0-9-1 on this port{hint}") from error
            raise
        facts = start.server_properties or {}
        named = (str(facts.get(name, "")) for name in ("product", "version"))
        self.product = " ".join(named)
        capabilities: dict[str, Any] = {
            "consumer_cancel_notify": True,
            "connection.blocked": True,
            "authentication_failure_close": True,
            "publisher_confirms": True,
            "basic.nack": True,
        }
        properties: dict[str, Any] = {
            "product": "Umbel",
            "version": __version__,
            "capabilities": capabilities,
            "connection_name": f"umbel {os.getpid()}",
        }
        secret = f"\0{address.username}\0{address.password}"
        started = commands.Connection.StartOk(
            client_properties=properties,
            mechanism="EXTERNAL" if address.external else "PLAIN",
            response="" if address.external else secret,
        )
        self.send(method_frame(0, started), deadline)
        tune = self._expect(0, commands.Connection.Tune, deadline)
        self.frame_max = max(_LEAST_FRAME, min(tune.frame_max or _LARGEST_FRAME, _LARGEST_FRAME))
        offered = float(tune.heartbeat or 0)
        beat = min(self._wanted_heartbeat, offered) if offered else self._wanted_heartbeat
        tuned = commands.Connection.TuneOk(tune.channel_max or 0, self.frame_max, round(beat))
        opening = commands.Connection.Open(virtual_host=address.vhost)
        self.send(method_frame(0, tuned) + method_frame(0, opening), deadline)
        self._expect(0, commands.Connection.OpenOk, deadline)
        self._heartbeat = float(round(beat))

    # --- talk ---------------------------------------------------------------------------------

    def send(self, data: bytes, deadline: float) -> None:
        """Send bytes on a live connection. Raises OSError; ``sending`` translates it."""
        peer = self._socket
        if peer is None:
            raise ConnectionError("the connection is gone")
        self._allow(peer, deadline)
        peer.sendall(data)
        self._last_sent = time.monotonic()

    def call(self, channel: int, method: base.Frame, reply: type[Reply], deadline: float) -> Reply:
        """Send one method and return its reply. Raises Refused, ``role.unavailable``."""
        with self.losing():
            self.send(method_frame(channel, method), deadline)
            return self._expect(channel, reply, deadline)

    def expect(self, channel: int, reply: type[Reply], deadline: float) -> Reply:
        """Return the next method of this kind. Raises Refused, ``role.unavailable``."""
        with self.losing():
            return self._expect(channel, reply, deadline)

    def losing(self, *, uncertain: bool = False) -> _Losing:
        """Return a context in which a broken connection becomes one error of ours.

        ``uncertain``: what was sent may have arrived.
        """
        return _Losing(self, self.role.unknown if uncertain else self.role.unavailable)

    def open_channel(self, channel: int, deadline: float) -> None:
        """Open a channel. Raises ``role.unavailable``."""
        self.call(channel, commands.Channel.Open(), commands.Channel.OpenOk, deadline)

    def take(self, deadline: float | None = None) -> None:
        """Read what has come into ``events``; with a deadline wait until something has.

        Raises ``role.unavailable`` when the connection turns out to be lost; TimeoutError when the
        deadline comes first. Sends heartbeats.
        """
        with self.losing():
            self.beat()
            if deadline is None:
                while self.readable():
                    self._receive(_soon(self.address.socket_timeout))
            else:
                try:
                    self._receive(deadline)
                except TimeoutError:
                    raise _TimeIsUp from None

    def beat(self) -> None:
        """Send a heartbeat if it is time for one. Raises OSError when the broker is silent."""
        if not self._heartbeat:
            return
        now = time.monotonic()
        if now - self._last_heard > 2 * self._heartbeat and not self.readable():
            raise TimeoutError(f"nothing was heard for {2 * self._heartbeat:g} s")
        if now - self._last_sent > self._heartbeat / 2:
            self.send(HEARTBEAT, _soon(self.address.socket_timeout))

    @property
    def beat_at(self) -> float:
        """The monotonic time at which ``beat`` must be called again; infinite without heartbeat."""
        return self._last_sent + self._heartbeat / 2 if self._heartbeat else float("inf")

    def _expect(self, channel: int, reply: type[Reply], deadline: float) -> Reply:
        while True:
            found = self._search(channel, reply)
            if found is not None:
                return found
            self._receive(deadline)

    def _search(self, channel: int, reply: type[Reply]) -> Reply | None:
        for index, event in enumerate(self.events):
            if isinstance(event, ChannelClosed) and event.channel == channel:
                del self.events[index]
                raise Refused(event.code, event.text)
            if isinstance(event, Method) and event.channel == channel:
                method = event.method
                if isinstance(method, reply):
                    del self.events[index]
                    return method
        return None

    def _receive(self, deadline: float) -> None:
        peer = self._socket
        if peer is None:
            raise ConnectionError("the connection is gone")
        self._allow(peer, deadline)
        data = peer.recv(_READ_SIZE)
        if not data:
            raise EOFError("the broker closed it")
        self._last_heard = time.monotonic()
        closing: commands.Connection.Close | None = None
        for event in self._assembler.feed(data):
            if isinstance(event, Method):
                if isinstance(event.method, commands.Connection.Close):
                    closing = event.method
                else:
                    self._heard(event)
            else:
                self.events.append(event)
        if closing is not None:
            with contextlib.suppress(OSError):
                self.send(method_frame(0, commands.Connection.CloseOk()), _soon(0.5))
            raise Refused(closing.reply_code or 0, closing.reply_text or "")

    def _heard(self, event: Method) -> None:
        method = event.method
        if isinstance(method, commands.Channel.Close):
            self.events.append(
                ChannelClosed(event.channel, method.reply_code or 0, method.reply_text or "")
            )
            self.send(method_frame(event.channel, commands.Channel.CloseOk()), _soon(1.0))
        elif isinstance(method, commands.Connection.Blocked):
            self.blocked = method.reason or "a resource alarm"
        elif isinstance(method, commands.Connection.Unblocked):
            self.blocked = ""
        else:
            self.events.append(event)

    def _allow(self, peer: socket.socket, deadline: float) -> None:
        """Let the next wait on the socket last until the deadline."""
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the time is up")
        # Each change is a system call. A wait may last a tenth longer than asked, never for ever.
        if not remaining <= self._timeout <= remaining * 1.1:
            self._timeout = min(remaining, _LONGEST_WAIT) * 1.05
            peer.settimeout(self._timeout)

    def lost(self, error: BaseException, kind: type[OperationalError]) -> OperationalError:
        """Return the error for a connection that broke; it is forgotten."""
        blocked = self.blocked
        self.drop()
        said = _why(error)
        if isinstance(error, Refused):
            said = refusal_sentence(error.code, error.text, self.address)
        elif blocked:
            said = f"it takes no messages now, because of its {blocked}"
        return kind(f"The connection to the {self.role.name} {self.address.url} was lost ({said}).")


class _TimeIsUp(TimeoutError):
    """The deadline of a wait came; the connection is all right."""


class _Losing(contextlib.AbstractContextManager["_Losing"]):
    def __init__(self, connection: Connection, kind: type[OperationalError]) -> None:
        self._connection = connection
        self._kind = kind

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None or isinstance(error, _TimeIsUp):
            return
        if isinstance(error, Refused) and self._connection.connected and not _is_fatal(error):
            return
        if isinstance(error, (*_BROKEN, Refused)):
            raise self._connection.lost(error, self._kind) from error


def _is_fatal(error: Refused) -> bool:
    """Tell whether the broker closed the connection over it, not just a channel."""
    return error.code == 320 or error.code >= 500


def _soon(seconds: float) -> float:
    return time.monotonic() + seconds


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        text = str(error)
        return text if text.startswith("nothing") else "timed out"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

"""The first words on a new socket: TLS where asked for, AMQP's greeting, log-in and tuning.

Used by ``connection``, which gives the two ways of talking and takes what was agreed on. What is
wrong with the other side is told in words, as OSError.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Protocol, TypeVar

import msgspec
from pamqp import base, commands

from umbel.drivers.amqp.address import Address, Endpoint
from umbel.drivers.amqp.frames import GREETING, method_frame
from umbel.drivers.tls import secured
from umbel.version import __version__

_LEAST_FRAME = 4096
LARGEST_FRAME = 131072

Reply = TypeVar("Reply", bound=base.Frame)


class Talk(Protocol):
    """What the handshake needs of a connection."""

    def send(self, data: bytes, deadline: float) -> None:
        """Send bytes. Raises OSError."""

    def await_reply(self, channel: int, reply: type[Reply], deadline: float) -> Reply:
        """Return the next method of this kind. Raises OSError, ValueError, EOFError."""
        ...


class Agreed(msgspec.Struct, frozen=True):
    """What both sides will keep to. ``heartbeat`` in seconds."""

    product: str
    frame_max: int
    heartbeat: float


def greet(talk: Talk, address: Address, wanted_heartbeat: float, deadline: float) -> Agreed:
    """Log in and open the virtual host."""
    start = _begin(talk, address, deadline)
    facts = start.server_properties or {}
    product = " ".join(str(facts.get(name, "")) for name in ("product", "version"))
    talk.send(method_frame(0, _log_in(address)), deadline)
    tune = talk.await_reply(0, commands.Connection.Tune, deadline)
    frame_max = max(_LEAST_FRAME, min(tune.frame_max or LARGEST_FRAME, LARGEST_FRAME))
    offered = float(tune.heartbeat or 0)
    beat = round(min(wanted_heartbeat, offered) if offered else wanted_heartbeat)
    tuned = commands.Connection.TuneOk(tune.channel_max or 0, frame_max, beat)
    opening = commands.Connection.Open(virtual_host=address.vhost)
    talk.send(method_frame(0, tuned) + method_frame(0, opening), deadline)
    talk.await_reply(0, commands.Connection.OpenOk, deadline)
    return Agreed(product, frame_max, float(beat))


def _begin(talk: Talk, address: Address, deadline: float) -> commands.Connection.Start:
    hint = "" if address.tls is not None else "; with TLS the URL begins with amqps://"
    talk.send(GREETING, deadline)
    try:
        return talk.await_reply(0, commands.Connection.Start, deadline)
    except ValueError as error:
        raise OSError(f"it does not speak AMQP 0-9-1 on this port{hint}") from error
    except (EOFError, ConnectionError) as error:
        raise OSError(
            "it closed the connection at once: it is starting or ending, or does not speak AMQP "
            f"0-9-1 on this port{hint}"
        ) from error


def _log_in(address: Address) -> commands.Connection.StartOk:
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
    return commands.Connection.StartOk(
        client_properties=properties,
        mechanism="EXTERNAL" if address.external else "PLAIN",
        response="" if address.external else secret,
    )


def secure(plain: socket.socket, address: Address, endpoint: Endpoint) -> socket.socket:
    """Return the socket with TLS on it, where the address asks for it."""
    if address.tls is None:
        return plain
    import ssl  # noqa: PLC0415 - as in drivers.tls: only users of TLS pay for it

    try:
        return secured(plain, address.tls, endpoint.host)
    except ssl.SSLCertVerificationError:
        raise
    except (ssl.SSLError, ConnectionError) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise OSError(
            f"it does not speak TLS on this port ({said}); without TLS the URL begins with amqp://"
        ) from error

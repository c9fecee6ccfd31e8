"""The first words on a new connection: TLS, HELLO, SELECT, and is the server new enough.

Called by ``connection`` only, which does the talking.
"""

from __future__ import annotations

import socket
from typing import Any

from umbel.drivers.redis.address import Address, Tls

OLDEST = (6, 2)
"""RPOP with a count, ZADD GT, and whatever else the scripts ask for."""


def greeting(address: Address, db: int) -> list[tuple[str | int, ...]]:
    """Return the commands to begin with: HELLO, with who we are, then the database."""
    hello: list[str | int] = ["HELLO", 3]
    user, password = address.username, address.password
    if address.credentials is not None:
        user, password = address.credentials()
    if password is not None:
        hello += ["AUTH", user or "default", password]
    if address.client_name:
        hello += ["SETNAME", address.client_name]
    commands: list[tuple[str | int, ...]] = [tuple(hello)]
    if db:
        commands.append(("SELECT", db))
    return commands


def facts_of(reply: Any) -> dict[str, Any]:
    """Return what a map of the server says, as texts, whichever form the map has."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {str(_text(name)): _text(value) for name, value in pairs}


def old_version(facts: dict[str, Any]) -> str | None:
    """Return the server's version if that is too old for us, else None."""
    version = str(facts.get("version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    return version if numbers < OLDEST else None


def secured(plain: socket.socket, tls: Tls, host: str) -> socket.socket:
    """Return the socket with TLS on it. Raises OSError, and then the socket is closed."""
    import ssl  # noqa: PLC0415 - 13 ms and 3 MiB that only users of TLS pay for

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        genuine = tls.verify == "required"
        context.check_hostname = genuine and tls.check_hostname is not False
        if not genuine:
            context.verify_mode = ssl.CERT_NONE if tls.verify == "none" else ssl.CERT_OPTIONAL
        if tls.ca_certs or tls.ca_path:
            context.load_verify_locations(cafile=tls.ca_certs, capath=tls.ca_path)
        elif tls.verify != "none":
            context.load_default_certs()
        if tls.certfile:
            context.load_cert_chain(tls.certfile, tls.keyfile, tls.keyfile_password)
        return context.wrap_socket(plain, server_hostname=host or None)
    except BaseException:
        plain.close()
        raise


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

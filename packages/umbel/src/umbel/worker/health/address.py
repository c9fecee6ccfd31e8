"""Where the health server listens: the words of ``worker_http`` into an address. Pure."""

from __future__ import annotations

import msgspec

from umbel.errors import ImproperlyConfigured

UNIX = "unix:"
_FORMS = "127.0.0.1:9100, :9100 (every address of the machine), [::1]:9100 or unix:/run/umbel.sock"


class HttpAddress(msgspec.Struct, frozen=True):
    """``path`` of a Unix socket; or ``host`` and ``port``, 0 for a free one."""

    host: str = ""
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"{UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> HttpAddress:
    """Return the address that a setting or option names. Raises ImproperlyConfigured."""
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path:
            raise _wrong(text, "names no path")
        return HttpAddress(path=path)
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise _wrong(text, "has no port")
    if int(port) > 65535:
        raise _wrong(text, "has a port above 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _wrong(text, "has more than one colon (IPv6 goes in brackets)")
    return HttpAddress(host or "0.0.0.0", int(port))  # noqa: S104 - as it was asked for


def _wrong(text: str, why: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"worker_http (--http) is {text!r}, which {why}: give {_FORMS}")

"""TLS as the drivers speak it: how the server is checked, and who we are.

Used by the drivers' ``address`` and ``connection`` modules. Knows no protocol above TLS.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

import msgspec

from umbel.drivers.option_reader import OptionReader

_MODES: Mapping[str, str] = {
    "required": "required",
    "cert_required": "required",
    "optional": "optional",
    "cert_optional": "optional",
    "none": "none",
    "cert_none": "none",
}


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """How the server is checked and who we are. Without a word said, the server must be genuine."""

    verify: str = "required"
    ca_certs: str | None = None
    ca_path: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    keyfile_password: str | None = None
    check_hostname: bool | None = None


def read_tls(reader: OptionReader, *, usual: bool) -> Tls | None:
    """Return what the options say; ``usual``: whether the URL's scheme asks for TLS by itself."""
    wanted = reader.raw("ssl", usual)
    mode = reader.raw("ssl_cert_reqs", "required")
    # Python's own constants come in from configurations written for redis-py: 0, 1, 2.
    word = {0: "none", 1: "optional", 2: "required"}.get(mode) if isinstance(mode, int) else None
    verify = word or _MODES.get(str(mode).rpartition(".")[2].lower())
    if verify is None:
        raise reader.wrong("ssl_cert_reqs", mode, "'required', 'optional' or 'none'")
    tls = Tls(
        verify=verify,
        ca_certs=reader.text("ssl_ca_certs"),
        ca_path=reader.text("ssl_ca_path"),
        certfile=reader.text("ssl_certfile"),
        keyfile=reader.text("ssl_keyfile"),
        keyfile_password=reader.text("ssl_password"),
        check_hostname=reader.flag("ssl_check_hostname", None),
    )
    return tls if wanted else None


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

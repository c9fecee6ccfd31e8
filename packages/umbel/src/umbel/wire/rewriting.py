"""An envelope again with a few headers changed: another ``eta``, retries counted anew.

Called by what takes messages off their shelves (``app.quarantine``, ``app.delayed``). The body
stays closed. What comes out has the form that went in, kombu's or the compact one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from umbel.errors import UnsupportedProtocol
from umbel.wire.envelope import dump_compact, dump_kombu, load

WITHDRAWN = datetime(1970, 1, 1, tzinfo=UTC)
"""The expiry of a message that was taken back. Others expire when their sender says so."""


def withdrawn(raw: bytes) -> bytes:
    """Return the envelope of a task that must not run, for a worker to tell who waits for it.

    Raises as ``with_headers``.
    """
    return with_headers(raw, {"expires": WITHDRAWN.isoformat()})


def with_headers(raw: bytes, changes: Mapping[str, Any]) -> bytes:
    """Return the envelope with these headers set.

    The message keeps its delivery tag, and so its deliveries. Raises DecodeError for what is no
    envelope, UnsupportedProtocol for a message that has its fields in the body (protocol 1).
    """
    message = load(raw)
    if message.headers.get("task") is None:
        raise UnsupportedProtocol(
            "a message of protocol 1 keeps its fields in the body, where they cannot be changed"
        )
    properties = dict(message.properties)
    headers = {**message.headers, **changes}
    if raw[:1] != b"{":
        return dump_compact(msgspec.structs.replace(message, headers=headers))
    info = properties.pop("delivery_info", None)
    info = info if isinstance(info, dict) else {}
    return dump_kombu(
        msgspec.structs.replace(message, headers=headers, properties=properties),
        exchange=str(info.get("exchange") or ""),
        routing_key=str(info.get("routing_key") or ""),
        delivery_tag=str(properties.pop("delivery_tag", None) or ""),
        redelivered=bool(info.get("redelivered")),
    )

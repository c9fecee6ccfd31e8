"""Reading task messages, whichever protocol they are in.

Called by workers for every message they run. A message that cannot be read raises a WireError that
says what is wrong with it; the caller decides what becomes of the message. Nothing in here trusts
the sender: every field is checked before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo

from umbel.errors import DecodeError, UnsupportedProtocol
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.wire import task_v1
from umbel.wire.compressors import DEFAULT_LIMIT, decompress
from umbel.wire.fields import message_from
from umbel.wire.serializers import Serializers


def decode(
    message: EncodedMessage,
    *,
    accept: frozenset[str],
    serializers: Serializers,
    timezone: tzinfo = UTC,
    limit: int = DEFAULT_LIMIT,
) -> TaskMessage:
    """Return what the caller meant.

    ``timezone`` is that of protocol 1 messages which say that their times are local; ``limit``
    bounds a compressed body, in bytes. Raises ContentDisallowed when ``accept`` does not name the
    content type, UnsupportedProtocol and DecodeError otherwise.
    """
    headers = message.headers
    name = headers.get("task")
    if name is not None and not headers.get("id"):
        raise DecodeError(
            f"the message for task {name!r} has no id: its header 'id' is {headers.get('id')!r}"
        )
    body = message.body
    compression = headers.get("compression")
    if compression:
        if not isinstance(compression, str):
            raise DecodeError(
                f"the header 'compression' of task {name!r} is {compression!r}, not a name"
            )
        body = decompress(body, compression, limit=limit)
    content = serializers.loads(body, message.content_type, message.content_encoding, accept)
    if name is None:
        return task_v1.read(content, message.properties, timezone=timezone)
    if isinstance(content, Mapping):
        return task_v1.read_hybrid(content, headers, message.properties, timezone=timezone)
    if not isinstance(content, list | tuple):
        raise UnsupportedProtocol(
            f"the body of task {name!r} is a {type(content).__name__}; protocol 2 has a list of "
            f"args, kwargs and embed there, protocol 1 a mapping"
        )
    if len(content) != 3:
        raise DecodeError(
            f"the body of task {name!r} has {len(content)} parts; protocol 2 has three: args, "
            f"kwargs and embed"
        )
    args, kwargs, embed = content
    return message_from(headers, message.properties, args, kwargs, embed)

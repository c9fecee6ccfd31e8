"""Many messages of one form: task protocol 2 with all that is the same written once.

Called by ``app.bulk``. What ``task_v2.encode`` makes of a message is the pattern; of each further
message only the id, the arguments and how they are shown is new. 1.3 µs a message against 2.3, and
no TaskMessage to make (benchmarks/decisions/bulk_cost.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from umbel.errors import EncodeError
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.ports import Serializer
from umbel.wire import tagged_json
from umbel.wire.reprs import safe_repr
from umbel.wire.serializers import JsonSerializer
from umbel.wire.task_v2 import encode


class MessageTemplate:
    """One message as the pattern for others that differ in id and arguments. Immutable.

    Where the pattern's root or correlation id is its own id, so it is in the others.
    """

    __slots__ = (
        "_compression",
        "_embed",
        "_encoded",
        "_headers",
        "_maxlevels",
        "_message",
        "_own_correlation",
        "_own_root",
        "_properties",
        "_serializer",
        "_show_args",
        "_show_kwargs",
    )

    def __init__(
        self,
        message: TaskMessage,
        *,
        serializer: Serializer,
        compression: str | None = None,
        maxlevels: int = 3,
    ) -> None:
        """``maxlevels`` is how deep arguments are shown, where the pattern does not say how.

        Raises EncodeError, ImproperlyConfigured for an unknown compression.
        """
        self._message = message
        self._serializer = serializer
        self._compression = compression
        self._maxlevels = maxlevels
        self._encoded = encode(message, serializer=serializer, compression=compression)
        self._headers = dict(self._encoded.headers)
        self._properties = dict(self._encoded.properties)
        self._own_root = self._headers["root_id"] == message.id
        self._own_correlation = self._properties["correlation_id"] == message.id
        self._show_args = message.argsrepr is None
        self._show_kwargs = message.kwargsrepr is None
        self._embed: bytes | None = None
        if type(serializer) is JsonSerializer and not compression:
            self._embed = serializer.dumps(
                {
                    "callbacks": message.callbacks,
                    "errbacks": message.errbacks,
                    "chain": message.chain,
                    "chord": message.chord,
                }
            )

    def fill(self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> EncodedMessage:
        """Return the message with this id and these arguments.

        Raises EncodeError naming the argument that the serializer cannot write.
        """
        if self._embed is None:
            return self._encode(task_id, args, kwargs)
        try:
            body = b"[%b,%b,%b]" % (
                tagged_json.dumps(args),
                tagged_json.dumps(kwargs) if kwargs else b"{}",
                self._embed,
            )
        except EncodeError:
            # The one that names the argument; it raises the same error.
            return self._encode(task_id, args, kwargs)
        headers = self._headers.copy()
        headers["id"] = task_id
        if self._own_root:
            headers["root_id"] = task_id
        if self._show_args:
            headers["argsrepr"] = safe_repr(args, maxlevels=self._maxlevels)
        if self._show_kwargs:
            headers["kwargsrepr"] = safe_repr(kwargs, maxlevels=self._maxlevels) if kwargs else "{}"
        properties = self._properties.copy()
        if self._own_correlation:
            properties["correlation_id"] = task_id
        return EncodedMessage(
            headers=headers,
            properties=properties,
            body=body,
            content_type=self._encoded.content_type,
            content_encoding=self._encoded.content_encoding,
        )

    def _encode(
        self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> EncodedMessage:
        changes: dict[str, Any] = {"id": task_id, "args": args, "kwargs": kwargs}
        if self._own_root:
            changes["root_id"] = task_id
        if self._own_correlation:
            changes["correlation_id"] = task_id
        if self._show_args:
            changes["argsrepr"] = safe_repr(args, maxlevels=self._maxlevels)
        if self._show_kwargs:
            changes["kwargsrepr"] = safe_repr(kwargs, maxlevels=self._maxlevels)
        return encode(
            msgspec.structs.replace(self._message, **changes),
            serializer=self._serializer,
            compression=self._compression,
        )

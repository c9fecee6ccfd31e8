"""A task message, before and after it becomes bytes.

``TaskMessage`` is what the caller meant; ``EncodedMessage`` is how it travels. The wire floor turns
one into the other; drivers only ever see the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec


class TaskMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One request to run one task once. What the caller meant, not how it travels.

    ``eta`` and ``expires`` are aware datetimes; limits are seconds. Signatures (``callbacks``,
    ``errbacks``, ``chain``, ``chord``) are plain mappings as they travel (Celery's signature
    mapping); ``chain`` is in reverse order: its last element is the next step.
    """

    id: str
    task: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = {}
    eta: datetime | None = None
    expires: datetime | None = None
    retries: int = 0
    priority: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    callbacks: Sequence[Mapping[str, Any]] | None = None
    errbacks: Sequence[Mapping[str, Any]] | None = None
    chain: Sequence[Mapping[str, Any]] | None = None
    chord: Mapping[str, Any] | None = None
    ignore_result: bool | None = None
    shadow: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    replaced_task_nesting: int = 0
    stamped_headers: Sequence[str] | None = None
    stamps: Mapping[str, Any] = {}
    headers: Mapping[str, Any] = {}
    """The caller's own headers; they travel flat beside the built-in ones."""
    properties: Mapping[str, Any] = {}
    """Broker properties the caller gave (``delivery_mode``, ``expiration``, ...)."""


class EncodedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The same request as it travels: headers, properties and a body nobody on the way opens.

    ``properties`` holds ``correlation_id``, ``reply_to``, ``priority`` (int, 0 when not given),
    ``delivery_mode`` and, where the task expires, ``expiration`` (milliseconds as text).
    """

    headers: Mapping[str, Any]
    properties: Mapping[str, Any]
    body: bytes
    content_type: str
    content_encoding: str

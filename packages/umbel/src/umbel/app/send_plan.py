"""A call before it is sent: its options merged and checked, its message made, its queue chosen.

Made by ``sending`` and ``bulk``. What does not change from call to call is worked out once per task
and kept in a ``SendPlan``, so that a plain call takes the short way: 1.5 µs instead of 9
(benchmarks/decisions/delay_cost.py). Nothing here sends.
"""

from __future__ import annotations

import os
import socket
import threading
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from umbel.app import context, options
from umbel.app.publish_policy import RetryPolicy
from umbel.errors import QueueNotFound
from umbel.model.message import TaskMessage
from umbel.model.queues import Outgoing, Queue
from umbel.ports import Serializer
from umbel.wire.reprs import safe_repr
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_v2 import encode

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.task import Task

_TASK_DEFAULTS = (
    "queue",
    "exchange",
    "exchange_type",
    "routing_key",
    "delivery_mode",
    "priority",
    "expires",
    "serializer",
    "compression",
    "time_limit",
    "soft_time_limit",
    "ignore_result",
)
"""Attributes of a task that are options of every call to it."""

_NO_OPTIONS: Mapping[str, Any] = {}


# --- identity -------------------------------------------------------------------------------------


class _Thread(threading.local):
    """The id that replies to this thread go to; only an ``rpc://`` result store uses it."""

    def __init__(self) -> None:
        self.reply_to = new_id()


def new_id() -> str:
    """Return a random id in the form of a version 4 UUID (0.7 µs; ``str(uuid4())`` takes 2.1)."""
    text = os.urandom(16).hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def _name_of_process() -> str:
    return f"gen{os.getpid()}@{socket.gethostname()}"


class _Identity:
    """Who sends. Renewed in a forked child."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.origin = _name_of_process()
        self.thread = _Thread()


_identity = _Identity()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_identity.renew)


# --- one call on its way --------------------------------------------------------------------------


class Call:
    """One message and how it is to be sent. Belongs to whoever made it."""

    __slots__ = (
        "compression",
        "due_at",
        "message",
        "now",
        "policy",
        "queue",
        "serializer",
        "timeout",
    )

    def __init__(
        self,
        message: TaskMessage,
        queue: Queue,
        serializer: Serializer,
        compression: str | None,
        *,
        due_at: datetime | None = None,
        policy: RetryPolicy | None = None,
        timeout: float | None = None,
        now: datetime | None = None,
    ) -> None:
        self.message = message
        self.queue = queue
        self.serializer = serializer
        self.compression = compression
        self.due_at = due_at
        self.policy = policy
        self.timeout = timeout
        self.now = now

    def outgoing(self) -> Outgoing:
        """Return it encoded. Raises EncodeError naming the argument that cannot be written."""
        encoded = encode(
            self.message, serializer=self.serializer, compression=self.compression, now=self.now
        )
        return Outgoing(message=encoded, queue=self.queue, due_at=self.due_at)


class SendPlan:
    """What all calls to one task have in common, for one ``Settings`` value. Immutable."""

    __slots__ = (
        "_defaults",
        "_dynamic",
        "_ignore_result",
        "_inherit_priority",
        "_levels",
        "_policy",
        "_priority",
        "_queue",
        "_replies",
        "_serializer",
        "_shadow_name",
        "_soft_time_limit",
        "_time_limit",
        "app",
        "compression",
        "name",
        "settings",
        "task",
    )

    def __init__(self, app: App, name: str, task: Task[..., Any] | None) -> None:
        self.app = app
        self.name = name
        self.task = task
        settings = self.settings = app.settings
        own = {} if task is None else {key: task.own_attribute(key) for key in _TASK_DEFAULTS}
        self._defaults = {key: value for key, value in own.items() if value is not None}
        # Only there is an address of ours in the message more than a name.
        rpc = str(settings.result_backend).startswith("rpc")
        self._replies = app.connections if rpc else None
        router = app.router
        queue = router.default
        routed: dict[str, Any] = {}
        nowhere = False
        if not router.depends_on_call:
            try:
                queue, routed = router.route(name, self._defaults, task=task)
            except QueueNotFound:  # a call that names its queue may go there all the same
                nowhere = True
        merged = {**routed, **self._defaults}
        self._queue = queue
        self._shadow_name = task.shadow_name if task is not None and task.has_shadow_name else None
        self._time_limit, self._soft_time_limit = options.limits(
            merged.get("time_limit"), merged.get("soft_time_limit"), name
        )
        self._priority = options.priority(
            merged.get("priority", settings.task_default_priority),
            strict=settings.profile == "umbel",
        )
        self._serializer = SERIALIZERS.get(merged.get("serializer") or settings.task_serializer)
        self.compression = merged.get("compression") or settings.task_compression
        self._ignore_result = bool(merged.get("ignore_result", settings.task_ignore_result))
        self._inherit_priority = settings.task_inherit_parent_priority
        self._levels = settings.task_repr_maxlevels
        self._policy = RetryPolicy.from_mapping(settings.task_publish_retry_policy)
        usual = {"queue", "priority", "serializer", "compression", "time_limit", "soft_time_limit"}
        self._dynamic = (
            router.depends_on_call
            or nowhere
            or self._shadow_name is not None
            or self._levels != 3
            or not set(merged) <= usual | {"ignore_result"}
            or settings.task_default_delivery_mode not in (2, "persistent")
        )
        """Even a call without options needs the long way."""

    def prepare(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        given: Mapping[str, Any] = _NO_OPTIONS,
    ) -> Call:
        """Return the call, checked and routed; nothing is sent. Raises UsageError."""
        if given or self._dynamic:
            return self._prepare_with_options(args, kwargs, given)
        task_id = new_id()
        root_id, parent_id, priority = task_id, None, self._priority
        if context.current.get() is not None:
            root_id, parent_id, priority = self._lineage(task_id, priority)
        return Call(
            TaskMessage(
                id=task_id,
                task=self.name,
                args=args,
                kwargs=kwargs,
                priority=priority,
                time_limit=self._time_limit,
                soft_time_limit=self._soft_time_limit,
                root_id=root_id,
                parent_id=parent_id,
                ignore_result=self._ignore_result,
                origin=_identity.origin,
                correlation_id=task_id,
                reply_to=_identity.thread.reply_to if self._replies is None else self._reply_to(),
            ),
            self._queue,
            self._serializer,
            self.compression,
        )

    def _reply_to(self) -> str:
        """Return where the result is sent, if it is sent: this process's reply queue."""
        if self._replies is not None:
            address = self._replies.result_backend.reply_to
            if address is not None:
                return address
        return _identity.thread.reply_to

    def _lineage(self, task_id: str, priority: int | None) -> tuple[str, str | None, int | None]:
        """Return root id, parent id and priority of a message sent inside a task."""
        running = context.worker_run()
        if running is None:
            return task_id, None, priority
        request = running.request
        if self._inherit_priority and priority is None:
            priority = (request.delivery_info or {}).get("priority")
        return request.root_id or request.id or task_id, request.id, priority

    def _prepare_with_options(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], given: Mapping[str, Any]
    ) -> Call:
        settings = self.settings
        given = {key: value for key, value in given.items() if value is not None}
        extra = options.check_names(given, self.name, strict=settings.profile == "umbel")
        chosen = {**self._defaults, **given}
        route = given.get("route_name") or self.name
        queue, routed = self.app.router.route(route, chosen, args, kwargs, self.task)
        if routed:
            chosen = {**routed, **chosen}
        now = datetime.now(UTC)
        message = self._message(args, kwargs, given, chosen=chosen, extra=extra, now=now)
        return Call(
            message,
            queue,
            SERIALIZERS.get(chosen.get("serializer") or settings.task_serializer),
            chosen.get("compression") or settings.task_compression,
            due_at=due_in_store(self.app, message.eta, now),
            policy=options.publish_policy(
                given.get("retry"),
                given.get("retry_policy"),
                settings.task_publish_retry,
                self._policy,
            ),
            timeout=_timeout(given),
            now=now,
        )

    def call_for(self, message: TaskMessage, given: Mapping[str, Any]) -> Call:
        """Return a finished message as a call; of ``given``, routing and encoding count."""
        chosen = {**self._defaults, **{key: one for key, one in given.items() if one is not None}}
        queue, routed = self.app.router.route(
            self.name, chosen, message.args, message.kwargs, self.task
        )
        chosen = {**routed, **chosen}
        now = datetime.now(UTC)
        return Call(
            message,
            queue,
            SERIALIZERS.get(chosen.get("serializer") or self.settings.task_serializer),
            chosen.get("compression") or self.settings.task_compression,
            due_at=due_in_store(self.app, message.eta, now),
            now=now,
        )

    def _message(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        given: Mapping[str, Any],
        *,
        chosen: Mapping[str, Any],
        extra: Mapping[str, Any],
        now: datetime,
    ) -> TaskMessage:
        get = chosen.get
        task_id = str(get("task_id") or new_id())
        wanted = options.priority(
            get("priority", self.settings.task_default_priority),
            strict=self.settings.profile == "umbel",
        )
        root_id, parent_id, priority = self._lineage(task_id, wanted)
        hard, soft = options.limits(get("time_limit"), get("soft_time_limit"), self.name)
        zone = self.app.timezone
        stamps = get("stamped_headers")
        return TaskMessage(
            id=task_id,
            task=self.name,
            args=args,
            kwargs=kwargs,
            eta=_in_zone(options.due(get("countdown"), get("eta"), now), zone),
            expires=_in_zone(_not_past(options.expiry(get("expires"), now), now, self.name), zone),
            retries=get("retries") or 0,
            priority=priority,
            time_limit=hard,
            soft_time_limit=soft,
            root_id=get("root_id") or root_id,
            parent_id=get("parent_id") or parent_id,
            group_id=get("group_id"),
            group_index=get("group_index"),
            callbacks=options.signatures(get("link"), "link"),
            errbacks=options.signatures(get("link_error"), "link_error"),
            chain=get("chain"),
            chord=get("chord"),
            ignore_result=bool(get("ignore_result", self.settings.task_ignore_result)),
            shadow=get("shadow") or self._shadow(args, kwargs, given),
            argsrepr=self._shown(get("argsrepr"), args),
            kwargsrepr=self._shown(get("kwargsrepr"), kwargs),
            origin=get("origin") or _identity.origin,
            correlation_id=get("correlation_id") or task_id,
            reply_to=get("reply_to") or self._reply_to(),
            replaced_task_nesting=get("replaced_task_nesting") or 0,
            stamped_headers=stamps,
            stamps=get("stamps") or {name: given[name] for name in stamps or () if name in given},
            headers=options.headers(get("headers")),
            properties=self._properties(chosen, extra),
        )

    def _shadow(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], given: Mapping[str, Any]
    ) -> str | None:
        if self._shadow_name is None:
            return None
        name: str | None = self._shadow_name(args, kwargs, given)
        return name

    def _shown(self, given: str | None, value: Any) -> str | None:
        # None: the encoder shows them, with its usual depth.
        if given is None and self._levels != 3:
            return safe_repr(value, maxlevels=self._levels)
        return given

    def _properties(self, chosen: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
        properties = dict(extra)
        for name in options.BROKER_PROPERTIES:
            if chosen.get(name) is not None:
                properties[name] = chosen[name]
        mode = properties.get("delivery_mode", self.settings.task_default_delivery_mode)
        properties.pop("delivery_mode", None)
        if mode not in (None, 2):
            properties["delivery_mode"] = options.delivery_mode(mode)
        return properties


def due_in_store(app: App, eta: datetime | None, now: datetime) -> datetime | None:
    """Return until when a message rests at the broker: until its eta, where the broker can."""
    if eta is None or eta <= now or not app.settings.task_delay_in_store:
        return None
    return eta if app.connections.sending_broker.capabilities.delay else None


def _in_zone(moment: datetime | None, zone: Any) -> datetime | None:
    # Celery writes times in the app's zone; readers take any.
    return moment if moment is None or zone is UTC else moment.astimezone(zone)


def _not_past(expires: datetime | None, now: datetime, name: str) -> datetime | None:
    if expires is not None and expires <= now:
        warnings.warn(
            f"Task {name} is sent with expires={expires.isoformat()}, which is past: no worker "
            "will run it.",
            stacklevel=6,
        )
    return expires


def _timeout(given: Mapping[str, Any]) -> float | None:
    value = given.get("timeout", given.get("confirm_timeout"))
    return None if value is None else options.seconds(value, "timeout")

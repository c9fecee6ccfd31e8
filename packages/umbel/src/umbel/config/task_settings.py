"""The settings about everything, and about tasks: how they run, travel and find their queue.

The first of the groups that ``settings.Settings`` is stacked from. A field is written once: its
name, the type that is stored, Celery's default, and one sentence, from which the reference is made.
``celery_names`` holds the older names, ``settings`` the defaults of the ``umbel`` profile,
``converting`` what is accepted for each type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

Seconds: TypeAlias = float
"""A duration. Whoever sets it may give a number of seconds or a ``timedelta``."""
Octal: TypeAlias = int
"""A file mode. Text is read in base eight."""


class TaskSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings about everything and about tasks."""

    # --- General and time ---

    profile: str = "celery"
    """The column of defaults: ``umbel`` (safe) or ``celery`` (as Celery 5.7 behaves)."""
    accept_content: Sequence[str] = ("json",)
    """Serializers, by name or MIME type, that may be decoded; anything else is refused."""
    result_accept_content: Sequence[str] | None = None
    """The same for results; None follows ``accept_content``."""
    enable_utc: bool = True
    """Whether times in messages are UTC; False means the local zone unless ``timezone`` is set."""
    timezone: Any = None
    """Zone of schedules and displayed times: a name such as ``Europe/Rome`` or a ``tzinfo``."""
    imports: Sequence[str] = ()
    """Modules that a worker imports at start, before ``include``."""
    include: Sequence[str] = ()
    """More modules that a worker imports at start."""

    # --- Tasks: execution ---

    task_annotations: Any = None
    """Attributes to change on tasks: a mapping by task name (or ``*``), or a list of such."""
    task_always_eager: bool = False
    """Run tasks inside the call, without broker and worker; meant for tests."""
    task_eager_propagates: bool = False
    """Raise the errors of tasks that run eagerly instead of keeping them in the result."""
    task_store_eager_result: bool = False
    """Store the results of tasks that run eagerly."""
    task_remote_tracebacks: bool = False
    """Raise a failed task's error with the worker's traceback attached; needs ``tblib``."""
    task_ignore_result: bool = False
    """Store no results."""
    task_store_errors_even_if_ignored: bool = False
    """Store failures even where results are ignored."""
    task_track_started: bool = False
    """Store the state STARTED when a task begins."""
    task_time_limit: Seconds | None = None
    """Seconds after which a running task is ended by force."""
    task_soft_time_limit: Seconds | None = None
    """Seconds after which SoftTimeLimitExceeded is raised inside a running task."""
    task_delivery: str | None = None
    """``at_least_once`` or ``at_most_once``; None: as the next settings say."""
    task_acks_late: bool = False
    """Acknowledge a message after the task ran instead of before it runs."""
    task_acks_on_failure_or_timeout: bool = True
    """Acknowledge late also after a failure or time limit; the next two settings replace it."""
    task_acks_on_failure: bool | None = None
    """Acknowledge late after a failure; False refuses the message for good."""
    task_acks_on_timeout: bool | None = None
    """Acknowledge late after a time limit; False returns the message to its queue."""
    task_reject_on_worker_lost: bool | None = None
    """Return the message to its queue when the process that ran the task dies."""
    task_retry_on_worker_lost: bool = False
    """Retry, counted as a retry, when the process dies; wins over the previous setting."""
    task_max_deliveries: int | None = None
    """Deliveries without an outcome after which a message is put in quarantine; None: no limit."""
    task_quarantine_failures: bool = False
    """Put the message of a task that fails for good, its retries exhausted, in quarantine too."""
    task_default_rate_limit: int | str | None = None
    """Rate limit of tasks that have none of their own, such as ``100/m``."""
    task_allow_error_cb_on_chord_header: bool = False
    """Attach the error callbacks of a chord to the tasks of its header too."""
    task_repr_maxlevels: int = 3
    """Depth to which arguments are shown in the message's argsrepr and kwargsrepr."""
    task_revoke_keep: Seconds = 10800.0
    """Seconds for which a revocation is remembered; more than the longest ``countdown`` in use."""

    # --- Tasks: publishing and routing ---

    task_serializer: str = "json"
    """Serializer of messages."""
    task_compression: str | None = None
    """Compression of messages: gzip, zlib, bzip2, lzma, brotli, zstd."""
    task_protocol: int = 2
    """Version of the task message protocol: 2, or 1 for very old peers."""
    task_publish_retry: bool = True
    """Try again when publishing fails on a connection error."""
    task_publish_retry_policy: Mapping[str, Any] = msgspec.field(
        default_factory=lambda: {
            "max_retries": 3,
            "interval_start": 0,
            "interval_max": 1,
            "interval_step": 0.2,
        }
    )
    """How often and after which pauses (seconds) publishing is tried again."""
    task_delay_in_store: bool = False
    """Keep messages with a later ``eta`` at the broker instead of in a worker's memory."""
    task_default_queue: str = "celery"
    """Queue of tasks that are not routed; also names its exchange and routing key."""
    task_default_queue_type: str = "classic"
    """Type of the default queue on RabbitMQ: classic or quorum."""
    task_default_exchange: str | None = None
    """Exchange of the default queue; None takes the queue's name."""
    task_default_exchange_type: str = "direct"
    """Type of exchanges that name none."""
    task_default_routing_key: str | None = None
    """Routing key of the default queue; None takes the queue's name."""
    task_default_delivery_mode: Any = 2
    """2 (``persistent``) or 1 (``transient``), on RabbitMQ."""
    task_default_priority: int | None = None
    """Priority of messages that set none."""
    task_queue_max_priority: int | None = None
    """Highest priority of queues that set none, on RabbitMQ."""
    task_inherit_parent_priority: bool = False
    """Give tasks sent by a task the priority of that task."""
    task_queues: Any = None
    """The queues: a list of Queue objects, or a mapping of names to options."""
    task_routes: Any = None
    """Routers: a mapping of task names or patterns to options, a callable, or a list of these."""
    task_create_missing_queues: bool = True
    """Create queues that ``task_queues`` does not list; False makes their use an error."""
    task_create_missing_queue_type: str = "classic"
    """Type of queues so created, on RabbitMQ: classic or quorum."""
    task_create_missing_queue_exchange_type: str | None = None
    """Exchange type of queues so created; None takes ``task_default_exchange_type``."""
    task_send_sent_event: bool = False
    """Send a task-sent event with every message."""

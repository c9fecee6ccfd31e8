"""All settings as one frozen value, and the two columns of defaults.

Every part of the house reads ``Settings``; only ``conf`` makes them. The value is stacked from the
groups beside this file, so ``settings.task_acks_late`` is one attribute read. It is shallowly
frozen: a mapping or list that the user gave is the user's own object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.config.task_settings import Octal, Seconds
from umbel.config.worker_settings import WorkerSettings
from umbel.errors import ImproperlyConfigured

PROFILES = ("umbel", "celery")


class Settings(WorkerSettings, frozen=True, kw_only=True):
    """Every setting, by its lower-case name. The class's own defaults are Celery's."""

    # --- Events and remote control ---

    event_queue_ttl: Seconds | None = 5.0
    """Seconds for which an event waits for its monitor."""
    event_queue_expires: Seconds | None = 60.0
    """Seconds after which the queue of a monitor that left is deleted."""
    event_queue_prefix: str = "celeryev"
    """First part of the names of monitors' queues."""
    event_queue_durable: bool = False
    """Keep monitors' queues over a restart of the broker."""
    event_queue_exclusive: bool = True
    """Let only the monitor that made it read its queue."""
    event_serializer: str = "json"
    """Serializer of events."""
    event_exchange: str = "celeryev"
    """Exchange of events."""
    events_logfile: str | None = None
    """Log file of the events command."""
    events_pidfile: str | None = None
    """File for the process id of the events command."""
    events_uid: int | str | None = None
    """User that the events command becomes."""
    events_gid: int | str | None = None
    """Group that the events command becomes."""
    events_umask: Octal | None = None
    """File mode mask of the events command; text is octal."""
    events_executable: str | None = None
    """Python that runs a detached events command."""
    control_queue_ttl: Seconds = 300.0
    """Seconds for which a remote control command waits for its worker."""
    control_queue_expires: Seconds = 10.0
    """Seconds after which the command queue of a worker that left is deleted."""
    control_queue_exclusive: bool = True
    """Let only the worker that made it read its command queue."""
    control_queue_durable: bool = False
    """Keep command queues over a restart of the broker."""
    control_exchange: str = "celery"
    """Exchange of remote control; different names keep clusters on one broker apart."""

    # --- Beat and security ---

    beat_schedule: Mapping[str, Any] = {}
    """Periodic tasks by name."""
    beat_scheduler: Any = "celery.beat:PersistentScheduler"
    """Class of the scheduler, or its path."""
    beat_schedule_filename: str = "celerybeat-schedule"
    """File in which Celery's scheduler keeps its state."""
    beat_store: str | None = None
    """URL of the store of the schedule; None: the broker, or else the result backend."""
    beat_timetable: str | None = None
    """Name of this program's schedule in that store; None: the name of the app."""
    beat_sync_every: int = 0
    """Tasks sent between two writes of that state; 0: written by time."""
    beat_max_loop_interval: Seconds = 0.0
    """Longest sleep of the scheduler in seconds; 0: as the scheduler likes."""
    beat_cron_starting_deadline: Seconds | None = None
    """Age in seconds above which a missed crontab run is dropped; None: it is caught up once."""
    beat_enable_remote_control: bool = False
    """Let the scheduler answer a ping."""
    beat_remote_control_max_tick_age: Seconds | None = None
    """Seconds without a tick after which the scheduler counts as stalled."""
    beat_logfile: str | None = None
    """Log file of the scheduler."""
    beat_pidfile: str | None = None
    """File for the process id of the scheduler."""
    beat_uid: int | str | None = None
    """User that the scheduler becomes."""
    beat_gid: int | str | None = None
    """Group that the scheduler becomes."""
    beat_umask: Octal | None = None
    """File mode mask of the scheduler; text is octal."""
    beat_executable: str | None = None
    """Python that runs a detached scheduler."""
    security_key: str | None = None
    """Private key file with which messages are signed."""
    security_key_password: bytes | None = None
    """Password of that file."""
    security_certificate: str | None = None
    """Certificate file that goes with the key."""
    security_cert_store: str | None = None
    """Pattern of certificate files that are trusted."""
    security_digest: str = "sha256"
    """Digest of signatures."""


UMBEL_DEFAULTS: Mapping[str, Any] = {
    "profile": "umbel",
    "broker_url": "sqlite:///umbel.sqlite3",
    "result_backend": "sqlite:///umbel.sqlite3",
    "broker_connection_max_retries": None,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_max_deliveries": 3,
    "task_delay_in_store": True,
    "task_revoke_keep": 30 * 86400.0,
    "worker_prefetch_multiplier": 256,
    "worker_shutdown_timeout": 25.0,
    "worker_redirect_stdouts": False,
    "worker_hijack_root_logger": False,
}
"""Where the ``umbel`` profile is not Celery. Everything else has one default.

A program that sets ``broker_url`` alone has its results there too: see ``composing``.
"""

OWN_NAMES = frozenset(
    {
        "profile",
        "beat_store",
        "beat_timetable",
        "broker_publish_timeout",
        "outbox_poll_interval",
        "outbox_relay",
        "outbox_table",
        "outbox_url",
        "task_delay_in_store",
        "task_delivery",
        "task_max_deliveries",
        "task_quarantine_failures",
        "task_revoke_keep",
        "worker_http",
        "worker_lease",
        "worker_lease_renewal",
        "worker_lookahead",
        "worker_metrics_task_names",
        "worker_processes",
        "worker_shutdown_timeout",
        "worker_stall_timeout",
    }
)
"""The settings that Celery does not have."""

_DEFAULTS = {"celery": Settings(), "umbel": Settings(**UMBEL_DEFAULTS)}

NAMES: tuple[str, ...] = Settings.__struct_fields__
"""The names of all settings, group by group."""


def defaults(profile: str) -> Settings:
    """Return the settings of a program that sets nothing.

    Raises ImproperlyConfigured for a profile that does not exist.
    """
    try:
        return _DEFAULTS[profile]
    except (KeyError, TypeError):
        raise ImproperlyConfigured(
            f"There is no profile {profile!r}: profile is 'umbel' (safe defaults) or 'celery' "
            "(the defaults of Celery 5.7)."
        ) from None

"""The settings that are accepted and that this version does not act on.

Programs written for Celery set many of them, so none is an error; but who sets one deserves to be
told. Called by the worker when it starts and by ``umbel doctor``. A test sees to it that every
setting is read somewhere in the house or named here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from umbel.config.conf import Conf
from umbel.config.settings import NAMES, defaults

_OF_WHAT_IS_NOT_THERE = (
    "azureblockblob_", "cache_", "cassandra_", "cosmosdbsql_", "database_",
    "dynamodb_", "elasticsearch_", "events_", "firestore_", "gcs_", "s3_", "security_",
)  # fmt: skip

_SINGLE = frozenset(
    {
        "arangodb_backend_settings",
        "beat_enable_remote_control",
        "beat_executable",
        "beat_remote_control_max_tick_age",
        "beat_schedule_filename",
        "beat_sync_every",
        "broker_channel_error_retry",
        "broker_connection_max_retries",
        "broker_connection_retry",
        "broker_connection_retry_on_startup",
        "broker_failover_strategy",
        "broker_heartbeat_checkrate",
        "broker_pool_acquire_timeout",
        "broker_pool_limit",
        "couchbase_backend_settings",
        "db_reuse_max",
        "mongodb_backend_settings",
        "override_backends",
        "redis_max_connections",
        "redis_retry_on_timeout",
        "redis_socket_keepalive",
        "result_accept_content",
        "result_backend_always_retry",
        "result_backend_base_sleep_between_retries_ms",
        "result_backend_max_retries",
        "result_backend_max_sleep_between_retries_ms",
        "result_backend_thread_safe",
        "result_cache_max",
        "result_chord_join_timeout",
        "result_exchange",
        "result_exchange_type",
        "task_default_rate_limit",
        "task_protocol",
        "task_remote_tracebacks",
        "task_retry_on_worker_lost",
        "visibility_timeout",
        "worker_agent",
        "worker_autoscaler",
        "worker_cancel_long_running_tasks_on_connection_loss",
        "worker_consumer",
        "worker_deduplicate_successful_tasks",
        "worker_detect_quorum_queues",
        "worker_direct",
        "worker_disable_rate_limits",
        "worker_enable_prefetch_count_reduction",
        "worker_enable_soft_shutdown_on_idle",
        "worker_eta_task_limit",
        "worker_executable",
        "worker_gid",
        "worker_lost_wait",
        "worker_pidfile",
        "worker_pool_putlocks",
        "worker_state_db",
        "worker_timer",
        "worker_timer_precision",
        "worker_uid",
        "worker_umask",
    }
)

WITHOUT_EFFECT: frozenset[str] = _SINGLE | {
    name for name in NAMES if name.startswith(_OF_WHAT_IS_NOT_THERE)
} - {"database_url"}
"""Settings whose value changes nothing."""

_AS_IT_IS: Mapping[str, Any] = {
    "broker_connection_max_retries": None,
    "broker_connection_retry_on_startup": True,
    "redis_retry_on_timeout": True,
    "redis_socket_keepalive": True,
    "result_backend_thread_safe": True,
    "worker_disable_rate_limits": True,
}
"""Values that ask for what Umbel does in any case."""


def set_without_effect(conf: Conf) -> list[str]:
    """Return the settings that somebody set to something else than they are by default, in vain."""
    given = conf.without_defaults()
    settings, usual = conf.settings, msgspec.structs.asdict(defaults("celery"))
    return [
        name
        for name in sorted(WITHOUT_EFFECT & given.keys())
        if (value := getattr(settings, name)) != usual[name]
        and not (name in _AS_IT_IS and value == _AS_IT_IS[name])
    ]


def told_without_effect(names: Sequence[str], limited: Sequence[str] = ()) -> str | None:
    """Return one line about such settings and tasks with a ``rate_limit``; None without any."""
    parts = list(names)
    if limited:
        more = f" and {len(limited) - 3} more" if len(limited) > 3 else ""
        parts.append(f"rate_limit of {', '.join(sorted(limited)[:3])}{more}")
    if not parts:
        return None
    return f"Set, and without effect in this version of Umbel: {', '.join(parts)}"

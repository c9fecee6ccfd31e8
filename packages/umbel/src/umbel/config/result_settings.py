"""The settings of results, and of the SQL, Redis and cache result stores."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import msgspec

from umbel.config.broker_settings import BrokerSettings
from umbel.config.task_settings import Seconds


class ResultSettings(BrokerSettings, frozen=True, kw_only=True):
    """Settings of results and of the common result stores."""

    # --- Results ---

    result_backend: Any = None
    """Where results rest: a URL, an alias, or a backend class; None keeps no results."""
    result_backend_transport_options: Mapping[str, Any] = {}
    """Options of the result store's driver."""
    result_backend_thread_safe: bool = False
    """Share one backend object between threads; Umbel's own backends always do."""
    override_backends: Mapping[str, Any] = {}
    """Result backends of your own: a mapping of alias to class."""
    result_serializer: str = "json"
    """Serializer of results."""
    result_compression: str | None = None
    """Compression of stored results."""
    result_expires: Seconds | None = 86400.0
    """Seconds for which a result is kept; None or 0: for ever."""
    result_failure_expires: Seconds | None = None
    """The same for failures; None follows ``result_expires``."""
    result_chord_expires: Seconds | None = None
    """Seconds after which an unfinished chord may be forgotten; None: never."""
    result_extended: bool = False
    """Store the task's name, arguments, worker, retries and queue with its result."""
    result_persistent: bool | None = None
    """Keep reply messages over a restart of the broker, with ``rpc://``."""
    result_cache_max: int = -1
    """Results remembered by a client; -1 switches the cache off."""
    result_chord_join_timeout: Seconds = 3.0
    """Seconds to wait for each result when a chord collects its header."""
    result_chord_retry_interval: Seconds = 1.0
    """Seconds between looks at a chord's header, on stores that cannot count."""
    result_backend_always_retry: bool = False
    """Try again when the result store fails."""
    result_backend_max_retries: float = inf
    """How often to try again."""
    result_backend_base_sleep_between_retries_ms: int = 10
    """First pause between two tries, in milliseconds."""
    result_backend_max_sleep_between_retries_ms: int = 10000
    """Longest pause between two tries, in milliseconds."""
    result_exchange: str = "celeryresults"
    """Exchange of a result backend that Celery has removed; without effect."""
    result_exchange_type: str = "direct"
    """Type of that exchange; without effect."""

    # --- SQL, Redis, cache ---

    database_url: str | None = None
    """URL of the SQL result store; better given as ``result_backend``."""
    database_engine_options: Mapping[str, Any] = msgspec.field(
        default_factory=lambda: {"pool_pre_ping": True, "pool_recycle": 3600}
    )
    """Options of the SQLAlchemy engine."""
    database_engine_callback: Any = None
    """A callable that is given the SQLAlchemy engine."""
    database_short_lived_sessions: bool = False
    """Open a new session for each operation."""
    database_table_schemas: Mapping[str, Any] | None = None
    """Schema names by ``task`` and ``group``."""
    database_table_names: Mapping[str, Any] | None = None
    """Table names by ``task`` and ``group``."""
    database_create_tables_at_setup: bool = True
    """Create missing tables at start; False: at first use."""
    db_reuse_max: int | None = None
    """Under Django, tasks after which database connections are opened anew; None: every task."""
    cache_backend: str | None = None
    """The Django cache, or cache server, that keeps results."""
    cache_backend_options: Mapping[str, Any] = {}
    """Options of the memcached client."""
    redis_backend_use_ssl: Any = None
    """True, or a mapping of TLS options, for the Redis result store."""
    redis_backend_health_check_interval: Seconds | None = None
    """Seconds of idleness after which a Redis connection is checked before use."""
    redis_backend_credential_provider: Any = None
    """A credential provider of redis-py: object, class, or dotted path."""
    redis_client_name: str | None = None
    """Name that result store connections tell Redis."""
    redis_max_connections: int | None = None
    """Most connections to Redis for results; None: no limit."""
    redis_socket_timeout: Seconds | None = 120.0
    """Seconds to wait for an answer of Redis."""
    redis_socket_connect_timeout: Seconds | None = None
    """Seconds to wait for a connection to Redis."""
    redis_retry_on_timeout: bool = False
    """Ask again when Redis did not answer in time."""
    redis_socket_keepalive: bool = False
    """Keep idle TCP connections to Redis alive."""
    redis_username: str | None = None
    """User at Redis, when the URL names none."""
    redis_host: str | None = None
    """Host of Redis, from before there were URLs."""
    redis_port: int | None = None
    """Port of Redis, from before there were URLs."""
    redis_db: int | None = None
    """Database of Redis, from before there were URLs."""
    redis_password: str | None = None
    """Password at Redis, from before there were URLs."""

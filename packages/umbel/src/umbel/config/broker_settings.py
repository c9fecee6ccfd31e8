"""The settings of the broker. See ``task_settings`` for how a group is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.config.task_settings import Seconds, TaskSettings


class BrokerSettings(TaskSettings, frozen=True, kw_only=True):
    """Settings of the broker."""

    # --- Broker ---

    broker_url: str | None = None
    """Where messages rest. A URL, several with ``;`` between them, or a list of URLs."""
    broker_read_url: str | None = None
    """URL for workers; None takes ``broker_url``."""
    broker_write_url: str | None = None
    """URL for senders; None takes ``broker_url``."""
    broker_transport: str | None = None
    """Scheme of the broker when ``broker_url`` has none; better written in the URL."""
    broker_transport_options: Mapping[str, Any] = {}
    """Options of the broker's driver, such as ``visibility_timeout``."""
    broker_publish_timeout: Seconds = 5.0
    """Seconds within which a message is connected, sent and confirmed, or the call fails."""
    broker_connection_timeout: Seconds | None = 4.0
    """Seconds to wait for one connection."""
    broker_connection_retry: bool = True
    """Connect again after the connection was lost."""
    broker_connection_retry_on_startup: bool | None = None
    """The same when the broker is away at start; None follows the previous setting."""
    broker_connection_max_retries: int | None = 100
    """Attempts to connect before a worker gives up; None: it never gives up."""
    broker_channel_error_retry: bool = False
    """Connect again also after an error of the channel, on AMQP."""
    broker_failover_strategy: Any = None
    """Order in which several URLs are tried: round-robin, shuffle, or a callable."""
    broker_heartbeat: Seconds | None = 120.0
    """Seconds between AMQP heartbeats; None or 0 switches them off."""
    broker_heartbeat_checkrate: float = 3.0
    """Checks per heartbeat interval."""
    broker_login_method: str | None = None
    """AMQP login method."""
    broker_native_delayed_delivery_queue_type: str = "quorum"
    """Type of the queues for delayed delivery on RabbitMQ: classic or quorum."""
    broker_pool_limit: int | None = 10
    """Most connections kept open by one process; None or 0: none are kept."""
    broker_pool_acquire_timeout: Seconds | None = None
    """Seconds to wait for a pooled connection; None: as long as it takes."""
    broker_use_ssl: Any = False
    """True, or a mapping of TLS options."""
    broker_host: str | None = None
    """Host of the broker, from before there were URLs."""
    broker_port: int | None = None
    """Port of the broker, from before there were URLs."""
    broker_user: str | None = None
    """User at the broker, from before there were URLs."""
    broker_password: str | None = None
    """Password at the broker, from before there were URLs."""
    broker_vhost: str | None = None
    """Virtual host or database at the broker, from before there were URLs."""
    visibility_timeout: Seconds | None = None
    """Accepted where a guide asks for it; ``broker_transport_options`` is where it is read."""

    # --- Outbox ---

    outbox_url: str | None = None
    """URL (SQLAlchemy's) of the application's database, for ``delay_tx`` with any broker."""
    outbox_table: str = "umbel_outbox"
    """Name of its table, with a schema and a dot before it where wanted."""
    outbox_poll_interval: Seconds = 1.0
    """Seconds between two looks for what was committed."""
    outbox_relay: bool = True
    """Workers send what is there; else only ``umbel outbox relay`` does."""

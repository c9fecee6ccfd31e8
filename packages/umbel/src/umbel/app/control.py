"""``app.control``: what a program can ask of the workers, and tell them.

Revoking and purging are facts in the broker, so they hold whether workers are up or not. Everything
else is a message to the workers that run now; Celery's are asked and told by the same messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from umbel.app.handles import revoke_all
from umbel.app.inspecting import Inspect
from umbel.config.bus_names import bus_names
from umbel.control.client import ControlClient, Replies, checked_matcher
from umbel.errors import NotSupported
from umbel.wire.pidbox import Command
from umbel.wire.serializers import SERIALIZERS

if TYPE_CHECKING:
    from umbel.app.app import App


class Control:
    """The remote control of one app. Any thread may use it.

    Most methods take ``destination`` (node names), or ``pattern`` and ``matcher``; without either
    every worker is meant. With ``reply=True`` they return a list of ``{node: reply}``, waiting
    until everybody has answered or nothing came for ``timeout`` seconds (1.0); else None.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    # --- anything ---------------------------------------------------------------------------------

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Sequence[str] | None = None,
        connection: Any = None,  # noqa: ARG002 - Celery's; the app has its own
        reply: bool = False,
        timeout: float = 1.0,
        limit: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        channel: Any = None,  # noqa: ARG002 - Celery's
        pattern: str | None = None,
        matcher: str | None = None,
        **extra_kwargs: Any,
    ) -> Replies | None:
        """Send a command to workers; see the class for the rest.

        ``limit``: stop at so many answers; ``callback`` is given each as it comes. Raises
        UsageError, NotSupported where the broker carries no commands, and OperationalError.
        """
        pattern, matcher = checked_matcher(pattern, matcher)
        if isinstance(destination, str):
            destination = (destination,)
        asked = Command(
            method=command,
            arguments={**(arguments or {}), **extra_kwargs},
            destination=tuple(destination or ()),
            pattern=pattern,
            matcher=matcher,
        )
        client = self._client()
        if not (reply or callback or limit):
            client.tell(asked)
            return None
        return client.ask(asked, timeout=timeout, limit=limit, callback=callback)

    def _client(self) -> ControlClient:
        bus = self.app.connections.bus
        if bus is None:
            raise NotSupported(
                "This broker carries no commands to workers: remote control needs another,"
                " such as redis://, amqp:// or sqlite://."
            )
        settings = self.app.settings
        return ControlClient(
            bus,
            bus_names(settings),
            serializer=SERIALIZERS.get(settings.task_serializer),
            accept=SERIALIZERS.content_types(settings.accept_content),
            known=lambda: [one.name for one in self.app.broker.presences()],
        )

    def inspect(
        self,
        destination: str | Sequence[str] | None = None,
        timeout: float = 1.0,
        callback: Callable[[Any], Any] | None = None,
        connection: Any = None,  # noqa: ARG002 - Celery's
        app: Any = None,  # noqa: ARG002 - Celery's
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> Inspect:
        """Return what asks workers questions."""
        return Inspect(self, destination, timeout, callback, limit, pattern, matcher)

    # --- tasks ------------------------------------------------------------------------------------

    def revoke(
        self,
        task_id: str | Iterable[str],
        destination: Sequence[str] | None = None,
        terminate: bool = False,
        signal: str = "SIGTERM",
        **kwargs: Any,
    ) -> Replies | None:
        """See that these tasks do not run, wherever they are; ``terminate`` ends those that do.

        The broker keeps it for every worker of Umbel, present and future, for ``task_revoke_keep``
        seconds; workers of Celery are told. With ``destination`` only those are told, and a worker
        of Umbel among them has the broker keep it for all.
        """
        ids = [task_id] if isinstance(task_id, str) else [str(one) for one in task_id]
        if not ids:
            return [] if kwargs.get("reply") else None
        if not destination:
            revoke_all(self.app, ids, terminate=terminate, signal=signal)
        if destination or kwargs.get("reply") or self._has_celery_peers():
            told = {"task_id": ids, "terminate": terminate, "signal": signal}
            return self.broadcast("revoke", told, destination, **kwargs)
        return None

    def _has_celery_peers(self) -> bool:
        return self.app.broker.capabilities.celery_peers and self.app.connections.bus is not None

    def terminate(
        self,
        task_id: str | Iterable[str],
        destination: Sequence[str] | None = None,
        signal: str = "SIGTERM",
        **kwargs: Any,
    ) -> Replies | None:
        """Do as ``revoke`` with ``terminate``."""
        return self.revoke(task_id, destination, terminate=True, signal=signal, **kwargs)

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any],
        destination: Sequence[str] | None = None,
        terminate: bool = False,
        signal: str = "SIGTERM",
        **kwargs: Any,
    ) -> Replies | None:
        """Have workers of Celery revoke by stamps; workers of Umbel answer that they do not."""
        told = {"headers": dict(headers), "terminate": terminate, "signal": signal}
        return self.broadcast("revoke_by_stamped_headers", told, destination, **kwargs)

    def rate_limit(
        self,
        task_name: str,
        rate_limit: str | float,
        destination: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Replies | None:
        """Change how often a task may run; workers of Umbel answer that they keep no limits yet."""
        told = {"task_name": task_name, "rate_limit": rate_limit}
        return self.broadcast("rate_limit", told, destination, **kwargs)

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Replies | None:
        """Change the limits (seconds) of the runs of a task that are claimed from now on."""
        told = {"task_name": task_name, "soft": soft, "hard": hard}
        return self.broadcast("time_limit", told, destination, **kwargs)

    # --- queues -----------------------------------------------------------------------------------

    def purge(self, connection: Any = None) -> int:  # noqa: ARG002 - Celery's; the app has its own
        """Drop every message that waits in the app's queues; return how many there were."""
        broker = self.app.broker
        return sum(broker.purge(name) for name in self.app.router.queues)

    discard_all = purge

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        options: Mapping[str, Any] | None = None,
        destination: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Replies | None:
        """Have workers take from one more queue."""
        told = {
            "queue": queue,
            "exchange": exchange,
            "exchange_type": exchange_type,
            "routing_key": routing_key,
            **(options or {}),
        }
        return self.broadcast("add_consumer", told, destination, **kwargs)

    def cancel_consumer(
        self, queue: str, destination: Sequence[str] | None = None, **kwargs: Any
    ) -> Replies | None:
        """Have workers take from a queue no more."""
        return self.broadcast("cancel_consumer", {"queue": queue}, destination, **kwargs)

    # --- workers ----------------------------------------------------------------------------------

    def ping(
        self, destination: Sequence[str] | None = None, timeout: float = 1.0, **kwargs: Any
    ) -> Replies:
        """Return ``{node: {"ok": "pong"}}`` for each worker that answers.

        Where the broker carries no commands, for each whose lease is alive.
        """
        if self.app.connections.bus is None:
            wanted = None if destination is None else frozenset(destination)
            names = sorted({one.name for one in self.app.broker.presences()})
            return [{name: {"ok": "pong"}} for name in names if wanted is None or name in wanted]
        kwargs["reply"] = True
        return self.broadcast("ping", {}, destination, timeout=timeout, **kwargs) or []

    def shutdown(self, destination: Sequence[str] | None = None, **kwargs: Any) -> Replies | None:
        """End workers once what they run is done. Without ``destination``: all of them."""
        return self.broadcast("shutdown", {}, destination, **kwargs)

    def pool_grow(
        self, n: int = 1, destination: Sequence[str] | None = None, **kwargs: Any
    ) -> Replies | None:
        """Have each run in ``n`` processes more."""
        return self.broadcast("pool_grow", {"n": n}, destination, **kwargs)

    def pool_shrink(
        self, n: int = 1, destination: Sequence[str] | None = None, **kwargs: Any
    ) -> Replies | None:
        """Have each run in ``n`` processes fewer; what runs there ends first."""
        return self.broadcast("pool_shrink", {"n": n}, destination, **kwargs)

    def autoscale(
        self,
        max: int,  # noqa: A002 - Celery's
        min: int,  # noqa: A002 - Celery's
        destination: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Replies | None:
        """Change the limits of workers that scale by themselves; ours say that they do not yet."""
        return self.broadcast("autoscale", {"max": max, "min": min}, destination, **kwargs)

    def pool_restart(
        self,
        modules: Sequence[str] | None = None,
        reload: bool = False,
        reloader: Any = None,
        destination: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Replies | None:
        """Have executors replaced (where ``worker_pool_restarts`` allows it)."""
        told = {"modules": modules, "reload": reload, "reloader": reloader}
        return self.broadcast("pool_restart", told, destination, **kwargs)

    # --- monitoring -------------------------------------------------------------------------------

    def enable_events(
        self, destination: Sequence[str] | None = None, **kwargs: Any
    ) -> Replies | None:
        """Have task events sent."""
        return self.broadcast("enable_events", {}, destination, **kwargs)

    def disable_events(
        self, destination: Sequence[str] | None = None, **kwargs: Any
    ) -> Replies | None:
        """Have task events sent no more, except by workers started with ``-E``."""
        return self.broadcast("disable_events", {}, destination, **kwargs)

    def heartbeat(self, destination: Sequence[str] | None = None, **kwargs: Any) -> Replies | None:
        """Have a sign of life sent to monitors now."""
        return self.broadcast("heartbeat", {}, destination, **kwargs)

    def election(
        self,
        id: str,  # noqa: A002 - Celery's
        topic: str,
        action: Any = None,
        connection: Any = None,  # noqa: ARG002 - Celery's
    ) -> None:
        """Refuse: an election with one live worker ends that worker of Celery 5.7."""
        raise NotSupported(
            f"No election is held ({topic!r}, {id!r}, {action!r}): workers of Umbel need no leader,"
            " and one that is alone would bring a worker of Celery down."
        )

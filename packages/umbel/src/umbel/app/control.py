"""``app.control``: what a program can tell the workers from outside, as far as the broker keeps it.

Revoking and purging are facts in the broker, so they hold whether workers are up or not. Asking a
worker something, or having it change itself, needs a message to it, which is not built yet; each
such name says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from umbel.app.handles import revoke_all
from umbel.errors import UsageError

if TYPE_CHECKING:
    from umbel.app.app import App

_LATER = frozenset(
    {
        "add_consumer",
        "autoscale",
        "broadcast",
        "cancel_consumer",
        "disable_events",
        "election",
        "enable_events",
        "heartbeat",
        "inspect",
        "mailbox",
        "pool_grow",
        "pool_restart",
        "pool_shrink",
        "rate_limit",
        "revoke_by_stamped_headers",
        "shutdown",
        "time_limit",
    }
)


class Control:
    """The remote control of one app. Any thread may use it."""

    def __init__(self, app: App) -> None:
        self.app = app

    def revoke(
        self,
        task_id: str | Iterable[str],
        destination: Sequence[str] | None = None,
        terminate: bool = False,
        signal: str = "SIGTERM",
        *,
        reply: bool = False,
        **_: Any,
    ) -> None:
        """See that these tasks do not run, wherever they are; ``terminate`` ends those that do.

        The broker keeps it for every worker, present and future, for ``task_revoke_keep`` seconds.
        Raises UsageError for ``destination`` (it holds for all) and ``reply`` (nobody replies).
        """
        if destination or reply:
            raise UsageError(
                "A revocation is kept by the broker for every worker: it cannot be limited by "
                "destination=, and there is no reply= to it."
            )
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        if ids:
            revoke_all(self.app, [str(one) for one in ids], terminate=terminate, signal=signal)

    def terminate(
        self, task_id: str | Iterable[str], signal: str = "SIGTERM", **options: Any
    ) -> None:
        """Do as ``revoke`` with ``terminate``."""
        self.revoke(task_id, terminate=True, signal=signal, **options)

    def purge(self, connection: Any = None) -> int:  # noqa: ARG002 - Celery's; the app has its own
        """Drop every message that waits in the app's queues; return how many there were."""
        broker = self.app.broker
        return sum(broker.purge(name) for name in self.app.router.queues)

    discard_all = purge

    def ping(
        self,
        destination: Sequence[str] | None = None,
        timeout: float = 1.0,  # noqa: ARG002 - Celery's; the broker knows at once
        **_: Any,
    ) -> list[dict[str, dict[str, str]]]:
        """Return a mapping ``{node: {"ok": "pong"}}`` for each worker that is alive.

        The broker is asked, which every worker tells within ``worker_lease`` seconds that it lives.
        """
        wanted = None if destination is None else frozenset(destination)
        names = sorted({one.name for one in self.app.broker.presences()})
        return [{name: {"ok": "pong"}} for name in names if wanted is None or name in wanted]

    def __getattr__(self, name: str) -> Any:
        if name in _LATER:
            raise AttributeError(
                f"app.control.{name} is not built yet: workers cannot be asked or changed from "
                "outside in this version. There are revoke, terminate, ping and purge."
            )
        raise AttributeError(f"app.control has no {name!r}")

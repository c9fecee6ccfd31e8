"""The thread of a worker that sends what is committed to the outbox.

``wiring`` starts it after the template is forked. It runs in the supervisor, which never imports
user code; it needs the application's database and the broker, and neither touches a task nor the
ledger. What goes wrong here is logged and tried again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from umbel.drivers.opening import open_broker
from umbel.outbox.database import OutboxDatabase
from umbel.outbox.relay import Relay, RelayPlan

LAST_ROWS = 6.0
"""Seconds the relay has for the batch in hand when the worker ends."""


@contextmanager
def outbox_relayed(plan: RelayPlan | None) -> Iterator[None]:
    """Send what the outbox of ``plan`` holds, on a thread, while the block runs.

    Without a plan nothing happens. Raises ImproperlyConfigured where ``outbox_url`` cannot be one;
    a database or broker that is away is waited for.
    """
    if plan is None:
        yield
        return
    relay = Relay(
        OutboxDatabase(plan.url, plan.table),
        open_broker(plan.broker_url, plan.broker_options),
        poll=plan.poll,
        publish_timeout=plan.publish_timeout,
    )
    thread = threading.Thread(target=relay.run, name="umbel-outbox", daemon=True)
    thread.start()
    try:
        yield
    finally:
        relay.stop()
        thread.join(LAST_ROWS)

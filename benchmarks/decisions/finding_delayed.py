"""What it costs Redis to find one of many resting tasks by its id, and by its time.

    python -m benchmarks.decisions.finding_delayed [100000]

Used by docs/design/0021. The server's CPU is its own account of itself (``INFO cpu``).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from benchmarks.delayed import publish, spread
from benchmarks.private_redis import private_redis
from umbel import Umbel


def main(count: int) -> None:
    with private_redis() as server:
        url = server.url()
        app = Umbel("finding", broker=url, backend=url, set_as_current=False)
        client = server.client()
        start = time.time() + 86_400
        ids = publish(app, count, spread(start, 1000.0))
        last = datetime.fromtimestamp(start, UTC) + timedelta(seconds=(count - 1) / 1000)

        def by_time() -> None:
            assert next(app.delayed.list(due_after=last)).task_id == ids[-1]

        def show(how: str, look: Callable[[], object]) -> None:
            used, began = client.info("cpu"), time.monotonic()
            look()
            wall, now = time.monotonic() - began, client.info("cpu")
            spent = sum(now[key] - used[key] for key in ("used_cpu_user", "used_cpu_sys"))
            print(f"{how}: {wall * 1000:.1f} ms, of the server's CPU {spent * 1000:.1f} ms")

        for _ in range(3):
            show(f"by id among {count:,}", lambda: app.delayed.get(ids[-1]))
        show("by its time", by_time)
        key = next(app.delayed.list()).key
        show("by its key", lambda: app.delayed.get(key))
        app.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)

"""What the harness tells a peer's process, by its environment. Standard library only."""

from __future__ import annotations

import os

REDIS_PORT = int(os.environ.get("BENCH_REDIS_PORT", "6379"))
REDIS_URL = f"redis://127.0.0.1:{REDIS_PORT}/0"
RESULTS = os.environ.get("BENCH_RESULTS", "1") == "1"
SLOTS = int(os.environ.get("BENCH_SLOTS", "1"))
HOME = os.environ.get("BENCH_HOME", ".")
POSTGRES_URL = os.environ.get("BENCH_POSTGRES_URL", "")
EMBEDDED = os.environ.get("BENCH_STORE", "redis") == "sqlite"
SQLITE_PATH = os.path.join(HOME, "queue.sqlite3")

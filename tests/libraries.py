"""Libraries that a test needs in a process it starts, and must not import into pytest's own.

eventlet warns at every later fork of a process that has imported it.
"""

from __future__ import annotations

import importlib.util
import os

import pytest


def needs_library(pool: str) -> None:
    """Skip where the library of this green pool is not installed; fail where CI needs it."""
    if pool not in ("gevent", "eventlet") or importlib.util.find_spec(pool) is not None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{pool} is missing, and CI=true says it must be there")
    pytest.skip(f"{pool} is missing")

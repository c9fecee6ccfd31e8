"""What the command line's tests share."""

from __future__ import annotations

import os

import pytest

_READ = ("UMBEL_", "CELERY_")
_UNPREFIXED = ("APP", "BROKER_URL", "RESULT_BACKEND", "CONFIG_MODULE", "NO_COLOR")


@pytest.fixture(autouse=True)
def _environment():
    """No variable of the machine reaches the commands, and nothing they change remains."""
    before, directory = dict(os.environ), os.getcwd()
    for name in before:
        if name.startswith(_READ) or name in _UNPREFIXED:
            del os.environ[name]
    yield
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(before)

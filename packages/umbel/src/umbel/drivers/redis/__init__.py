"""Redis: broker and result backend, beside Celery processes on the same keys.

``drivers.opening`` calls ``open``. The wire to the server is in ``connection``, every key in
``keys``, every operation in ``scripts``; docs/design/0003 tells how claims are kept and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.drivers.redis.address import read
from umbel.drivers.redis.broker import RedisBroker
from umbel.drivers.redis.bus import RedisBus
from umbel.drivers.redis.result_backend import RedisResultBackend
from umbel.drivers.redis.schedule_store import RedisScheduleStore
from umbel.ports import Driver


class RedisDriver(Driver):
    """One Redis database."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        read_options = read(url, options)
        self._broker = RedisBroker(read_options)
        self._result_backend = RedisResultBackend(read_options)
        self._bus = RedisBus(read_options)
        self._options = read_options

    def broker(self) -> RedisBroker:
        return self._broker

    def result_backend(self) -> RedisResultBackend:
        return self._result_backend

    def bus(self) -> RedisBus:
        return self._bus

    def schedule_store(self, timetable: str) -> RedisScheduleStore:
        return RedisScheduleStore(self._options, timetable)


def open(url: str, options: Mapping[str, Any]) -> RedisDriver:  # noqa: A001 - what drivers are asked for
    """Return the driver for ``url``; connects to nothing yet.

    Raises ImproperlyConfigured where the URL or an option is wrong.
    """
    return RedisDriver(url, options)

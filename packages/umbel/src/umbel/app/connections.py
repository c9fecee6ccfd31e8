"""What an app reaches the world through: broker, result backend, publishing, listening.

Made by the app for the URLs of its settings, opened when first used, made anew when those settings
change. Nothing here is fork-aware by itself: drivers, publishing and listening each renew what they
hold in a child.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeAlias

from umbel.app.listening import ResultListener
from umbel.app.publish_policy import NO_RETRY, RetryPolicy
from umbel.app.publishing import Publishing
from umbel.config.driver_options import backend_options, broker_options
from umbel.config.settings import Settings
from umbel.drivers.opening import open_backend, open_broker, open_bus, open_driver, scheme_of
from umbel.errors import ImproperlyConfigured, NoResultBackend
from umbel.ports import Broker, Bus, Driver, ResultBackend, ScheduleStore

_NONE = (None, "", "disabled")

Key: TypeAlias = tuple[Any, ...]


class Connections:
    """The connections of one app for one set of URLs. Thread-safe; opens nothing by itself."""

    def __init__(self, settings: Settings, main: str | None = None) -> None:
        """``main``: the app's name, which its timetable bears unless a setting names another."""
        self._settings = settings
        self.timetable = settings.beat_timetable or main or "default"
        """The name of this app's schedule in its store."""
        self._lock = threading.RLock()
        self._broker: Broker | None = None
        self._sending_broker: Broker | None = None
        self._backend: ResultBackend | None = None
        self._publishing: Publishing | None = None
        self._results: ResultListener | None = None
        self._schedule_store: ScheduleStore | None = None

    @staticmethod
    def key(settings: Settings) -> Key:
        """Return what these connections depend on: equal keys need no others."""
        return (
            settings.broker_url,
            settings.broker_read_url,
            settings.broker_write_url,
            repr(broker_options(settings, settings.broker_url)),
            str(settings.result_backend),
            repr(backend_options(settings, settings.result_backend)),
            settings.beat_store,
            settings.beat_timetable,
            settings.broker_publish_timeout,
            settings.task_publish_retry,
            repr(settings.task_publish_retry_policy),
        )

    @property
    def broker(self) -> Broker:
        """Where workers consume."""
        if self._broker is None:
            with self._lock:
                self._broker = self._open(self._settings.broker_read_url)
        return self._broker

    @property
    def sending_broker(self) -> Broker:
        """Where messages are sent to; the same as ``broker`` unless the settings part them."""
        if self._sending_broker is None:
            with self._lock:
                self._sending_broker = self._open(self._settings.broker_write_url)
        return self._sending_broker

    @property
    def bus(self) -> Bus | None:
        """Where events and remote control travel; None where the broker has no bus."""
        url = self._settings.broker_read_url or self._settings.broker_url
        return open_bus(str(url), broker_options(self._settings, str(url)))

    @property
    def publishing(self) -> Publishing:
        """The way to the broker that all threads share."""
        if self._publishing is None:
            with self._lock:
                if self._publishing is None:
                    settings = self._settings
                    self._publishing = Publishing(
                        self.sending_broker,
                        timeout=settings.broker_publish_timeout,
                        policy=RetryPolicy.from_mapping(settings.task_publish_retry_policy)
                        if settings.task_publish_retry
                        else NO_RETRY,
                    )
        return self._publishing

    @property
    def has_result_backend(self) -> bool:
        """Whether results are kept at all."""
        return self._settings.result_backend not in _NONE

    @property
    def result_backend(self) -> ResultBackend:
        """Where results rest. Raises NoResultBackend where none is configured."""
        if self._backend is None:
            if not self.has_result_backend:
                raise NoResultBackend(
                    "No result backend is configured, so nothing is known of results: set "
                    "result_backend (or backend= of the app) to a URL such as "
                    "'redis://localhost:6379/1' or 'sqlite:///umbel.sqlite3'."
                )
            url = self._settings.result_backend
            if not isinstance(url, str):
                raise ImproperlyConfigured(
                    f"result_backend is {url!r}: Umbel takes a URL there. Results of a class of "
                    "your own need a driver (see umbel.ports.Driver)."
                )
            with self._lock:
                self._backend = open_backend(url, backend_options(self._settings, url))
        return self._backend

    @property
    def results(self) -> ResultListener:
        """Who hears of results."""
        if self._results is None:
            with self._lock:
                if self._results is None:
                    self._results = ResultListener(self.result_backend)
        return self._results

    @property
    def schedule_store(self) -> ScheduleStore:
        """Where the schedule rests: ``beat_store``, or the broker or result backend that can.

        Raises ImproperlyConfigured where none of them keeps one.
        """
        if self._schedule_store is None:
            with self._lock:
                self._schedule_store = self._open_schedule_store()
        return self._schedule_store

    @property
    def schedule_store_sends(self) -> bool:
        """Whether the schedule's store holds the queues that messages are sent to."""
        chosen = self._settings.broker_write_url or self._settings.broker_url
        return self._schedule_driver() is open_driver(
            str(chosen), broker_options(self._settings, str(chosen))
        )

    def _open_schedule_store(self) -> ScheduleStore:
        store = self._schedule_driver().schedule_store(self.timetable)
        assert store is not None
        return store

    def _schedule_driver(self) -> Driver:
        return open_driver(*self.schedule_place())

    def schedule_place(self) -> tuple[str, Mapping[str, Any]]:
        """Return the URL and options of the schedule's store. Raises ImproperlyConfigured."""
        settings = self._settings
        broker_url = str(settings.broker_write_url or settings.broker_url)
        candidates: list[tuple[str, Mapping[str, Any]]] = [
            (broker_url, broker_options(settings, broker_url) or {})
        ]
        if isinstance(settings.result_backend, str) and self.has_result_backend:
            url = settings.result_backend
            candidates.append((url, backend_options(settings, url) or {}))
        if settings.beat_store is not None:
            url = settings.beat_store
            candidates = [each for each in candidates if each[0] == url] or [(url, {})]
        for url, options in candidates:
            driver = open_driver(url, options)
            if driver.schedule_store(self.timetable) is not None:
                return url, options
        schemes = " and ".join(f"{scheme_of(url)}://" for url, _ in candidates)
        raise ImproperlyConfigured(
            f"{schemes} cannot keep a schedule: set beat_store to the URL of a store that can,"
            " such as redis://localhost:6379/0, postgresql://... or sqlite:///beat.sqlite3"
        )

    def close(self) -> None:
        """Let go of everything that was opened. Using it again opens it again."""
        with self._lock:
            publishing, self._publishing = self._publishing, None
            results, self._results = self._results, None
            brokers = {id(one): one for one in (self._broker, self._sending_broker) if one}
            backend, self._backend = self._backend, None
            self._broker = self._sending_broker = None
            schedule_store, self._schedule_store = self._schedule_store, None
        if schedule_store is not None:
            schedule_store.close()
        if publishing is not None:
            publishing.close()
        if results is not None:
            results.close()
        for broker in brokers.values():
            broker.close()
        if backend is not None:
            backend.close()

    def _open(self, url: str | None) -> Broker:
        chosen = url or self._settings.broker_url
        if not chosen:
            raise ImproperlyConfigured(
                "No broker is configured: set broker_url (or broker= of the app) to a URL such as "
                "'redis://localhost:6379/0' or 'sqlite:///umbel.sqlite3'."
            )
        return open_broker(chosen, broker_options(self._settings, chosen))


class Connected(ABC):
    """What an app offers of its connections; the base of ``App`` for that alone."""

    main: str | None
    _lock: threading.RLock
    _connections: Connections | None = None
    _connected_for: tuple[Settings, Key] | None = None

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """The settings now in force."""

    @property
    def connections(self) -> Connections:
        """The connections for the settings now in force; others are closed first."""
        settings = self.settings
        connected = self._connected_for
        if connected is not None and connected[0] is settings:
            assert self._connections is not None
            return self._connections
        with self._lock:
            connected = self._connected_for
            key = Connections.key(settings)
            old = self._connections
            if old is None or connected is None or connected[1] != key:
                self._connections = Connections(settings, self.main)
                if old is not None:
                    old.close()
            self._connected_for = settings, key
            assert self._connections is not None
            return self._connections

    @property
    def broker(self) -> Broker:
        """Where messages rest. Raises ImproperlyConfigured for a URL that cannot be one."""
        return self.connections.broker

    @property
    def publishing(self) -> Publishing:
        """How messages are handed to the broker, by any thread."""
        return self.connections.publishing

    @property
    def has_result_backend(self) -> bool:
        """Whether results are kept."""
        return self.connections.has_result_backend

    @property
    def result_backend(self) -> ResultBackend:
        """Where results rest. Raises NoResultBackend where none is configured."""
        return self.connections.result_backend

    @property
    def backend(self) -> ResultBackend:
        """The same as ``result_backend``."""
        return self.connections.result_backend

    @property
    def results(self) -> ResultListener:
        """Who hears of results as they are stored."""
        return self.connections.results

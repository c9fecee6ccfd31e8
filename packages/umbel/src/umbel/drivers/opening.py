"""From a URL to the driver behind it. The only place that knows which technologies there are.

Called by the app and by the worker's wiring. A driver's module is imported when its scheme is first
used, so nobody pays for a technology that is not used. Third parties add schemes by an entry point
in the group ``umbel.drivers``: its name is the scheme, its object a function
``open(url, options) -> Driver``.
"""

from __future__ import annotations

import difflib
import importlib
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from umbel.errors import ImproperlyConfigured
from umbel.ports import Broker, Bus, Driver, ResultBackend

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "umbel.drivers"

OpenFunction: TypeAlias = Callable[[str, Mapping[str, Any]], Driver]

_MODULES: dict[str, str] = {
    "memory": "umbel.drivers.memory",
    "sqlite": "umbel.drivers.sqlite",
    "redis": "umbel.drivers.redis",
    "rediss": "umbel.drivers.redis",
    "redis+socket": "umbel.drivers.redis",
    "unix": "umbel.drivers.redis",
    "sentinel": "umbel.drivers.redis",
    "valkey": "umbel.drivers.redis",
    "valkeys": "umbel.drivers.redis",
    "valkey+socket": "umbel.drivers.redis",
    "postgresql": "umbel.drivers.postgres",
    "postgres": "umbel.drivers.postgres",
    "amqp": "umbel.drivers.amqp",
    "amqps": "umbel.drivers.amqp",
    "pyamqp": "umbel.drivers.amqp",
    "rpc": "umbel.drivers.amqp",
}

_EXTRAS: Mapping[str, str] = {
    "redis": "redis",
    "hiredis": "redis",
    "psycopg": "postgres",
    "pamqp": "amqp",
}
"""Third-party module -> the extra of the distribution ``umbel`` that brings it."""

_NOT_YET: Mapping[str, str] = {
    "librabbitmq": "RabbitMQ",
    "db": "SQLAlchemy databases",
    "sqla": "SQLAlchemy databases",
    "sqlalchemy": "SQLAlchemy databases",
    "sqs": "Amazon SQS",
    "kafka": "Kafka",
    "confluentkafka": "Kafka",
    "gcpubsub": "Google Cloud Pub/Sub",
    "azurestoragequeues": "Azure Storage Queues",
    "azureservicebus": "Azure Service Bus",
    "mongodb": "MongoDB",
    "zookeeper": "ZooKeeper",
    "consul": "Consul",
    "etcd": "etcd",
    "filesystem": "a directory of files",
    "file": "a directory of files",
    "cache": "memcached",
    "memcache": "memcached",
    "elasticsearch": "Elasticsearch",
    "cassandra": "Cassandra",
    "couchbase": "Couchbase",
    "couchdb": "CouchDB",
    "dynamodb": "DynamoDB",
    "s3": "Amazon S3",
    "gs": "Google Cloud Storage",
    "gcs": "Google Cloud Storage",
    "azureblockblob": "Azure Blob Storage",
    "arangodb": "ArangoDB",
    "cosmosdbsql": "Cosmos DB",
    "django-db": "Django's database",
    "django-cache": "Django's cache",
}
"""Schemes Celery users may bring along that Umbel has no driver for."""

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*)(://|$)")

_opened: dict[tuple[str, str], Driver] = {}
_opening = threading.Lock()


def open_driver(url: str, options: Mapping[str, Any] | None = None) -> Driver:
    """Return the driver for ``url``; the same object for the same URL and options.

    So a broker and a result backend of one URL share their connections, and settle in one atomic
    step. Connects to nothing yet. Any thread may call it. ImproperlyConfigured where the URL names
    no technology known here; the message never repeats the URL, which may hold a password.
    """
    chosen = {} if options is None else dict(options)
    key = (url, repr(sorted(chosen.items())))
    with _opening:
        driver = _opened.get(key)
        if driver is None:
            driver = _opened[key] = _open_function(scheme_of(url))(url, chosen)
        return driver


def open_broker(url: str, options: Mapping[str, Any] | None = None) -> Broker:
    """Return the broker behind ``url``. Raises as ``open_driver``, and where it cannot be one."""
    return open_driver(url, options).broker()


def open_backend(url: str, options: Mapping[str, Any] | None = None) -> ResultBackend:
    """Return the result backend behind ``url``. Raises as ``open_broker``."""
    return open_driver(url, options).result_backend()


def open_bus(url: str, options: Mapping[str, Any] | None = None) -> Bus | None:
    """Return the bus behind ``url``; None where it has none. Raises as ``open_driver``."""
    return open_driver(url, options).bus()


def scheme_of(url: str) -> str:
    """Return the scheme in lower case; a bare word such as ``memory`` is a scheme too."""
    found = _SCHEME.match(url)
    if found is None:
        raise ImproperlyConfigured(
            "a broker or result backend URL must look like scheme://..., for example "
            "sqlite:///umbel.sqlite3 or redis://localhost:6379/0; this one does not begin so"
        )
    return found.group(1).lower()


def _open_function(scheme: str) -> OpenFunction:
    module = _MODULES.get(scheme)
    if module is not None:
        return _from_module(scheme, module)
    for entry in _foreign_drivers():
        if entry.name == scheme:
            return cast(OpenFunction, entry.load())
    # Celery writes "db+postgresql", "sentinel+...", "cache+memcached": the first word decides.
    missing = _NOT_YET.get(scheme) or _NOT_YET.get(scheme.partition("+")[0])
    if missing is not None:
        raise ImproperlyConfigured(
            f"{scheme}:// means {missing}, which this release of Umbel has no driver for; "
            f"use one of {', '.join(_known())}"
        )
    near = difflib.get_close_matches(scheme, _known(), n=1)
    hint = f"did you mean {near[0]}://? " if near else ""
    raise ImproperlyConfigured(
        f"no driver is known for {scheme}://; {hint}Known are {', '.join(_known())}"
    )


def _from_module(scheme: str, module: str) -> OpenFunction:
    try:
        return cast(OpenFunction, importlib.import_module(module).open)
    except ModuleNotFoundError as error:
        if error.name == "_sqlite3":
            raise ImproperlyConfigured(
                "this Python was built without SQLite; install its sqlite3 module, or use redis://"
            ) from error
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise ImproperlyConfigured(
            f"{scheme}:// needs the Python package {error.name!r}, which is not installed; "
            f"run: pip install 'umbel[{extra}]'"
        ) from error


def _foreign_drivers() -> Iterable[EntryPoint]:
    # Here, because it brings email, zipfile and csv along: a tenth of the import time of the app.
    from importlib.metadata import entry_points  # noqa: PLC0415

    return entry_points(group=ENTRY_POINT_GROUP)


def _known() -> list[str]:
    foreign = {entry.name for entry in _foreign_drivers()}
    return sorted({*_MODULES, *foreign})

"""What follows from other settings: URLs from their parts, the old words from the name of delivery.

``layers`` puts what is returned here into ``Settings``, so that nobody else has to know that there
was a time before URLs.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import quote

from umbel.config import delivery_semantics
from umbel.config.settings import Settings

_BROKER_PARTS = ("transport", "host", "port", "user", "password", "vhost")
_CELERY_BROKER = "amqp://guest@localhost//"
_AMQP = frozenset({"amqp", "amqps", "pyamqp"})
_NO_BACKEND = frozenset({"disabled", "disabled://"})


def broker_url(settings: Settings, given: Collection[str]) -> str:
    """Return the URL of the broker. ``given`` are the settings that somebody set.

    Parts count only when no URL was given. Without either it is the profile's URL, or the one that
    Celery tries when it was told nothing.
    """
    parts = any(f"broker_{part}" in given for part in _BROKER_PARTS)
    if settings.broker_url is not None and ("broker_url" in given or not parts):
        return settings.broker_url
    if not parts:
        return _CELERY_BROKER
    scheme = settings.broker_transport or "amqp"
    path = settings.broker_vhost or ""
    if scheme == "amqp":
        path = quote(path or "/", safe="/")
    return _url(
        scheme,
        settings.broker_host,
        settings.broker_port,
        settings.broker_user,
        settings.broker_password,
        path,
    )


def follows_broker(settings: Settings, given: Collection[str]) -> bool:
    """Return whether results rest where messages do: in the umbel profile, unless told otherwise.

    The default file would be a different one on each machine, and no client would find a result.
    """
    return settings.profile == "umbel" and "result_backend" not in given


def as_the_broker(settings: Settings, given: Collection[str]) -> dict[str, Any]:
    """Return what the result store then has from the broker beside the URL, unless it was set."""
    shared: dict[str, Any] = {
        "result_backend_transport_options": settings.broker_transport_options,
        "redis_backend_use_ssl": settings.broker_use_ssl or None,
        "redis_socket_connect_timeout": settings.broker_connection_timeout
        if "broker_connection_timeout" in given
        else None,
    }
    return {name: value for name, value in shared.items() if name not in given}


def result_backend(settings: Settings, broker_url: str, given: Collection[str]) -> Any:
    """Return the URL of the result store, another alias or class as it is, or None for none.

    ``broker_url`` is what the function of that name returned.
    """
    if follows_broker(settings, given):
        is_amqp = broker_url.partition(":")[0] in _AMQP
        return "rpc://" if is_amqp else broker_url
    backend = settings.result_backend
    if not isinstance(backend, str):
        return backend
    if not backend or backend in _NO_BACKEND:
        return None
    if backend == "redis":
        return _url(
            "redis",
            settings.redis_host,
            settings.redis_port,
            settings.redis_username,
            settings.redis_password,
            str(settings.redis_db or 0),
        )
    if backend == "database" and settings.database_url:
        return settings.database_url
    if backend == "rpc":
        return "rpc://"
    return backend


def delivery(settings: Settings, given: Collection[str]) -> dict[str, Any]:
    """Return what ``task_delivery`` means for the settings that spell the same in older words."""
    said = {
        word: getattr(settings, f"task_{word}")
        for word in delivery_semantics.OLDER_WORDS
        if f"task_{word}" in given
    }
    meant = delivery_semantics.implied(settings.task_delivery, said)
    return {f"task_{word}": value for word, value in meant.items()}


def _url(
    scheme: str,
    host: str | None,
    port: int | None,
    user: str | None,
    password: str | None,
    path: str,
) -> str:
    credentials = ""
    if user or password:
        secret = f":{quote(password, safe='')}" if password else ""
        credentials = f"{quote(user or '', safe='')}{secret}@"
    place = f"{host or 'localhost'}:{port}" if port else host or "localhost"
    return f"{scheme}://{credentials}{place}/{path}"

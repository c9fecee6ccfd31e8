"""``celery.utils.nodenames``: the names of workers."""

from __future__ import annotations

import os
import re
import socket
from functools import cache
from typing import Any

from umbel.model.queues import Queue

WORKER_DIRECT_EXCHANGE = "C.dq2"


@cache
def gethostname() -> str:
    """Return this machine's name."""
    return socket.gethostname()


def worker_direct(hostname: Any) -> Any:
    """Return the queue of one worker; a queue as it is."""
    if not isinstance(hostname, str):
        return hostname
    return Queue(name=f"{hostname}.dq2", exchange=WORKER_DIRECT_EXCHANGE, routing_key=hostname)


def nodename(name: str, hostname: str) -> str:
    """Return ``name@hostname``."""
    return f"{name}@{hostname}"


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """Return a name for a process that has none."""
    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def nodesplit(name: str) -> tuple[str | None, str]:
    """Return a node's name and its host; None and the host where there is no ``@``."""
    own, at, host = name.partition("@")
    return (own, host) if at else (None, own)


def default_nodename(hostname: str | None, default_name: str = "celery") -> str:
    """Return a whole node name, what is missing filled in."""
    own, host = nodesplit(hostname or "")
    return nodename(own or default_name, host or gethostname())


def host_format(s: str, host: str | None = None, name: str | None = None, **extra: Any) -> str:
    """Return text with ``%h`` (host), ``%n`` (name), ``%d`` (domain) and others filled in."""
    host = host or gethostname()
    short, _, domain = host.partition(".")
    known = {"h": host, "n": name or short, "d": domain, "i": 0, "I": "", "%": "%", **extra}
    return re.sub(r"%([%\w])", lambda found: str(known.get(found[1], found[0])), s)


def node_format(s: str, name: str, **extra: Any) -> str:
    """Return text with what is known of a node filled in; see ``host_format``."""
    own, host = nodesplit(name)
    return host_format(s, host, own or "celery", p=name, **extra)


__all__ = [
    "anon_nodename",
    "default_nodename",
    "gethostname",
    "host_format",
    "node_format",
    "nodename",
    "nodesplit",
    "worker_direct",
]

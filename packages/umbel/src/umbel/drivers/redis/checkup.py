"""What a person should know about the server before trusting it with work.

Called by ``broker`` and ``result_backend``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from umbel.drivers.redis.connection import Connection, pack

_MOST_SKEW = 1.0
_SAFE_POLICY = "noeviction"
_NEARLY_FULL = 0.9


def product(connection: Connection, deadline: float) -> str:
    """Reach the server once; return its product and version."""
    connection.call(("PING",), deadline)
    server = connection.server
    name = str(server.get("server", "redis")).capitalize()
    return f"{name} {server.get('version', '?')}"


def warnings(connection: Connection, deadline: float, now: Callable[[], float]) -> Sequence[str]:
    """Return sentences about this server, each with what to do; empty when all is well."""
    facts = dict(_info(connection.call(("INFO",), deadline)))
    (saving,) = connection.exchange(pack(("CONFIG", "GET", "save")), 1, deadline)
    if isinstance(saving, dict):  # hosted servers often refuse CONFIG
        facts["save"] = saving.get(b"save", b"").decode()
    before = now()
    seconds, microseconds = connection.call(("TIME",), deadline)
    middle = (before + now()) / 2
    return (
        *eviction(facts),
        *persistence(facts),
        *skew(int(seconds) + int(microseconds) / 1e6 - middle),
    )


def _info(reply: bytes) -> Mapping[str, str]:
    lines = reply.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def eviction(facts: Mapping[str, str]) -> Sequence[str]:
    """Warn where the server may throw messages away, or is about to refuse them."""
    policy = facts.get("maxmemory_policy", _SAFE_POLICY)
    limit = int(facts.get("maxmemory", 0) or 0)
    if policy != _SAFE_POLICY and limit:
        return (
            f"maxmemory-policy is {policy}: when memory is full Redis throws away "
            f"{'results' if policy.startswith('volatile') else 'queues'} without a word. "
            f"Set maxmemory-policy {_SAFE_POLICY}.",
        )
    used = int(facts.get("used_memory", 0) or 0)
    if limit and used > limit * _NEARLY_FULL:
        return (
            f"Redis uses {used * 100 // limit} % of maxmemory; at 100 % it takes no more messages.",
        )
    return ()


def persistence(facts: Mapping[str, str]) -> Sequence[str]:
    """Warn where a restart of the server loses what it holds."""
    if facts.get("aof_enabled") == "1":
        if facts.get("aof_last_write_status") == "err":
            return ("Redis cannot write its append-only file: look into its log and at the disk.",)
        return ()
    advice = "Set appendonly yes (appendfsync everysec loses at most a second)."
    if facts.get("save"):
        return (
            "Redis has no append-only file: a crash loses what came since the last snapshot. "
            f"{advice}",
        )
    return (f"Redis keeps nothing on disk: a restart loses every message. {advice}",)


def skew(seconds: float) -> Sequence[str]:
    """Warn where this machine and the server disagree about the time."""
    if abs(seconds) <= _MOST_SKEW:
        return ()
    direction = "ahead of" if seconds > 0 else "behind"
    return (
        f"The server's clock is {abs(seconds):.1f} s {direction} this machine's: delayed tasks run "
        "by the server's. Synchronise both (NTP).",
    )

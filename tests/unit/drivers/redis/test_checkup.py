"""What the doctor is told about a Redis server."""

from __future__ import annotations

from umbel.drivers.redis.checkup import eviction, persistence, skew


def test_eviction_that_loses_queues() -> None:
    facts = {"maxmemory": "100", "maxmemory_policy": "allkeys-lru", "used_memory": "1"}
    (sentence,) = eviction(facts)
    assert "allkeys-lru" in sentence
    assert "queues" in sentence
    assert "noeviction" in sentence


def test_eviction_that_loses_results() -> None:
    (sentence,) = eviction({"maxmemory": "100", "maxmemory_policy": "volatile-ttl"})
    assert "results" in sentence


def test_no_limit_no_eviction() -> None:
    assert eviction({"maxmemory": "0", "maxmemory_policy": "allkeys-lru"}) == ()
    assert eviction({"maxmemory": "100", "maxmemory_policy": "noeviction"}) == ()


def test_nearly_full() -> None:
    (sentence,) = eviction({"maxmemory": "100", "used_memory": "95"})
    assert "95 %" in sentence


def test_persistence() -> None:
    assert persistence({"aof_enabled": "1", "aof_last_write_status": "ok"}) == ()
    (broken,) = persistence({"aof_enabled": "1", "aof_last_write_status": "err"})
    assert "cannot write" in broken
    (snapshots,) = persistence({"aof_enabled": "0", "save": "3600 1"})
    assert "last snapshot" in snapshots
    (nothing,) = persistence({"aof_enabled": "0", "save": ""})
    assert "a restart loses every message" in nothing


def test_clocks() -> None:
    assert skew(0.5) == ()
    (ahead,) = skew(3.0)
    assert "3.0 s ahead of" in ahead
    (behind,) = skew(-90.0)
    assert "90.0 s behind" in behind

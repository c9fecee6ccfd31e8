"""Names of keys: kombu's where Celery reads them, one slot for what belongs to one queue."""

from __future__ import annotations

from typing import Any

import pytest

from umbel.drivers.redis.address import KeyOptions
from umbel.drivers.redis.keys import Keys, ResultKeys, topic_pattern
from umbel.model.queues import Queue


def test_lists_are_kombus() -> None:
    lists = Keys(KeyOptions()).queue("celery").lists
    assert lists == (
        b"celery",
        b"celery\x06\x163",
        b"celery\x06\x166",
        b"celery\x06\x169",
    )


def test_separator_and_steps_may_be_others() -> None:
    lists = Keys(KeyOptions(sep=":", priority_steps=(0, 5))).queue("q").lists
    assert lists == (b"q", b"q:5")


def test_a_prefix_stands_before_every_key() -> None:
    keys = Keys(KeyOptions(global_keyprefix="bp:"))
    queue = keys.queue("q")
    made = [*queue.lists, queue.owners, queue.claims, queue.deliveries, queue.delayed, queue.alarm]
    made += [queue.quarantine, keys.unacked, keys.unacked_index, keys.unacked_mutex]
    made += [keys.binding("x"), keys.permanent_binding("x"), keys.binding_deadlines]
    made += [keys.worker_leases, keys.worker("w"), keys.revoked_order, keys.revoked_version]
    assert all(key.startswith(b"bp:") for key in made)
    assert keys.binding("x") == b"bp:_kombu.binding.x"


def test_keys_of_one_queue_share_a_slot() -> None:
    queue = Keys(KeyOptions()).queue("q")
    for key in (queue.owners, queue.claims, queue.deliveries, queue.delayed, queue.quarantine):
        assert key.partition(b"{")[2].partition(b"}")[0] == b"q"


@pytest.mark.parametrize(
    ("priority", "index"),
    [
        *[(0, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 2), (8, 2), (9, 3), (10, 3), (255, 3)],
        *[(-1, 0), (None, 0), ("6", 2), ("high", 0), ([], 0), (float("inf"), 0), (3.9, 1)],
    ],
)
def test_priorities_are_rounded_down_to_a_step(priority: Any, index: int) -> None:
    assert Keys(KeyOptions()).step_index(priority) == index


@pytest.mark.parametrize(
    ("queue", "member"),
    [
        (Queue("d1", "x", "k1"), "k1\x06\x16\x06\x16d1"),
        (Queue("celery", "celery"), "celery\x06\x16\x06\x16celery"),
        (
            Queue("imgs", "x", "media.*.img", "topic"),
            "media.*.img\x06\x16^media\\.[^\\.]+\\.img$\x06\x16imgs",
        ),
        (
            Queue("feeds", "x", "media.#.v*", "topic"),
            "media.#.v*\x06\x16^media\\..*?\\.v*$\x06\x16feeds",
        ),
        (Queue("w1@vm.celery.pidbox", "x", None, "fanout"), "\x06\x16\x06\x16w1@vm.celery.pidbox"),
    ],
)
def test_binding_members_are_kombus(queue: Queue, member: str) -> None:
    assert Keys(KeyOptions()).binding_member(queue) == member


def test_a_routing_table_gives_queues() -> None:
    keys = Keys(KeyOptions())
    table = [
        keys.binding_member(Queue("imgs", "x", "media.*.img", "topic")).encode(),
        keys.binding_member(Queue("all", "x", "media.#", "topic")).encode(),
        keys.binding_member(Queue("plain", "x", "key")).encode(),
        b"not a member",
    ]
    assert keys.queues_bound(table, "media.new.img") == ["imgs", "all"]
    assert keys.queues_bound(table, "key") == ["plain"]
    assert keys.queues_bound(table, "nothing") == []


def test_topic_patterns_match_words() -> None:
    assert topic_pattern("a.*.c") == r"^a\.[^\.]+\.c$"


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("", b"celery-task-meta-1"),
        ("rp", b"rp_celery-task-meta-1"),
        ("rp_", b"rp_celery-task-meta-1"),
        ("rp:", b"rp:celery-task-meta-1"),
    ],
)
def test_results_are_celerys(prefix: str, key: bytes) -> None:
    keys = ResultKeys(prefix)
    assert keys.task("1") == key
    assert keys.task_id(key) == "1"
    assert keys.group("g") == key.replace(b"task-meta-1", b"taskset-meta-g")

"""Every Redis key there is, and who else reads it.

Kombu's, shared with Celery processes (names and contents are theirs):

* ``<queue>`` and ``<queue><sep><step>``: lists of envelopes, pushed at the left, taken at the right
* ``_kombu.binding.<exchange>``, ``_kombu.binding_permanent.<exchange>``: sets, the routing table
* ``_kombu.binding_deadlines``: sorted set, when a table with expiring queues may be swept
* ``unacked``, ``unacked_index``, ``unacked_mutex``: what Celery workers hold; only restored from
* ``<reply queue>``: list of replies to one caller of remote control
* ``/<db>.<exchange>``, ``/<db>.<exchange>/<routing key>``: channels of commands and of events
* ``celery-task-meta-<id>``, ``celery-taskset-meta-<id>``: results, and the channels of that name

Umbel's own; those of one queue hash to one slot:

* ``umbel:{<queue>}:claims:<owner>``: hash, receipt -> envelope; nobody but the owner settles them
* ``umbel:{<queue>}:owners``: sorted set, owner -> end of its lease, in milliseconds of server time
* ``umbel:{<queue>}:deliveries``: hash, delivery tag -> claims that ended without an outcome
* ``umbel:{<queue>}:delayed``: sorted set, messages that rest -> due, in milliseconds
* ``umbel:{<queue>}:alarm``: string, never later than the first score of ``delayed``
* ``umbel:{<queue>}:quarantined``: sorted set, messages set aside -> when, in milliseconds; what a
  member of these two sets consists of, ``scripts/resting.lua`` says
* ``umbel:{workers}:leases``, ``umbel:{workers}:<owner>``: who lives, and what each told
* ``umbel:{revoked}:order``, ``:expiry``, ``:version``: what must not run, and whether that changed

Called by every module of this driver; no key is put together anywhere else, except that scripts
find the claims of other owners by putting their names in place of their own.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from umbel.drivers.redis.address import KeyOptions
from umbel.model.bus import Mailbox, Spread, Topic
from umbel.model.queues import Queue

_URGENT, _IDLE = 0, 9


class QueueKeys(msgspec.Struct, frozen=True):
    """The keys of one queue, encoded."""

    name: str
    lists: tuple[bytes, ...]
    """One per priority step, most urgent first."""
    owners: bytes
    claims: bytes
    """Without the owner at the end."""
    deliveries: bytes
    delayed: bytes
    alarm: bytes
    quarantine: bytes


class Keys:
    """Makes the names. Immutable; any thread may use it."""

    def __init__(self, options: KeyOptions) -> None:
        self._prefix = options.global_keyprefix
        self._separator = options.sep
        self.steps = options.priority_steps
        # Priority 0..9 -> the index of its step: rounded down, as kombu does.
        self._index = tuple(
            max(index for index, step in enumerate(self.steps) if step <= priority)
            for priority in range(_IDLE + 1)
        )
        self._queues: dict[str, QueueKeys] = {}
        self.unacked = self._key(options.unacked_key)
        self.unacked_index = self._key(options.unacked_index_key)
        self.unacked_mutex = self._key(options.unacked_mutex_key)
        self.binding_deadlines = self._key("_kombu.binding_deadlines")
        self.worker_leases = self._key("umbel:{workers}:leases")
        self.revoked_order = self._key("umbel:{revoked}:order")
        self.revoked_expiry = self._key("umbel:{revoked}:expiry")
        self.revoked_version = self._key("umbel:{revoked}:version")

    def _key(self, name: str) -> bytes:
        return f"{self._prefix}{name}".encode()

    def queue(self, name: str) -> QueueKeys:
        """Return the keys of one queue."""
        known = self._queues.get(name)
        if known is None:
            # Race: two threads may both make the value; they make equal ones, and either stays.
            known = self._queues[name] = self._make(name)
        return known

    def _make(self, name: str) -> QueueKeys:
        own = f"umbel:{{{name}}}"
        return QueueKeys(
            name=name,
            lists=tuple(
                self._key(f"{name}{self._separator}{step}" if step else name) for step in self.steps
            ),
            owners=self._key(f"{own}:owners"),
            claims=self._key(f"{own}:claims:"),
            deliveries=self._key(f"{own}:deliveries"),
            delayed=self._key(f"{own}:delayed"),
            alarm=self._key(f"{own}:alarm"),
            quarantine=self._key(f"{own}:quarantined"),
        )

    def step_index(self, priority: Any) -> int:
        """Return which of the queue's lists a priority goes to; nonsense counts as 0."""
        try:
            number = int(priority)
        except (TypeError, ValueError, OverflowError):
            number = _URGENT
        return self._index[min(max(number, _URGENT), _IDLE)]

    def worker(self, owner: str) -> bytes:
        """Return the key of what one worker told about itself."""
        return self._key(f"umbel:{{workers}}:{owner}")

    def timetable(self, name: str) -> tuple[bytes, bytes]:
        """Return the keys of a timetable: its entries, and the number of its last change."""
        own = f"umbel:{{schedule:{name}}}"
        return self._key(f"{own}:entries"), self._key(f"{own}:version")

    def binding(self, exchange: str) -> bytes:
        """Return the key of an exchange's routing table."""
        return self._key(f"_kombu.binding.{exchange}")

    def permanent_binding(self, exchange: str) -> bytes:
        """Return the key of the members of a routing table that no sweep removes."""
        return self._key(f"_kombu.binding_permanent.{exchange}")

    def binding_member(self, queue: Queue) -> str:
        """Return what stands for the queue in the routing table of its exchange."""
        routing_key = queue.name if queue.routing_key is None else queue.routing_key
        if queue.exchange_type == "fanout":
            routing_key = queue.routing_key or ""
        pattern = topic_pattern(routing_key) if queue.exchange_type == "topic" else ""
        return self._separator.join((routing_key, pattern, queue.name))

    def box_member(self, mailbox: Mailbox) -> str:
        """Return what stands for a box of replies in the routing table of its topic."""
        return self._separator.join((mailbox.binding, "", mailbox.queue))

    def channel(self, db: int, topic: Topic, key: str) -> bytes:
        """Return the channel that a notice with this key is told on."""
        name = f"/{db}.{topic.name}"
        return self._key(f"{name}/{key}" if key and topic.spread is not Spread.ALL else name)

    def channel_pattern(self, db: int, topic: Topic, binding: str) -> bytes:
        """Return the pattern of the channels that a mailbox with this binding hears."""
        prefix = _literal(f"{self._prefix}/{db}.{topic.name}").replace("*", "\\*")
        if topic.spread is Spread.ALL or not binding:
            return prefix.encode()
        # Redis's * matches dots as well, so it stands for both of the wildcards.
        return f"{prefix}/{_literal(binding).replace('#', '*')}".encode()

    def queues_bound(self, members: list[bytes], routing_key: str) -> list[str]:
        """Return the queues that a routing table gives for a routing key, each once."""
        found: dict[str, None] = {}
        for member in members:
            fields = member.decode("utf-8", "replace").split(self._separator)
            if len(fields) == 3 and (
                fields[0] == routing_key or (fields[1] and re.match(fields[1], routing_key))
            ):
                found[fields[2]] = None
        return list(found)


def _literal(name: str) -> str:
    """Return a name as a part of a pattern that stands for itself; ``*`` stays a wildcard."""
    return re.sub(r"([\[\]?\\])", r"\\\1", name)


def topic_pattern(routing_key: str) -> str:
    """Return the regular expression that kombu stores for a topic's binding key."""
    words = {"*": r"[^\.]+", "#": ".*?"}
    return "^" + r"\.".join(words.get(word, word) for word in routing_key.split(".")) + "$"


class ResultKeys:
    """The keys of results, which are also the channels they are told on. Immutable."""

    def __init__(self, prefix: str) -> None:
        # Differs because Celery's result backend, unlike its broker, sets the prefix off by "_".
        if prefix and prefix[-1] not in ":_-.":
            prefix += "_"
        self._task = f"{prefix}celery-task-meta-"
        self._group = f"{prefix}celery-taskset-meta-"

    def task(self, task_id: str) -> bytes:
        """Return key and channel of one task's result."""
        return (self._task + task_id).encode()

    def task_id(self, key: bytes) -> str:
        """Return the id that ``task`` made this key of."""
        return key.decode()[len(self._task) :]

    def group(self, group_id: str) -> bytes:
        """Return the key of a saved group."""
        return (self._group + group_id).encode()

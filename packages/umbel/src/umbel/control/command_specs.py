"""Every command there is: its names, its arguments, and what it is for.

Read by the worker (which arguments it takes), by ``umbel inspect`` and ``umbel control`` (how words
become arguments, and the help), and by tests. What a command does is in ``worker.steering``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from umbel.errors import UsageError


class Argument(msgspec.Struct, frozen=True):
    """One argument, as words on a command line give it."""

    name: str
    read: Callable[[str], Any] = str


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """One command. ``inspect``: it changes nothing. ``timeout``: seconds a caller usually waits."""

    name: str
    inspect: bool
    help: str
    arguments: tuple[Argument, ...] = ()
    required: int = 0
    variadic: str | None = None
    """The argument that takes all words that are left."""
    signature: str = ""
    aliases: tuple[str, ...] = ()
    timeout: float = 1.0
    visible: bool = True

    def from_words(self, words: Sequence[str]) -> dict[str, Any]:
        """Return the arguments that words mean. Raises UsageError."""
        if len(words) < self.required:
            raise UsageError(f"{self.name} needs more arguments: {self.name} {self.signature}")
        given: dict[str, Any] = {}
        for argument, word in zip(self.arguments, words, strict=False):
            try:
                given[argument.name] = argument.read(word)
            except ValueError as error:
                raise UsageError(
                    f"{self.name} {self.signature}: {argument.name} cannot be {word!r}"
                ) from error
        rest = list(words[len(self.arguments) :])
        if self.variadic is not None:
            if rest:
                given[self.variadic] = rest
        elif rest:
            raise UsageError(f"{self.name} takes no more arguments: {self.name} {self.signature}")
        return given


def _flag(word: str) -> bool:
    lowered = word.lower()
    if lowered in ("1", "true", "yes", "on", "t", "y"):
        return True
    if lowered in ("0", "false", "no", "off", "f", "n"):
        return False
    raise ValueError(word)


def _rate(word: str) -> str | float:
    try:
        return float(word)
    except ValueError:
        return word


def _look(name: str, text: str, **more: Any) -> Spec:
    return Spec(name=name, inspect=True, help=text, **more)


def _order(name: str, text: str, **more: Any) -> Spec:
    return Spec(name=name, inspect=False, help=text, **more)


_N = (Argument("n", int),)
_QUEUE = (
    Argument("queue"),
    Argument("exchange"),
    Argument("exchange_type"),
    Argument("routing_key"),
)

SPECS: tuple[Spec, ...] = (
    _look("active", "What runs now.", aliases=("dump_active",)),
    _look("active_queues", "The queues it takes from."),
    _look("clock", "Its logical clock."),
    _look(
        "conf",
        "Its settings, secrets masked.",
        arguments=(Argument("with_defaults", _flag),),
        signature="[with_defaults=False]",
        aliases=("dump_conf",),
    ),
    _look("hello", "Greet a worker that begins.", visible=False),
    _look(
        "memdump",
        "Its memory samples.",
        arguments=(Argument("samples", int),),
        signature="[n_samples=10]",
    ),
    _look("memsample", "How much memory its supervisor has."),
    _look(
        "objgraph",
        "Not available: it would draw the supervisor's objects, never yours.",
        arguments=(Argument("type"), Argument("num", int), Argument("max_depth", int)),
        signature="[object_type=Request] [num=200 [max_depth=10]]",
        timeout=60.0,
    ),
    _look("ping", "Whether it answers.", timeout=0.2),
    _look(
        "query_task",
        "What it knows of tasks, by their ids.",
        variadic="ids",
        required=1,
        signature="[id1 [id2 [... [idN]]]]",
    ),
    _look(
        "registered",
        "The tasks it can run, with attributes if some are named.",
        variadic="taskinfoitems",
        signature="[attr1 [attr2 [... [attrN]]]]",
        aliases=("dump_tasks",),
    ),
    _look("report", "Versions and settings, for a bug report."),
    _look("reserved", "What it has taken and not begun.", aliases=("dump_reserved",)),
    _look("revoked", "The ids that must not run.", aliases=("dump_revoked",)),
    _look(
        "scheduled",
        "What rests in its queues until a later time.",
        aliases=("dump_schedule", "schedule"),
    ),
    _look("stats", "What it is and has done."),
    _order(
        "add_consumer",
        "Take from one more queue.",
        arguments=_QUEUE,
        required=1,
        signature="<queue> [exchange [type [routing_key]]]",
    ),
    _order(
        "autoscale",
        "Change the limits of autoscaling.",
        arguments=(Argument("max", int), Argument("min", int)),
        signature="[max [min]]",
    ),
    _order(
        "cancel_consumer",
        "Take from a queue no more.",
        arguments=(Argument("queue"),),
        required=1,
        signature="<queue>",
    ),
    _order("disable_events", "Tell monitors of tasks no more."),
    _order("election", "Accepted, and nobody is elected.", visible=False),
    _order("enable_events", "Tell monitors of every task."),
    _order("heartbeat", "Give monitors a sign of life now."),
    _order("pool_grow", "Run more tasks at once.", arguments=_N, signature="[N=1]"),
    _order("pool_restart", "Replace the executor processes."),
    _order("pool_shrink", "Run fewer tasks at once.", arguments=_N, signature="[N=1]"),
    _order(
        "rate_limit",
        "Change how often a task may run.",
        arguments=(Argument("task_name"), Argument("rate_limit", _rate)),
        required=2,
        signature="<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
    ),
    _order(
        "revoke",
        "See that tasks do not run.",
        variadic="task_id",
        required=1,
        signature="[id1 [id2 [... [idN]]]]",
    ),
    _order(
        "revoke_by_stamped_headers",
        "See that tasks with these stamps do not run.",
        variadic="headers",
        required=1,
        signature="[key1=value1 [key2=value2 [... [keyN=valueN]]]]",
    ),
    _order("shutdown", "End, once what runs is done."),
    _order(
        "terminate",
        "End tasks that run.",
        arguments=(Argument("signal"),),
        variadic="task_id",
        required=2,
        signature="<signal> [id1 [id2 [... [idN]]]]",
    ),
    _order(
        "time_limit",
        "Change the time limits of a task.",
        arguments=(
            Argument("task_name"),
            Argument("soft", float),
            Argument("hard", float),
        ),
        required=2,
        signature="<task_name> <soft_secs> [hard_secs]",
    ),
)

BY_NAME: Mapping[str, Spec] = {name: spec for spec in SPECS for name in (spec.name, *spec.aliases)}
"""Every command by each of its names."""

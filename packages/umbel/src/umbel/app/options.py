"""Everything ``apply_async`` and ``send_task`` accept beside arguments, checked in one place.

Called by ``sending``. Pure: it takes the options of a call and answers with the parts of a message,
or with an error that says which option is wrong and what it takes.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from umbel.app.publish_policy import NO_RETRY, RetryPolicy
from umbel.errors import (
    InvalidOption,
    TaskSignatureMismatch,
    UnknownOption,
    UnknownOptionWarning,
)

MESSAGE_OPTIONS = frozenset(
    {
        "task_id",
        "countdown",
        "eta",
        "expires",
        "priority",
        "time_limit",
        "soft_time_limit",
        "ignore_result",
        "headers",
        "shadow",
        "argsrepr",
        "kwargsrepr",
        "link",
        "link_error",
        "root_id",
        "parent_id",
        "group_id",
        "group_index",
        "chord",
        "chain",
        "retries",
        "replaced_task_nesting",
        "stamped_headers",
        "stamps",
        "reply_to",
        "correlation_id",
        "origin",
    }
)
"""They end in the message itself."""

ROUTE_OPTIONS = frozenset(
    {
        "queue",
        "exchange",
        "exchange_type",
        "routing_key",
        "route_name",
        "router",
    }
)
"""They decide where the message goes."""

SENDING_OPTIONS = frozenset(
    {
        "serializer",
        "compression",
        "retry",
        "retry_policy",
        "timeout",
        "confirm_timeout",
        "add_to_parent",
        "result_cls",
        "producer",
        "connection",
        "publisher",
        "declare",
        "task_type",
    }
)
"""They say how it is sent. ``producer``, ``connection``, ``publisher`` (Celery's: a connection to
use) and ``declare`` have nothing to act on here: connections are Umbel's own."""

BROKER_PROPERTIES = frozenset(
    {
        "delivery_mode",
        "expiration",
        "mandatory",
        "immediate",
        "message_id",
        "timestamp",
        "type",
        "user_id",
        "app_id",
        "cluster_id",
    }
)
"""They travel as properties of the message, for brokers that know them."""

KNOWN = MESSAGE_OPTIONS | ROUTE_OPTIONS | SENDING_OPTIONS | BROKER_PROPERTIES

_EARLIEST = -2147483648
"""Seconds; Celery refuses what is further in the past, and so do we."""

_DELIVERY_MODES: Mapping[object, int] = {
    1: 1,
    2: 2,
    "1": 1,
    "2": 2,
    "transient": 1,
    "persistent": 2,
}


def check_names(options: Mapping[str, Any], task_name: str, *, strict: bool) -> dict[str, Any]:
    """Return the options that nobody knows: they become broker properties.

    ``strict`` (profile ``umbel``): raise UnknownOption instead. Otherwise warn where the name is
    so near to a known one that it is probably a slip.
    """
    if options.keys() <= KNOWN:
        return {}
    stamps = options.get("stamped_headers") or ()
    unknown = [name for name in options if name not in KNOWN and name not in stamps]
    for name in unknown:
        close = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.75)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        if strict:
            raise UnknownOption(
                f"Task {task_name} was not sent: {name!r} is not an option of a call.{hint} "
                "Arguments of the task itself go into args and kwargs, headers of your own into "
                "headers={...}."
            )
        if close:
            warnings.warn(
                f"{name!r} is not an option of a call, so it only becomes a property of the "
                f"message for task {task_name}.{hint}",
                UnknownOptionWarning,
                stacklevel=5,
            )
    return {name: options[name] for name in unknown}


# --- times ----------------------------------------------------------------------------------------


def moment(value: Any, option: str) -> datetime:
    """Return an aware datetime. A naive one, or text without an offset, is UTC, as in Celery."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise InvalidOption(
                f"{option}={value!r} is not a time: give a datetime or ISO-8601 text."
            ) from error
    if not isinstance(value, datetime):
        raise InvalidOption(
            f"{option} takes a datetime or ISO-8601 text, and got {value!r} "
            f"({type(value).__name__})."
        )
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def due(countdown: Any, eta: Any, now: datetime) -> datetime | None:
    """Return the moment before which the task must not begin. ``countdown`` wins over ``eta``.

    A countdown of 0 is none; a negative one is in the past, so the task begins at once.
    """
    if countdown:
        return now + timedelta(seconds=seconds(countdown, "countdown"))
    return None if eta is None else moment(eta, "eta")


def expiry(expires: Any, now: datetime) -> datetime | None:
    """Return the moment after which the task must not begin any more; seconds count from now."""
    if expires is None:
        return None
    if isinstance(expires, int | float | timedelta) and not isinstance(expires, bool):
        return now + timedelta(seconds=seconds(expires, "expires"))
    return moment(expires, "expires")


def seconds(value: Any, option: str) -> float:
    """Return a duration in seconds out of a number or a timedelta."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidOption(f"{option} takes a number of seconds, and got {value!r}.")
    if not _EARLIEST <= value <= -_EARLIEST:
        raise InvalidOption(f"{option}={value!r} is out of range: at most 2**31 seconds.")
    return value


# --- everything else ------------------------------------------------------------------------------


def limits(hard: Any, soft: Any, task_name: str) -> tuple[float | None, float | None]:
    """Return (hard, soft) time limits in seconds. The soft one must come first."""
    for name, value in (("time_limit", hard), ("soft_time_limit", soft)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InvalidOption(f"{name} takes a number of seconds, and got {value!r}.")
    if hard and soft and soft > hard:
        raise InvalidOption(
            f"Task {task_name}: soft_time_limit ({soft}) must not be greater than time_limit "
            f"({hard}): the soft one is the warning before the hard one."
        )
    return hard, soft


LEAST_URGENT = 9
"""The other end of the scale of priorities."""
_GREATEST_OCTET = 255
"""The greatest priority that Celery's messages can have on RabbitMQ."""


def priority(value: Any, *, strict: bool = True) -> int | None:
    """Return a priority: 0 is the most urgent, 9 the least, on every broker, where ``strict``.

    That is the profile ``umbel``; a number beyond the scale is an error there. Else it is Celery's,
    an octet: on RabbitMQ the greater the more urgent, on Redis all beyond 9 counts as 9. Raises
    InvalidOption.
    """
    if value is None:
        return None
    if isinstance(value, int):
        if 0 <= value <= LEAST_URGENT:
            return int(value)
        if not strict:
            return min(max(value, 0), _GREATEST_OCTET)
    raise InvalidOption(
        f"priority takes an integer from 0 to 9, 0 the most urgent, and got {value!r}."
    )


def priority_again(value: int | None, *, strict: bool) -> int | None:
    """Return the priority of a message that came, for one that takes its place.

    Others may have sent a number that ``priority`` refuses where ``strict``: the nearest end.
    """
    return value if value is None or not strict else min(max(value, 0), LEAST_URGENT)


def headers(value: Any) -> Mapping[str, Any]:
    """Return the caller's headers."""
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidOption(f"headers takes a mapping of names to values, and got {value!r}.")
    wrong = [name for name in value if not isinstance(name, str)]
    if wrong:
        raise InvalidOption(f"headers: names must be text, and {wrong[0]!r} is not.")
    return value


def signatures(value: Any, option: str) -> list[Mapping[str, Any]] | None:
    """Return the signatures in ``link`` or ``link_error``, one or several, as they travel."""
    if not value:
        return None
    given: Iterable[Any] = [value] if isinstance(value, Mapping) else value
    if isinstance(given, str) or not isinstance(given, Sequence):
        given = [given]
    found: list[Mapping[str, Any]] = []
    for one in given:
        if not isinstance(one, Mapping) or "task" not in one:
            hint = " Write task.s(...)." if hasattr(one, "apply_async") else ""
            raise InvalidOption(
                f"{option} takes a signature, or a list of them, and got {one!r}.{hint}"
            )
        found.append(dict(one))
    return found


def publish_policy(
    retry: bool | None, policy: Any, default_retry: bool, default: RetryPolicy
) -> RetryPolicy | None:
    """Return how often to try again, or None for the app's own way.

    Options given with the call go over the settings' one by one.
    """
    if retry is None and policy is None:
        return None
    if not (default_retry if retry is None else retry):
        return NO_RETRY
    if policy is None:
        return default
    if isinstance(policy, RetryPolicy):
        return policy
    known = set(RetryPolicy.__struct_fields__)
    if not isinstance(policy, Mapping) or not set(policy) <= known:
        raise InvalidOption(
            f"retry_policy takes a mapping with any of {', '.join(sorted(known))}, and got "
            f"{policy!r}."
        )
    own = {name: getattr(default, name) for name in known}
    return RetryPolicy(**{**own, **policy})


def delivery_mode(value: Any) -> int:
    """Return 1 (transient) or 2 (persistent)."""
    try:
        return _DELIVERY_MODES[value]
    except (KeyError, TypeError):
        raise InvalidOption(
            f"delivery_mode is 1 ('transient') or 2 ('persistent'), and got {value!r}."
        ) from None


def checked_arguments(
    args: Any, kwargs: Any, where: Callable[[], str]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return arguments of the right outer shape. ``where`` names the call, for the error."""
    if args is None:
        args = ()
    elif not isinstance(args, list | tuple):
        raise TaskSignatureMismatch(
            f"{where()}: args must be a list or a tuple, and is {args!r} "
            f"({type(args).__name__}). For one argument write args=(value,)."
        )
    if kwargs is None:
        kwargs = {}
    elif not isinstance(kwargs, Mapping):
        raise TaskSignatureMismatch(
            f"{where()}: kwargs must be a mapping, and is {kwargs!r} ({type(kwargs).__name__})."
        )
    return args, kwargs

"""Delivery semantics by name, and the older settings and attributes that spell the same.

``layers`` composes settings with it, ``checking`` finds contradictions among settings,
``app.task_attributes`` does both for the attributes of a task. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AT_LEAST_ONCE = "at_least_once"
"""Acknowledged after the run: what dies under a task repeats it."""
AT_MOST_ONCE = "at_most_once"
"""Acknowledged before the run: what dies under a task forgets it."""
SEMANTICS = (AT_LEAST_ONCE, AT_MOST_ONCE)

SPELLED: Mapping[str, Mapping[str, bool]] = {
    AT_LEAST_ONCE: {"acks_late": True, "reject_on_worker_lost": True},
    AT_MOST_ONCE: {"acks_late": False, "reject_on_worker_lost": False},
}
"""What each name means in the older words, where those say nothing themselves."""

_CONTRADICTIONS: Mapping[str, Mapping[str, bool]] = {
    AT_LEAST_ONCE: {"acks_late": False},
    # What was acknowledged before the run cannot be refused or put back after it.
    AT_MOST_ONCE: {
        "acks_late": True,
        "reject_on_worker_lost": True,
        "acks_on_failure": False,
        "acks_on_timeout": False,
        "acks_on_failure_or_timeout": False,
    },
}
OLDER_WORDS = tuple(_CONTRADICTIONS[AT_MOST_ONCE])


def semantics_of(*, acks_late: bool) -> str:
    """Return the name of what a task gets."""
    return AT_LEAST_ONCE if acks_late else AT_MOST_ONCE


def implied(delivery: str | None, given: Mapping[str, Any]) -> dict[str, bool]:
    """Return what a name means for the older words that nobody ``given`` a value."""
    if delivery is None:
        return {}
    return {word: value for word, value in SPELLED[delivery].items() if given.get(word) is None}


def contradictions(delivery: str | None, given: Mapping[str, Any]) -> list[str]:
    """Return the older words whose ``given`` value contradicts the name; None says nothing."""
    if delivery is None:
        return []
    wrong = _CONTRADICTIONS[delivery]
    return [word for word in wrong if given.get(word) is not None and given[word] == wrong[word]]

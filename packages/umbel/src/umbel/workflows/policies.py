"""When the header of a chord is over, and whether its body runs then: the policies of chords.

A policy is a short text, so that it travels in any message: ``all_success`` (Celery's rule and the
default), ``all_done``, ``at_least(3)``. Pure; used by ``chords`` (checking), ``beginning`` (how
many slots), and ``advancing`` (which slot a member fills, what the body gets).

Stores count slots and know nothing of policies. A chord that wants ``n`` of its members has two
joins: one of ``n`` slots, filled by members that succeed, and one that is full when too many have
failed. Only one of them can ever be full, and the one that is goes on with the chord.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from umbel.errors import ChordError, UsageError
from umbel.wire.derived_ids import derived_id
from umbel.wire.portable_errors import from_portable, to_portable

all_success = "all_success"
"""The body runs when every member succeeded; else it fails with a ChordError."""
all_done = "all_done"
"""The body runs when every member is over; in the place of a value that never came stands a
mapping that ``member_failure`` reads."""

OPTION = "policy"
"""Where the signature of a chord says it."""
BODY_OPTION = "header_policy"
"""Where the body says it while it travels with the members of the header."""

_AT_LEAST = re.compile(r"at_least\(\s*(\d+)\s*\)")
_FAILED = "umbel:failed"


def at_least(n: int) -> str:
    """Return the policy by which the body runs as soon as ``n`` members succeeded.

    It gets their values, in the order of the header. When so many have failed that ``n`` cannot
    succeed any more, it fails with a ChordError. Members that end later count for nothing. Raises
    UsageError.
    """
    return checked(f"at_least({n})" if type(n) is int else f"at_least({n!r})")


class MemberFailure(msgspec.Struct, frozen=True):
    """How a member of a header failed, as the body of an ``all_done`` chord is told."""

    task_id: str
    state: str
    """FAILURE or REVOKED."""
    error: BaseException


def member_failure(value: Any) -> MemberFailure | None:
    """Return what failed, where this is given to a body instead of a value; else None."""
    if not isinstance(value, Mapping) or _FAILED not in value:
        return None
    return MemberFailure(value[_FAILED], value["state"], from_portable(value["error"]))


class Part(msgspec.Struct, frozen=True):
    """How one member of a header ended: its value, or its error."""

    task_id: str
    state: str
    value: Any


def checked(policy: Any) -> str:
    """Return the policy as it travels. Raises UsageError for anything else."""
    if policy is None:
        return all_success
    if policy in (all_success, all_done):
        return str(policy)
    found = _AT_LEAST.fullmatch(policy) if isinstance(policy, str) else None
    if found is None or int(found[1]) < 1:
        raise UsageError(
            f"a chord has the policy 'all_success', 'all_done' or 'at_least(n)' with n from 1 on, "
            f"and got {policy!r}."
        )
    return f"at_least({int(found[1])})"


def check_size(policy: str, members: int) -> None:
    """Raise UsageError where a header is too small for its policy."""
    wanted = wanted_by(policy)
    if wanted is not None and wanted > members:
        raise UsageError(
            f"this chord wants {wanted} members of its header to succeed ({policy!r}), and the "
            f"header has {members}: ask for fewer, or give it more."
        )


def wanted_by(policy: str) -> int | None:
    """Return how many members must succeed, or None where all of them count alike."""
    found = _AT_LEAST.fullmatch(policy)
    return int(found[1]) if found else None


def of_body(body: Mapping[str, Any]) -> str:
    """Return the policy of the header that this body belongs to, as it came in a message."""
    options = body.get("options")
    said = options.get(BODY_OPTION) if isinstance(options, Mapping) else None
    return said if isinstance(said, str) else all_success


def with_policy(body: Mapping[str, Any], policy: str) -> dict[str, Any]:
    """Return the body as it travels with the members of its header."""
    if policy == all_success:
        return dict(body)
    return {**body, "options": {**body["options"], BODY_OPTION: policy}}


def without_policy(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body as it is begun."""
    options = body.get("options")
    if not isinstance(options, Mapping) or BODY_OPTION not in options:
        return dict(body)
    left = {name: value for name, value in options.items() if name != BODY_OPTION}
    return {**body, "options": left}


# --- which join counts what -----------------------------------------------------------------------


def failures_of(join_id: str) -> str:
    """Return the id of the join that counts failures, where there are two."""
    return derived_id(join_id, "failures")


def joins_of(join_id: str, policy: str, members: int) -> list[tuple[str, int]]:
    """Return the joins of a header, and how many slots each has."""
    wanted = wanted_by(policy)
    if wanted is None:
        return [(join_id, members)]
    return [(join_id, wanted), (failures_of(join_id), members - wanted + 1)]


def join_filled(join_id: str, policy: str, state: str) -> str:
    """Return the id of the join in which a member that ended so fills its slot."""
    return failures_of(join_id) if wanted_by(policy) is not None and state != "SUCCESS" else join_id


def join_grown(join_id: str, policy: str) -> str:
    """Return the id of the join that has one slot more when the header gets one member more."""
    return join_id if wanted_by(policy) is None else failures_of(join_id)


def all_joins(join_id: str, policy: str) -> list[str]:
    """Return the ids of the joins of a header."""
    return [join_id] if wanted_by(policy) is None else [join_id, failures_of(join_id)]


# --- what the body gets ---------------------------------------------------------------------------


def header_values(parts: Sequence[Part], policy: str = all_success) -> list[Any]:
    """Return the values for the body, in order. Raises ChordError where it must not run."""
    if policy == all_done:
        return [part.value if part.state == "SUCCESS" else _told(part) for part in parts]
    wanted = wanted_by(policy)
    values = [part.value for part in parts if part.state == "SUCCESS"]
    if len(values) == len(parts) if wanted is None else len(values) >= wanted:
        return values
    first = next(part for part in parts if part.state != "SUCCESS")
    raised = f"Dependency {first.task_id} raised {first.value!r}"
    if wanted is not None:
        raised = f"fewer than {wanted} members of the header can succeed. {raised}"
    raise ChordError(raised)


def _told(part: Part) -> dict[str, Any]:
    error = part.value
    if not isinstance(error, BaseException):
        error = ChordError(str(error))
    return {_FAILED: part.task_id, "state": part.state, "error": to_portable(error)}

"""What RabbitMQ says when it refuses something, as one sentence that says what to do.

Used by ``connection`` and by whoever declares. Pure.
"""

from __future__ import annotations

import re

from umbel.drivers.amqp.address import Address
from umbel.errors import BrokerUnavailable, ImproperlyConfigured, OperationalError, Unroutable

ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED = 403, 404, 405, 406
_ARGUMENT = re.compile(
    r"inequivalent arg '([^']+)' for (queue|exchange) '([^']*)' in vhost '[^']*': "
    r"received (.*?) but current is (.*)$",
    re.DOTALL,
)


class NodeAway(BrokerUnavailable):
    """The broker is there, and the one of its nodes that has this queue is not."""


def refusal_sentence(code: int, text: str, address: Address) -> str:
    """Return what a refusal at the connection means, with the broker's words."""
    said = f"RabbitMQ says: {text[:300]}"
    lowered = text.lower()
    if "vhost" in lowered and "not found" in lowered:
        return (
            f"there is no virtual host {address.vhost!r}: make it with 'rabbitmqctl add_vhost', or "
            f"correct the path of the URL; {said}"
        )
    if "access to vhost" in lowered:
        return (
            f"user {address.username!r} may not use the virtual host {address.vhost!r}: give "
            f"permission with 'rabbitmqctl set_permissions'; {said}"
        )
    if code == ACCESS_REFUSED and ("login" in lowered or "auth" in lowered):
        return f"it does not accept user {address.username!r} with this password; {said}"
    return said


def declaring(code: int, text: str, what: str, address: Address) -> Exception:
    """Return the error for a declaration that was refused. ``what``: "queue 'celery'"."""
    found = _ARGUMENT.search(text)
    if code == PRECONDITION_FAILED and found is not None:
        name, _, _, asked, there = found.groups()
        return ImproperlyConfigured(
            f"The {what} exists on {address.url} with another {name}: there it is {_value(there)}, "
            f"here {_value(asked)}. Give every program the same settings of the queue "
            "(task_queues, task_queue_max_priority, task_default_queue_type), or delete it once it "
            "is empty."
        )
    if code == PRECONDITION_FAILED:
        return ImproperlyConfigured(
            f"The {what} cannot be made on {address.url} as the settings say "
            f"(RabbitMQ says: {text[:300]})."
        )
    if code == RESOURCE_LOCKED:
        return BrokerUnavailable(
            f"The {what} on {address.url} belongs to another connection: to a worker with the same "
            "name, which must be given another by -n, or to one that is about to end "
            f"(RabbitMQ says: {text[:300]})."
        )
    if code == ACCESS_REFUSED:
        return OperationalError(
            f"User {address.username!r} may not do this with {what} on {address.url}: give "
            f"permission with 'rabbitmqctl set_permissions' (RabbitMQ says: {text[:300]})."
        )
    if code == NOT_FOUND and "down or inaccessible" in text:
        return NodeAway(
            f"The {what} of {address.url} cannot be reached: its node is starting or away, or lost "
            f"it in a crash (RabbitMQ says: {text[:300]})."
        )
    if code == NOT_FOUND:
        return Unroutable(f"There is no {what} on {address.url} (RabbitMQ says: {text[:300]}).")
    return OperationalError(f"The {what} was refused by {address.url} ({text[:300]}).")


def _value(text: str) -> str:
    """Return a value without RabbitMQ's words around it: ``the value '7' of type 'byte'``."""
    found = re.match(r"the value '(.*)' of type '\w+'", text.strip())
    return text.strip().strip("'") if found is None else found[1]

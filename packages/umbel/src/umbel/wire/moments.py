"""Moments as text: ISO-8601, written with an offset, read in any form Celery's peers write."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from umbel.errors import DecodeError


def read_moment(value: object, what: str, naive: tzinfo = UTC) -> datetime | None:
    """Return the aware datetime in an ISO-8601 text (or a datetime); None for None.

    A time without offset is in ``naive``. Raises DecodeError, calling the value ``what``.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise DecodeError(f"{what} is {value!r}, which is not an ISO-8601 time") from error
    elif isinstance(value, datetime):
        moment = value
    else:
        raise DecodeError(f"{what} is {value!r}, which is not a time")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=naive)

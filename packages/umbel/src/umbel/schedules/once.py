"""``once``: at one moment, and never again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from umbel.schedules.rule import BaseSchedule, aware


class once(BaseSchedule):  # noqa: N801 - reads as the others do
    """Run at ``at``, an aware datetime. Raises UsageError for one without a time zone."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self.at = aware(at, "the moment")

    def next_after(self, moment: datetime, zone: tzinfo = UTC) -> datetime | None:  # noqa: ARG002
        return self.at if self.at > moment else None

    def as_dict(self) -> Mapping[str, Any]:
        return {"kind": "once", "at": self.at.isoformat()}

    def __str__(self) -> str:
        return f"once at {self.at.isoformat(sep=' ')}"

    def __repr__(self) -> str:
        return f"<once: {self.at.isoformat()}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.at,)

"""``celery.app.control``: telling workers something, and asking them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from umbel.app.control import Control
from umbel.app.inspecting import Inspect


def flatten_reply(reply: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the answers of all workers as one mapping, by node name."""
    found: dict[str, Any] = {}
    for each in reply:
        found.update(each)
    return found


__all__ = ["Control", "Inspect", "flatten_reply"]

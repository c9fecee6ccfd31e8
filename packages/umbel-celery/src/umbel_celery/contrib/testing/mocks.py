"""``celery.contrib.testing.mocks``: mocks for tests of extensions."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock


class ContextMock(MagicMock):
    """A mock that ``with`` returns itself."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None


__all__ = ["ContextMock"]

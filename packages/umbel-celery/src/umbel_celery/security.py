"""``celery.security``: signing messages."""

from __future__ import annotations

from typing import Any

from umbel.app.current import app_or_default


def setup_security(*given: Any, app: Any = None, **options: Any) -> None:
    """Sign every message of the app, by default the current one; as ``app.setup_security``."""
    app_or_default(app).setup_security(*given, **options)


__all__ = ["setup_security"]

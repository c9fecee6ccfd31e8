"""Apps, and nobody's app left current."""

from __future__ import annotations

from tests.unit.app.conftest import _no_app_left_current, app, celery_app, new_app

__all__ = ["_no_app_left_current", "app", "celery_app", "new_app"]

"""``celery.log``: setting logging up by the current app."""

from __future__ import annotations

import logging
from typing import Any

from umbel.app.current import get_current_app


def get_default_logger(name: str = "celery", **_: Any) -> logging.Logger:
    """Return a logger."""
    return get_current_app().log.get_default_logger(name)


def setup_logging_subsystem(*args: Any, **kwargs: Any) -> Any:
    """As ``app.log.setup_logging_subsystem``."""
    return get_current_app().log.setup_logging_subsystem(*args, **kwargs)


def redirect_stdouts_to_logger(*args: Any, **kwargs: Any) -> Any:
    """As ``app.log.redirect_stdouts_to_logger``."""
    return get_current_app().log.redirect_stdouts_to_logger(*args, **kwargs)


__all__ = ["get_default_logger", "redirect_stdouts_to_logger", "setup_logging_subsystem"]

"""Record the names, older names and defaults of Celery's settings, for the tests to compare with.

Runs under a Python that has the real Celery installed:

    python tools/record_celery_settings.py > tests/unit/config/celery_settings.json
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Any

import celery
from celery.app.defaults import NAMESPACES, flatten


def plain(value: Any) -> Any:
    """Return a default as JSON can say it: seconds for durations, text for infinity."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if value == float("inf"):
        return "inf"
    return list(value) if isinstance(value, tuple) else value


def old_names(name: str, option: Any) -> list[str]:
    """Return the upper-case names under which Celery reads a setting, found by trying."""
    rest = name.partition("_")[2] or name
    candidates = {old.format(name) for old in option.old or ()} | {
        prefix + ending for prefix in ("", "celery_", "celeryd_") for ending in (name, rest)
    }
    found = []
    for candidate in sorted(old.upper() for old in candidates):
        marker = object()
        app = celery.Celery("probe", set_as_current=False)
        app.config_from_object({candidate: marker})
        if app.conf.get(name) is marker:
            found.append(candidate)
    return found


def main() -> None:
    options = dict(sorted(flatten(NAMESPACES)))
    document = {
        "celery": celery.__version__,
        "defaults": {name: plain(option.default) for name, option in options.items()},
        "old_names": {name: old_names(name, option) for name, option in options.items()},
    }
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()

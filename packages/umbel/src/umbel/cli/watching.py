"""Waiting for source files to change.

With ``watchfiles`` (the extra ``reload``) the operating system tells; without it the files' times
are looked at twice a second, so that ``umbel dev`` works on a bare installation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

_SKIPPED = frozenset(
    ("__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist")
)
_POLL = 0.5
_MOST_FILES = 20_000


class Stop:
    """Says that watching shall end. A plain flag, so that a signal handler may set it.

    (``threading.Event`` takes a lock to be set: a handler that runs while the main thread holds
    that lock, in ``wait``, would wait for itself.)
    """

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set


def is_source(path: str) -> bool:
    """Tell whether a change of this file is one of the program."""
    parts = Path(path).parts
    return path.endswith(".py") and not any(
        part in _SKIPPED or (part.startswith(".") and part not in (".", "..")) for part in parts
    )


def changes(root: str, stop: Stop) -> Iterator[dict[str, str]]:
    """Yield what changed below ``root``, as path to ``added``, ``modified`` or ``deleted``.

    Yields an empty mapping at least every second while nothing happens, so that the caller may
    look after other things. Ends when ``stop`` is set.
    """
    return _told(root, stop) if find_spec("watchfiles") else _looked(root, stop)


def _told(root: str, stop: Stop) -> Iterator[dict[str, str]]:
    from watchfiles import Change, watch  # noqa: PLC0415 - an extra that may be absent

    # Filtered by the path below the root: the root itself may lie in a hidden directory.
    def wanted(_: Change, path: str) -> bool:
        return is_source(os.path.relpath(path, root))

    for batch in watch(
        root,
        watch_filter=wanted,
        stop_event=stop,
        rust_timeout=500,
        yield_on_timeout=True,
        raise_interrupt=False,
        debounce=400,
        step=50,
    ):
        yield {path: change.raw_str() for change, path in batch}


def _looked(root: str, stop: Stop) -> Iterator[dict[str, str]]:
    before = _times(root)
    while not stop.is_set():
        time.sleep(_POLL)
        now = _times(root)
        found = {path: "added" for path in now.keys() - before.keys()}
        found |= {path: "deleted" for path in before.keys() - now.keys()}
        found |= {
            path: "modified" for path in now.keys() & before.keys() if now[path] != before[path]
        }
        before = now
        yield found


def _times(root: str) -> dict[str, int]:
    """Return every source file below the root with the time of its last change."""
    found: dict[str, int] = {}
    for directory, names, files in os.walk(root):
        names[:] = [one for one in names if one not in _SKIPPED and not one.startswith(".")]
        for name in files:
            if name.endswith(".py") and not name.startswith("."):
                path = os.path.join(directory, name)
                try:
                    found[path] = os.stat(path).st_mtime_ns
                except FileNotFoundError:
                    continue  # deleted between the listing and the look: told as deleted
        if len(found) > _MOST_FILES:
            break
    return found

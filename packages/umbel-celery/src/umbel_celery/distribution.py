"""The distribution ``celery`` 5.7.0 as ``importlib.metadata`` tells of it, asked by name.

Instrumentation asks at run time for the version of a distribution of this name, and for nothing
else. The real one, where it is installed beside, is found by whoever lists distributions.
"""

from __future__ import annotations

from importlib.metadata import Distribution
from typing import Any

from .version import __version__

_METADATA = f"""\
Metadata-Version: 2.1
Name: celery
Version: {__version__}
Summary: Umbel, which answers for Celery here (umbel-celery)
"""


class CeleryDistribution(Distribution):
    """Knows its name and version, and has no files and no entry points."""

    def read_text(self, filename: str) -> str | None:
        """Return the metadata; None for every other file."""
        return _METADATA if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        """Return the path: there are no files."""
        return path


__all__ = ["CeleryDistribution"]

"""Versions: of this distribution, and of the Celery it stands for."""

from __future__ import annotations

from typing import NamedTuple

VERSION_OF_UMBEL_CELERY = "0.1.0"


class VersionInfo(NamedTuple):
    """As ``celery.version_info``."""

    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str


SERIES = "umbel"
__version__ = "5.7.0"
"""The Celery whose behaviour this package has: tools compare ``celery.__version__``."""
VERSION = version_info = VersionInfo(5, 7, 0, "", "")
VERSION_BANNER = f"{__version__} ({SERIES})"
